//! Which values of a network an integer runtime holds in memory, each on a grid of its own: what a
//! learner must quantize in training so that the deployed network computes the same.

use crate::graph::{Graph, Node, NodeId, Op, Placement};
use crate::option::Choice;
use crate::quant::{ActivationQuant, Buckets, FULL_PRECISION_BITS, Grid, QuantPlan, WeightQuant};
use serde::{Deserialize, Serialize};

crate::choice! {
    /// The integers that a deployed network computes with.
    #[derive(Default, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Target {
        /// int8, weights symmetric per output channel: what today's kernels are fastest at.
        #[default]
        Int8 = "int8",
        /// uint8, weights asymmetric per tensor: what TensorFlow's first quantized models, and the
        /// original's demo, use.
        Uint8 = "uint8",
    }
}

impl Target {
    /// Returns the word for it, as in options and files.
    pub fn name(self) -> &'static str {
        self.word()
    }

    /// How it quantizes the weights of a layer.
    pub fn weights(self, bits: u32) -> WeightQuant {
        match self {
            Self::Int8 => WeightQuant { bits, buckets: Buckets::Channel, grid: Grid::Symmetric },
            Self::Uint8 => WeightQuant { bits, buckets: Buckets::Layer, grid: Grid::Affine },
        }
    }
}

/// Where the output of a node lies in an integer runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// Nowhere: the node is one operator with the node that reads it (layer with batch
    /// normalisation, either or a sum with the activation function behind it).
    Fused,
    /// On the grid of this earlier node: the operator only moves or selects values.
    On(NodeId),
    /// On a grid of its own.
    Own,
}

/// Where the output of each node lies. Works for a graph with batch normalisations and for a folded
/// one alike.
pub fn held(graph: &Graph, target: Target) -> Vec<Held> {
    let (uses, readers) = (graph.uses(), graph.readers());
    let mut held = Vec::with_capacity(graph.nodes.len());
    for (id, node) in graph.nodes.iter().enumerate() {
        let sole_reader = readers[id].filter(|_| uses[id] == 1).map(|reader| &graph.nodes[reader].op);
        let fuses = match (node.op.placement(), sole_reader) {
            (_, Some(Op::BatchNorm(_))) if node.op.is_layer() => true,
            (Placement::BeforeClip, Some(next)) => next.clip().is_some(),
            _ => false,
        };
        held.push(match node.op.placement() {
            _ if fuses => Held::Fused,
            Placement::Input | Placement::Rounded => on(&held, node.inputs[0]),
            // TensorFlow Lite's AVERAGE_POOL_2D keeps the grid; MEAN, which int8 uses, has one of
            // its own.
            Placement::Average if target == Target::Uint8 => on(&held, node.inputs[0]),
            _ => Held::Own,
        });
    }
    held
}

fn on(held: &[Held], input: NodeId) -> Held {
    match held[input] {
        Held::On(earlier) => Held::On(earlier),
        _ => Held::On(input),
    }
}

/// The plan that makes a network integer from end to end: all layers, and every value that has a
/// grid of its own, the input included. 32 bits leave weights or activations alone.
pub fn plan(graph: &Graph, target: Target, weight_bits: u32, activation_bits: u32) -> QuantPlan {
    let mut plan = QuantPlan::default();
    if weight_bits < FULL_PRECISION_BITS {
        let layers = graph.layers().into_iter().map(|id| graph.nodes[id].name.clone());
        plan.weights = layers.map(|name| (name, target.weights(weight_bits))).collect();
    }
    if activation_bits < FULL_PRECISION_BITS {
        let own = held(graph, target).into_iter().zip(&graph.nodes);
        // What ends a network does so in files.
        let own = own.filter(|(held, node)| *held == Held::Own && !node.op.ends());
        let quant = |node: &Node| ActivationQuant { bits: activation_bits, range: node.op.range() };
        plan.activations = own.map(|(_, node)| (node.name.clone(), quant(node))).collect();
    }
    plan
}

