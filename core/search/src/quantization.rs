//! What is quantized and on which grid, apart from the bits of weights: plain values, which a
//! learner reads from its own options.

use pocketflow::clip::WeightRange;
use pocketflow::graph::Graph;
use pocketflow::quant::{Buckets, FULL_PRECISION_BITS, Grid, QuantPlan, WeightQuant};
use std::path::PathBuf;

/// What is quantized.
#[derive(Debug, Clone)]
pub struct Quantization {
    /// 1 to 31, or 32 for none.
    pub activation_bits: u32,
    /// Where the quantized model is saved.
    pub save_path: PathBuf,
    /// Which weights share a range.
    pub buckets: Buckets,
    /// Whether the first and the last layer are quantized as the others are.
    pub all_layers: bool,
    /// Bits of the first and the last layer, where `all_layers` is off; 32 leave them alone.
    pub edge_bits: u32,
    /// How the range of a bucket is chosen.
    pub range: WeightRange,
    /// Without training.
    pub reestimate: bool,
}

impl Quantization {
    /// Returns the plan with the same bits for all weights, but for those of the first and the last
    /// layer.
    pub fn plan(&self, graph: &Graph, weight_bits: u32) -> QuantPlan {
        let mut plan = QuantPlan::uniform(graph, weight_bits, self.activation_bits, self.buckets, self.all_layers);
        let layers = graph.layers();
        let edges = layers.first().into_iter().chain(layers.last());
        if !self.all_layers && self.edge_bits < FULL_PRECISION_BITS {
            let quant = WeightQuant { bits: self.edge_bits, buckets: self.buckets, grid: Grid::MinMax };
            plan.weights.extend(edges.map(|id| (graph.nodes[*id].name.clone(), quant)));
        }
        plan
    }
}
