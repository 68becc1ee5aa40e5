//! Batch-norm statistics after quantization without training.

use pocketflow::graph::{Graph, GraphBuilder, Linear, Op, Role};
use pocketflow::quant::{Buckets, QuantPlan};
use pocketflow_mobilenet::{DepthMultiplier, Style, mobilenet_v1};
use pocketflow_torch::engine::Engine;
use pocketflow_torch::network::{Mode, Network, Statistics, Weights};
use std::collections::BTreeMap;
use tch::{Device, Kind, Tensor};

type Values = BTreeMap<String, Vec<f32>>;

fn graph() -> Graph {
    mobilenet_v1(DepthMultiplier::new(0.25).unwrap(), Style::Tensorflow, 32, 10).unwrap()
}

fn batches() -> Vec<Tensor> {
    let batch = |turn: i64| {
        // No random numbers: libtorch has one generator for all tests of the process.
        let places = Tensor::arange(24 * 3 * 32 * 32, (Kind::Float, Device::Cpu));
        (places * (1.3 + turn as f64)).sin().view([24, 3, 32, 32]) + 0.3
    };
    (0..3).map(batch).collect()
}

/// Weights from a formula; `folded`: with running statistics that are none, as published networks
/// have them.
fn values(folded: bool) -> Values {
    let graph = graph();
    let value = |role: Role, index: usize, fan_in: usize| match role {
        Role::Weight => ((index * 7919 + 13) as f32 * 0.618).sin() * (4.5 / fan_in as f32).sqrt(),
        Role::Bias | Role::Shift | Role::RunningMean | Role::Slope => {
            ((index * 31) as f32).sin() * 0.3 * f32::from(u8::from(!folded)) + 0.1
        }
        Role::Scale => 1.0,
        Role::RunningVar => {
            if folded {
                1.0 - 1e-3
            } else {
                0.7
            }
        }
    };
    let tensor = |param: pocketflow::graph::Param| {
        let (count, fan_in) = (param.shape.iter().product(), param.shape[1..].iter().product::<usize>().max(1));
        (param.name, (0..count).map(|index| value(param.role, index, fan_in)).collect())
    };
    graph.params().unwrap().into_iter().map(tensor).collect()
}

fn network(values: &Values, bits: u32) -> Network {
    let plan = QuantPlan::uniform(&graph(), bits, 32, Buckets::Channel, true);
    Network::new(&Engine::cpu(), &graph(), &plan, values, Weights::FullPrecision).unwrap()
}

fn logits(network: &Network) -> Tensor {
    tch::no_grad(|| network.forward(&batches()[0], Mode::Eval)).unwrap()
}

fn distance(one: &Tensor, other: &Tensor) -> f64 {
    (one - other).square().mean(Kind::Double).double_value(&[]).sqrt()
}

#[test]
fn without_quantization_nothing_moves() {
    for folded in [false, true] {
        let mut network = network(&values(folded), 32);
        let before = logits(&network);
        network.observe(batches().into_iter().map(Ok)).unwrap();
        network.reestimate(Statistics::Moved, batches().into_iter().map(Ok), |_, _| Ok(())).unwrap();
        let moved = distance(&before, &logits(&network));
        assert!(moved < 1e-3 * distance(&before, &before.zeros_like()), "folded {folded}: {moved}");
    }
}

#[test]
fn statistics_move_by_what_quantization_did() {
    for folded in [false, true] {
        let [exact, mut quantized] = [32, 2].map(|bits| network(&values(folded), bits));
        let images = || std::iter::once(Ok(batches().remove(0)));
        quantized.observe(images()).unwrap();
        let [before, now] = [&exact, &quantized].map(first_moments);
        quantized.reestimate(Statistics::Moved, images(), |_, _| Ok(())).unwrap();
        let (start, moved) = (values(folded), quantized.values().unwrap());
        let [mean, variance] = ["running_mean", "running_var"].map(|kind| format!("{}.{kind}", names().1));
        for channel in 0..before[0].len() {
            let [(m, v), (m2, v2)] = [&before, &now].map(|of| (of[0][channel], of[1][channel]));
            let ratio = (v2 + 1e-3) / (v + 1e-3);
            let wanted = m2 + (start[&mean][channel] - m) * ratio.sqrt();
            assert!((moved[&mean][channel] - wanted).abs() < 1e-3, "folded {folded}: {wanted}");
            let wanted = (start[&variance][channel] + 1e-3) * ratio - 1e-3;
            assert!((moved[&variance][channel] - wanted.max(0.0)).abs() < 1e-2, "folded {folded}: {wanted}");
        }
        assert!(moved[&mean] != start[&mean]);
    }
}

