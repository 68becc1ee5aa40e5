//! The learning rates of fine-tuning: half a cosine, or the original's steps.
//!
//! The original (PocketFlow's `UniformQuantLearner`, spec §3) trains with Adam at `lrn_rate_init` ×
//! 1e-3, 1e-4 and 1e-5, and knows the boundaries between them by the names of net and data set. A
//! learner here knows no net by its name: it looks at the network.

use crate::options::Options;
use pocketflow::graph::{Graph, Op};
use pocketflow::net::{Recipe, Schedule};

/// The first rate of the original's fine-tuning, as a part of the net's initial one.
const FIRST: f64 = 1e-3;
/// What the rate is multiplied with at each boundary.
const FACTOR: f64 = 0.1;
/// The epochs of fine-tuning that the original's boundaries are of.
const EPOCHS: f64 = 60.0;

/// Returns Adam's first learning rate.
pub fn first_rate(lrn_rate: Option<f64>, recipe: &Recipe) -> f64 {
    lrn_rate.unwrap_or(recipe.lrn_rate * FIRST)
}

/// Returns the learning rates of fine-tuning a network of this graph.
pub fn schedule(options: &Options, recipe: &Recipe, graph: &Graph) -> Schedule {
    let init = first_rate(options.lrn_rate, recipe);
    if options.lrn_rate.is_some() {
        return Schedule::Cosine { init };
    }
    let originals = || originals(graph).map(|boundary| boundary * options.epochs / EPOCHS).to_vec();
    let boundaries = options.boundaries.clone().unwrap_or_else(originals);
    Schedule::Piecewise { init, factor: FACTOR, boundaries }
}

/// Returns the original's boundaries, in epochs of [`EPOCHS`]: those of CIFAR-10 for a network of
/// small images, whose first convolution keeps their size; of ImageNet's, those of MobileNet for
/// one with grouped (depth-wise) convolutions and those of ResNet for others.
fn originals(graph: &Graph) -> [f64; 2] {
    let mut convolutions = graph.nodes.iter().filter_map(|node| match &node.op {
        Op::Conv2d(convolution) => Some(convolution),
        _ => None,
    });
    let shrinks = convolutions.next().is_some_and(|first| first.stride != [1, 1]);
    match (shrinks, convolutions.any(|convolution| convolution.groups > 1)) {
        (false, _) => [15.0, 40.0],
        (true, true) => [5.0, 30.0],
        (true, false) => [5.0, 20.0],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options;
    use pocketflow::graph::{Conv2d, GraphBuilder};
    use pocketflow::settings::Settings;

    fn graph(stride: usize, groups: usize) -> Graph {
        let mut builder = GraphBuilder::new("small", [3, 32, 32]);
        let stem = builder.conv("stem", 0, 8, 3, stride, 1);
        let conv = Conv2d {
            out: 8,
            kernel: [3, 3],
            stride: [2, 2],
            padding: [1, 1, 1, 1],
            dilation: [1; 2],
            groups,
            bias: false,
        };
        builder.add("conv", conv, &[stem]);
        builder.finish().unwrap()
    }

    fn recipe() -> Recipe {
        Recipe::new(100.0, Schedule::OneCycle { peak: 0.8, warm_up: 0.3 }).lrn_rate(0.2)
    }

    fn options(changes: &[(&str, pocketflow::option::Value)]) -> Options {
        let mut settings = Settings::defaults([("uniform", options::specs())]);
        changes.iter().for_each(|(key, value)| settings.derive(key, value.clone(), "the test"));
        Options::read(&settings).unwrap()
    }

    #[test]
    fn the_default_is_half_a_cosine_whatever_the_net() {
        assert_eq!(schedule(&options(&[]), &recipe(), &graph(1, 1)), Schedule::Cosine { init: 1e-3 });
        assert_eq!(first_rate(Some(0.5), &recipe()), 0.5);
    }

    #[test]
    fn the_originals_boundaries_are_those_of_nets_of_this_kind() {
        let half = [("uql_lrn_rate", 0.0.into()), ("uql_quant_epoch", 30_u32.into())];
        for (graph, of_60) in [
            (graph(1, 1), [15.0, 40.0]),
            (graph(1, 8), [15.0, 40.0]),
            (graph(2, 1), [5.0, 20.0]),
            (graph(2, 8), [5.0, 30.0]),
        ] {
            let boundaries = of_60.map(|boundary| boundary / 2.0).to_vec();
            let wanted = Schedule::Piecewise { init: 0.2 * 1e-3, factor: 0.1, boundaries };
            assert_eq!(schedule(&options(&half), &recipe(), &graph), wanted);
        }
    }

    #[test]
    fn boundaries_that_are_given_are_epochs() {
        let given = [
            ("uql_lrn_rate", 0.0.into()),
            ("uql_quant_epoch", 3_u32.into()),
            ("uql_lrn_rate_boundaries", vec![1.0, 2.5].into()),
        ];
        let schedule = schedule(&options(&given), &recipe(), &graph(2, 8));
        assert_eq!(schedule, Schedule::Piecewise { init: 0.2 * 1e-3, factor: 0.1, boundaries: vec![1.0, 2.5] });
        assert!((schedule.rate(2.0, 3.0) - 2e-5).abs() < 1e-12);
    }
}
