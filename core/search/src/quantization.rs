//! What is quantized and on which grid, apart from the bits of weights: plain values, which a
//! learner reads from its own options.

use pocketflow::clip::WeightRange;
use pocketflow::graph::Graph;
use pocketflow::quant::{Buckets, QuantPlan};
use std::path::PathBuf;

/// What is quantized.
#[derive(Debug, Clone)]
pub struct Quantization {
    pub activation_bits: u32,
    pub save_path: PathBuf,
    pub buckets: Buckets,
    pub all_layers: bool,
    pub range: WeightRange,
    /// Without training.
    pub reestimate: bool,
}

impl Quantization {
    /// Returns the plan with the same bits for all weights.
    pub fn plan(&self, graph: &Graph, weight_bits: u32) -> QuantPlan {
        QuantPlan::uniform(graph, weight_bits, self.activation_bits, self.buckets, self.all_layers)
    }
}
