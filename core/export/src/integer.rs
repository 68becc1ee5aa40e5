//! The network as integers: what .tflite and .onnx files hold, before either's format.

mod layer;
mod lower;

pub use lower::{Fate, LayerNote, Lowered, lower, without_range};

use pocketflow::integer::Target;

/// A network of integer operators in execution order. Codes are those of the target: int8 −128…127, uint8 0…255.
#[derive(Debug, Clone, PartialEq)]
pub struct IntegerNet {
    /// The graph's name: `resnet20_at_cifar10`.
    pub name: String,
    pub target: Target,
    pub values: Vec<Value>,
    pub operators: Vec<Operator>,
    /// Index into `values` of the images and of the logits.
    pub input: usize,
    pub output: usize,
    /// How pixels become the input's real values: (pixel − mean) / std by channel, then `values[input]`'s grid.
    pub mean: Vec<f32>,
    pub std: Vec<f32>,
}

/// A value that operators read and write.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// The node whose output it is.
    pub name: String,
    /// `[height, width, channels]`; features are `[1, 1, n]`.
    pub shape: [usize; 3],
    pub scale: f32,
    /// In the target's codes: −128…127 or 0…255.
    pub zero_point: i32,
}

/// The activation function fused into an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activation {
    #[default]
    None,
    Relu,
    Relu6,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Operator {
    /// The node that it does; of fused nodes the layer's (or the sum's).
    pub name: String,
    pub kind: Kind,
    /// Indices into `values`: two for a sum, else one.
    pub inputs: Vec<usize>,
    pub output: usize,
    pub activation: Activation,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// `padding` is top, left, bottom, right. `depthwise`: one filter for each input channel, `weights.shape[1]` is 1.
    Conv {
        weights: Weights,
        bias: Vec<i32>,
        stride: [usize; 2],
        padding: [usize; 4],
        depthwise: bool,
    },
    /// Of the flattened input (height, width, channels all 1 but the last): `weights.shape` is `[out, in, 1, 1]`.
    Linear {
        weights: Weights,
        bias: Vec<i32>,
    },
    Add,
    /// Symmetric padding.
    MaxPool {
        kernel: usize,
        stride: usize,
        padding: usize,
    },
    /// Over height and width. Same grid in and out: an average pool; else a mean.
    GlobalAvgPool,
    /// Every `stride`-th pixel, zero channels before and after. Same grid in and out.
    PadShortcut {
        before: usize,
        after: usize,
        stride: usize,
    },
    /// An activation function that could not be fused.
    Activation,
}

/// The weights of a layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// `[out, in / groups, kh, kw]`.
    pub shape: [usize; 4],
    /// In the target's codes, in the order of the shape.
    pub codes: Vec<i32>,
    /// One for the tensor or one for each output channel.
    pub scales: Vec<f32>,
    /// As many as scales. int8: all zero.
    pub zero_points: Vec<i32>,
}
