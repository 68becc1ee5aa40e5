//! Networks trained for integer runtimes: what is quantized, and how, follows from where such a
//! runtime holds its values.

use super::parameters::Parameters;
use super::{InputRounding, Network, Quantized};
use crate::engine::Engine;
use pocketflow::Result;
use pocketflow::graph::{Graph, NodeId, Placement};
use pocketflow::integer::{Held, Target, held, input_range, plan};
use std::collections::BTreeMap;

/// What an integer runtime computes with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Integers {
    /// The type of the codes.
    pub target: Target,
    /// 2–16, or 32 for none.
    pub weight_bits: u32,
    /// 2–16, or 32 for none.
    pub activation_bits: u32,
    /// Share of the past in the moving averages of activation ranges, 0–1.
    pub range_decay: f64,
}

impl Network {
    /// A network that computes, in floats, what it will compute in integers: `graph` with the
    /// weights given (by parameter name), of input normalised by `mean` and `std` (by channel, in
    /// units of pixels).
    ///
    /// # Errors
    /// As [`Network::new`].
    pub fn for_integers(
        engine: &Engine,
        graph: &Graph,
        integers: Integers,
        [mean, std]: [&[f32]; 2],
        values: &BTreeMap<String, Vec<f32>>,
    ) -> Result<Self> {
        let Integers { target, weight_bits, activation_bits, range_decay } = integers;
        graph.validate()?;
        let name = |id: NodeId| graph.nodes[id].name.as_str();
        let mut plan = plan(graph, target, weight_bits, activation_bits);
        if let Some(input) = plan.activations.get_mut(name(0)) {
            input.range = Some(input_range(mean, std));
        }
        let mut shared = BTreeMap::new();
        for (id, held) in held(graph, target).into_iter().enumerate() {
            // Other operators on the grid of their input only move or select values that are on it.
            if let (Held::On(of), Placement::Average | Placement::Rounded) = (held, graph.nodes[id].op.placement())
                && let Some(quant) = plan.activations.get(name(of)).copied()
            {
                plan.activations.insert(name(id).to_owned(), quant);
                shared.insert(id, of);
            }
        }
        let parameters = Parameters::given(engine, graph, values)?;
        let how = Quantized { plan: &plan, range_decay, shared: &shared, ..Quantized::none() };
        let mut network = Self::assemble(engine, graph, parameters, how)?;
        network.input = InputRounding::of(engine, mean, std)?;
        Ok(network)
    }
}