#[test]
fn a_folded_network_can_be_trained_from_where_it_is() {
    let images = || batches().into_iter().map(Ok);
    for (folded, wanted) in [(true, 27), (false, 0)] {
        let mut network = network(&values(folded), 8);
        let before = logits(&network);
        assert_eq!(network.adopt_statistics(images()).unwrap(), wanted);
        let size = distance(&before, &before.zeros_like());
        assert!(distance(&before, &logits(&network)) < 1e-3 * size, "folded {folded}: it computes what it did");
        let values = network.values().unwrap();
        assert!(folded || values == self::values(false), "statistics that are some stay");
        // By the statistics of each batch it would be another network, had it not adopted them.
        let training = |network: &Network| tch::no_grad(|| network.forward(&batches()[0], Mode::Train)).unwrap();
        if folded {
            let trained = distance(&before, &training(&network));
            let alone = distance(&before, &training(&self::network(&self::values(true), 8)));
            assert!(trained < 0.2 * alone, "{trained} {alone} of {size}");
        }
        assert_eq!(network.adopt_statistics(images()).unwrap(), 0, "once is enough");
    }
}

/// A normalisation of one channel is told by its numbers: the same mean and variance "for all
/// channels" says nothing of it. One that no image was seen by keeps its scale and shift.
#[test]
fn one_channel_and_a_new_network_are_not_taken_for_folded() {
    let mut builder = GraphBuilder::new("one", [1, 8, 8]);
    let conv = builder.conv("conv", 0, 1, 3, 1, 1);
    let norm = builder.batch_norm("bn", conv, 1e-3);
    let relu = builder.relu("relu", norm);
    builder.add("fc", Linear { out: 2, bias: false }, &[relu]);
    let graph = builder.finish().unwrap();
    let images = || std::iter::once(Ok(Tensor::arange(64, (Kind::Float, Device::Cpu)).sin().view([1, 1, 8, 8])));
    let adopted = |mean: f32, variance: f32, shift: f32| {
        let mut values = Network::initialised(&Engine::cpu(), &graph, 1).unwrap().values().unwrap();
        let norm = [("running_mean", mean), ("running_var", variance), ("bias", shift)];
        values.extend(norm.map(|(part, value)| (format!("bn.{part}"), vec![value])));
        let plan = QuantPlan::default();
        let mut network = Network::new(&Engine::cpu(), &graph, &plan, &values, Weights::FullPrecision).unwrap();
        network.adopt_statistics(images()).unwrap()
    };
    assert_eq!(adopted(0.2, 0.7, 0.1), 0, "trained");
    assert_eq!(adopted(0.0, 1.0, 0.0), 0, "new");
    assert_eq!((adopted(0.0, 1.0 - 1e-3, 0.1), adopted(0.0, 1.0, 0.1)), (1, 1), "folded");
}

/// The first convolution, and the batch normalisation behind it.
fn names() -> (String, String) {
    let graph = graph();
    let name = |wanted: &dyn Fn(&Op) -> bool| graph.nodes.iter().find(|node| wanted(&node.op)).unwrap().name.clone();
    (name(&|op| matches!(op, Op::Conv2d(_))), name(&|op| matches!(op, Op::BatchNorm(_))))
}

/// Mean and variance by channel of what the first convolution makes of the first images.
fn first_moments(network: &Network) -> [Vec<f32>; 2] {
    let output = tch::no_grad(|| network.layer_output(&names().0, &batches()[0])).unwrap();
    let dims = [0i64, 2, 3];
    let (variance, mean) = output.var_mean_dim(dims.as_slice(), false, false);
    [mean, variance].map(|tensor| Vec::try_from(tensor).unwrap())
}

#[test]
fn the_statistics_of_the_images_need_no_observation_and_moving_them_does() {
    let mut network = network(&values(false), 32);
    let images = || std::iter::once(Ok(batches().remove(0)));
    let error = network.reestimate(Statistics::Moved, images(), |_, _| Ok(())).unwrap_err().to_string();
    assert!(error.contains("has not observed batch 0"), "{error}");
    network.reestimate(Statistics::OfImages, images(), |_, _| Ok(())).unwrap();
    let [mean, variance] = first_moments(&network);
    let values = network.values().unwrap();
    for (kind, wanted) in [("running_mean", mean), ("running_var", variance)] {
        for (running, wanted) in values[&format!("{}.{kind}", names().1)].iter().zip(wanted) {
            assert!((running - wanted).abs() < 1e-3, "{kind}: {running} {wanted}");
        }
    }
}