/// The range that holds every normalised pixel of 0 to 255, and zero. `mean` and `std` by channel,
/// in units of pixels.
///
/// Where all channels are normalised alike, the grid of 8 bits is that of the pixels themselves: a
/// code is a pixel, and the mean is rounded to the nearest of them.
pub fn input_range(mean: &[f32], std: &[f32]) -> [f32; 2] {
    if let Some(([mean, ..], [std, ..])) = alike(mean, std).then_some((mean, std)) {
        let zero = deployed_mean(&[*mean], &[*std])[0];
        return [-zero / std, (255.0 - zero) / std];
    }
    let ends = |pixel: f32| mean.iter().zip(std).map(move |(mean, std)| (pixel - mean) / std);
    [ends(0.0).fold(0.0, f32::min), ends(255.0).fold(0.0, f32::max)]
}

/// The means, by channel, that deployed integers really take off: a whole pixel where all channels
/// are normalised alike, since a code is a pixel then; else whole 127ths of one, since the operator
/// that normalises multiplies by 127 and adds an integer.
pub fn deployed_mean(mean: &[f32], std: &[f32]) -> Vec<f32> {
    match alike(mean, std) {
        true => mean.iter().map(|mean| (mean + 0.5).floor().clamp(0.0, 255.0)).collect(),
        false => mean.iter().map(|mean| ((f64::from(*mean) * 127.0).round() / 127.0) as f32).collect(),
    }
}

/// Whether all channels are normalised alike, by a mean that is a pixel value.
pub fn alike(mean: &[f32], std: &[f32]) -> bool {
    let same = |values: &[f32]| values.windows(2).all(|pair| pair[0] == pair[1]);
    same(mean) && same(std) && mean.first().is_some_and(|mean| (0.0..=255.0).contains(mean))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::affine::Affine;
    use crate::graph::{Add, GlobalAvgPool, GraphBuilder, Linear};

    /// conv - bn - relu - [conv - bn] + itself - relu - pool - fc
    fn graph() -> Graph {
        let mut builder = GraphBuilder::new("small", [3, 8, 8]);
        let conv = builder.conv("conv1", 0, 4, 3, 1, 1);
        let norm = builder.batch_norm("bn1", conv, 1e-5);
        let relu = builder.relu("relu1", norm);
        let conv = builder.conv("conv2", relu, 4, 3, 1, 1);
        let norm = builder.batch_norm("bn2", conv, 1e-5);
        let add = builder.add("add", Add, &[norm, relu]);
        let relu = builder.relu("relu2", add);
        let pool = builder.add("pool", GlobalAvgPool, &[relu]);
        builder.add("fc", Linear { out: 10, bias: true }, &[pool]);
        builder.finish().unwrap()
    }

    #[test]
    fn a_value_is_quantized_where_it_is_held() {
        let names = |target| plan(&graph(), target, 8, 8).activations.into_keys().collect::<Vec<_>>().join(" ");
        assert_eq!(names(Target::Int8), "bn2 fc input pool relu1 relu2");
        assert_eq!(names(Target::Uint8), "bn2 fc input relu1 relu2", "the pool keeps the grid");
        assert_eq!(plan(&graph(), Target::Int8, 8, 32).activations.len(), 0);
    }

    #[test]
    fn pixels_are_codes_where_channels_are_alike() {
        let grid = Affine::of_range(input_range(&[127.5; 3], &[127.5; 3]), 8);
        assert_eq!(grid.zero_point, 128);
        assert!((grid.scale - 1.0 / 127.5).abs() < 1e-9);
        let [min, max] = input_range(&[125.3, 123.0, 113.9], &[63.0, 62.1, 66.7]);
        assert!((min + 125.3 / 63.0).abs() < 1e-6 && (max - 132.0 / 62.1).abs() < 1e-6);
    }
}
