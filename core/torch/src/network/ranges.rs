//! What the values of quantized nodes have been seen to be: tracked in training, frozen in
//! evaluation.

use super::{floats, set_floats};
use crate::kernels::ActQuantizer;
use pocketflow::affine::Affine;
use pocketflow::graph::{Graph, Op};
use pocketflow::quant::QuantPlan;
use pocketflow::{Error, Result};
use std::collections::BTreeMap;
use tch::Tensor;

/// Share of the past in a moving range, unless a learner says otherwise.
const DECAY: f64 = 0.99;
/// "Batches seen" of a range that was given.
const KNOWN: f32 = 1e6;

struct Range {
    bits: u32,
    /// `[3]`: minimum, maximum, batches seen.
    state: Tensor,
    tracked: bool,
}

/// The ranges of a network, by node.
pub struct Ranges {
    nodes: BTreeMap<String, Range>,
    pub decay: f64,
}

impl Ranges {
    pub fn new(graph: &Graph, plan: &QuantPlan) -> Self {
        let nodes = plan.activations.iter().map(|(name, quant)| {
            let state = quant.range.map_or([0.0; 3], |[min, max]| [min, max, KNOWN]);
            // What pixels there are is known beforehand.
            let is_input = graph.find(name).is_some_and(|id| matches!(graph.nodes[id].op, Op::Input(_)));
            (name.clone(), Range { bits: quant.bits, state: Tensor::from_slice(&state), tracked: !is_input })
        });
        Self { nodes: nodes.collect(), decay: DECAY }
    }

    /// The quantizer of a node in the plan; if not `on`, it only tracks.
    pub fn quantizer(&self, node: &str, track: bool, on: bool) -> Option<ActQuantizer<'_>> {
        self.nodes.get(node).map(|range| ActQuantizer {
            bits: if on { range.bits } else { 0 },
            range: &range.state,
            decay: self.decay,
            track: track && range.tracked,
        })
    }

    /// The grid of a node whose range is known.
    pub fn grid(&self, node: &str) -> Option<Affine> {
        let range = self.nodes.get(node)?;
        range.ends().map(|ends| Affine::of_range(ends, range.bits))
    }

    /// Node `node` takes the range of `of` from now on, whatever its own values are.
    pub fn share(&mut self, node: &str, of: &str) -> Result<()> {
        let missing = || Error::failed(format!("`{of}` has no range that `{node}` could share"));
        let Range { bits, state, .. } = self.nodes.get(of).ok_or_else(missing)?;
        let shared = Range { bits: *bits, state: state.shallow_clone(), tracked: false };
        self.nodes.insert(node.to_owned(), shared);
        Ok(())
    }

    /// Writes the ranges known into the plan.
    pub fn fill(&self, plan: &mut QuantPlan) {
        for (name, quant) in &mut plan.activations {
            quant.range = self.nodes.get(name).and_then(Range::ends);
        }
    }

    pub fn state(&self) -> Result<BTreeMap<String, Vec<f32>>> {
        self.nodes.iter().map(|(name, range)| Ok((name.clone(), floats(&range.state)?))).collect()
    }

    pub fn set_state(&mut self, state: &BTreeMap<String, Vec<f32>>) -> Result<()> {
        for (name, range) in &mut self.nodes {
            let values = state.get(name).ok_or_else(|| Error::failed(format!("no range of `{name}`")))?;
            set_floats(&mut range.state, values)?;
        }
        Ok(())
    }
}

impl Range {
    /// Minimum and maximum, once anything is known.
    fn ends(&self) -> Option<[f32; 2]> {
        let [min, max, seen] = [0, 1, 2].map(|index| self.state.double_value(&[index]) as f32);
        (seen > 0.0).then_some([min, max])
    }
}
