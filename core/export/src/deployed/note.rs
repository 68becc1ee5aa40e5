//! What became of a model's layers when it was made integers, for the report.

use serde::{Deserialize, Serialize};

/// What became of something that the model had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// The same values, to the last code.
    Exact,
    /// On another grid of 8 bits than in training.
    Requantized,
    /// Training left it in float; quantized after training.
    PostQuantized,
    /// Float in training and in the file.
    Float,
}

/// What became of a layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerNote {
    /// Of the node.
    pub name: String,
    /// The word of [`pocketflow::graph::Operator::kind`].
    pub kind: String,
    /// Of the model's weights; 32: not quantized.
    pub bits: u32,
    /// What became of its weights.
    pub weights: Fate,
    /// Root mean square of what the weights changed by, relative to their own.
    pub weight_error: f64,
    /// Of the value that the layer (with what is fused to it) writes.
    pub output: Fate,
    /// Computed with integers; else the weights are decoded first.
    pub integer: bool,
}
