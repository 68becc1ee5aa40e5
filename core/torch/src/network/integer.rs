//! Networks trained for integer runtimes: what is quantized, and how, follows from where such a
//! runtime holds its values.

use super::{InputRounding, Network, Weights};
use pocketflow::Result;
use pocketflow::graph::{Graph, Op};
use pocketflow::integer::{Held, Target, held, input_range, plan};
use std::collections::BTreeMap;

/// What an integer runtime computes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Integers {
    pub target: Target,
    /// 2–16, or 32 for none.
    pub weight_bits: u32,
    pub activation_bits: u32,
}

impl Network {
    /// A network that computes, in floats, what it will compute in integers: `graph` with the
    /// weights given (by parameter name), of input normalised by `mean` and `std` (by channel, in
    /// units of pixels).
    ///
    /// # Errors
    /// As [`Network::new`].
    pub fn for_integers(
        graph: &Graph,
        integers: Integers,
        [mean, std]: [&[f32]; 2],
        values: &BTreeMap<String, Vec<f32>>,
    ) -> Result<Self> {
        let Integers { target, weight_bits, activation_bits } = integers;
        graph.validate()?;
        let name = |id: usize| graph.nodes[id].name.as_str();
        let mut plan = plan(graph, target, weight_bits, activation_bits);
        if let Some(input) = plan.activations.get_mut(name(0)) {
            input.range = Some(input_range(mean, std));
        }
        let mut network = Self::new(graph, &plan, values, Weights::FullPrecision)?;
        network.input = InputRounding::of(mean, std);
        for (id, held) in held(graph, target).into_iter().enumerate() {
            // Other operators on the grid of their input only move or select values that are on it.
            if let (Held::On(of), Op::GlobalAvgPool(_)) = (held, &graph.nodes[id].op)
                && plan.activations.contains_key(name(of))
            {
                network.share_range(name(id), name(of))?;
            }
        }
        Ok(network)
    }
}
