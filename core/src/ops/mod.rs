//! Operators: what one reads and writes, which parameters it has and what it costs. One file each;
//! its forward pass is the file of the same name in `core/torch/src/ops`, its way into files the
//! one in `core/export/src/ops`.

mod add;
mod add_constant;
mod arity;
mod avg_pool;
mod batch_norm;
mod channel_shuffle;
mod concat;
mod conv2d;
mod dropout;
mod flatten;
mod global_avg_pool;
mod global_max_pool;
mod hard_sigmoid;
mod hard_swish;
mod input;
mod leaky_relu;
mod linear;
mod max_pool;
mod max_pool_2d;
mod mul;
mod pad;
mod pad_shortcut;
mod prelu;
mod relu;
mod relu6;
mod sigmoid;
mod silu;
mod slice;
mod softmax;
mod tanh;
mod window;

pub use add::Add;
pub use add_constant::AddConstant;
pub use arity::Arity;
pub use avg_pool::AvgPool2d;
pub use batch_norm::BatchNorm;
pub use channel_shuffle::ChannelShuffle;
pub use concat::Concat;
pub use conv2d::Conv2d;
pub use dropout::Dropout;
pub use flatten::Flatten;
pub use global_avg_pool::GlobalAvgPool;
pub use global_max_pool::GlobalMaxPool;
pub use hard_sigmoid::HardSigmoid;
pub use hard_swish::HardSwish;
pub use input::Input;
pub use leaky_relu::LeakyRelu;
pub use linear::Linear;
pub use max_pool::MaxPool;
pub use max_pool_2d::MaxPool2d;
pub use mul::Mul;
pub use pad::Pad;
pub use pad_shortcut::PadShortcut;
pub use prelu::Prelu;
pub use relu::Relu;
pub use relu6::Relu6;
pub use sigmoid::Sigmoid;
pub use silu::Silu;
pub use slice::Slice;
pub use softmax::Softmax;
pub use tanh::Tanh;
pub use window::Windows;

use serde::{Deserialize, Serialize};
use std::ops::{Deref, DerefMut};

/// `[channels, height, width]` of one sample; a feature vector is `[features, 1, 1]`.
pub type Shape = [usize; 3];

/// Calls a macro with the names of all operators: `for_each_operator!(table)` is
/// `table! { Input, Conv2d, … }`. Whoever executes or writes operators derives the choice among
/// them from this list, and so does not compile where one is left out.
#[macro_export]
macro_rules! for_each_operator {
    ($macro:ident) => {
        $macro! {
            Input, Conv2d, BatchNorm, Relu, Relu6, HardSwish, Add, MaxPool, GlobalAvgPool, Linear, PadShortcut,
            Concat, AvgPool2d, MaxPool2d, GlobalMaxPool, Mul, Sigmoid, HardSigmoid, Silu, Flatten, ChannelShuffle, Slice,
            Pad, LeakyRelu, Prelu, Tanh, AddConstant, Dropout, Softmax
        }
    };
}

/// What is asked of an operator without executing it. Where shapes are taken, they are those of
/// the values that it reads, as many as [`Operator::arity`] says.
pub trait Operator {
    /// The word for reports: `conv`, `depthwise`, `fc`, `relu`, …
    fn kind(&self) -> &'static str;

    /// How many values it reads.
    fn arity(&self) -> Arity {
        Arity::Exactly(1)
    }

    /// The shape of what it writes: that of what it reads.
    ///
    /// # Errors
    /// Inputs that it cannot take, in words to be put behind the node's name.
    fn shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        Ok(inputs[0])
    }

    /// Its parameters, in the order of files.
    fn params(&self, _inputs: &[Shape]) -> Vec<(Role, Vec<usize>)> {
        Vec::new()
    }

    /// Multiplications and additions of weights, for one sample.
    fn multiply_adds(&self, _inputs: &[Shape]) -> usize {
        0
    }

    /// Whether it has a bias; `None` for all but layers with weights that can be quantized.
    fn bias_mut(&mut self) -> Option<&mut bool> {
        None
    }

    /// A layer with weights that can be quantized.
    fn is_layer(&self) -> bool {
        false
    }

    /// The bounds that it cuts values at, where it does nothing else: what stands before it does
    /// that in one go.
    fn clip(&self) -> Option<[f32; 2]> {
        None
    }

    /// A function of each value alone, which ends a layer.
    fn is_activation(&self) -> bool {
        self.clip().is_some()
    }

    /// The range of what it writes, where that is known beforehand: integer runtimes have one grid
    /// for it.
    fn range(&self) -> Option<[f32; 2]> {
        None
    }

    /// Whether it may stand only at the end of a network.
    fn ends(&self) -> bool {
        false
    }

    /// Where an integer runtime puts what it writes.
    fn placement(&self) -> Placement {
        Placement::Own
    }
}

/// Where an integer runtime puts what an operator writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// On a grid of its own.
    Own,
    /// On a grid of its own, unless its only reader cuts values at bounds ([`Operator::clip`]):
    /// the two are one then.
    BeforeClip,
    /// On the grid of its input: it only moves or selects values.
    Input,
    /// On the grid of its input, which what it computes is rounded to.
    Rounded,
    /// An average: on the grid of its input where the runtime averages codes, else on its own.
    Average,
}

/// What a parameter tensor is to its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Of a layer: what is multiplied, `[out, in, …]`.
    Weight,
    /// Of a layer: what is added to each output channel.
    Bias,
    /// γ of a batch normalisation.
    Scale,
    /// β of a batch normalisation.
    Shift,
    /// What an activation function multiplies with below zero.
    Slope,
    /// The mean of a channel over the training images.
    RunningMean,
    /// The variance of a channel over the training images.
    RunningVar,
}

impl Role {
    /// Updated by the optimizer (running statistics are not).
    pub fn is_trained(self) -> bool {
        !matches!(self, Self::RunningMean | Self::RunningVar)
    }

    /// What files put behind the node's name (torchvision's words).
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Weight | Self::Scale | Self::Slope => "weight",
            Self::Bias | Self::Shift => "bias",
            Self::RunningMean => "running_mean",
            Self::RunningVar => "running_var",
        }
    }
}

/// What files hold of an operator without attributes. Fields of later versions are skipped, which
/// serde does not do for `struct Relu;`.
#[derive(Deserialize)]
struct NoAttributes {}

macro_rules! operators {
    ($($name:ident),*) => {
        /// A node's operator. The set is closed: every executor and exporter handles all of them.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(from = "Written", into = "Written")]
        #[allow(missing_docs)] // They are documented where they are declared.
        pub enum Op {
            $($name($name)),*
        }

        /// An operator in the words of files and of the plugin boundary. An attribute that readers
        /// of earlier versions would pass over, and compute something else, has a word of its own:
        /// they refuse the operator by it.
        #[derive(Serialize, Deserialize)]
        #[serde(tag = "op", rename_all = "snake_case")]
        enum Written {
            $($name($name),)*
            DilatedConv2d(Conv2d),
        }

        impl From<Written> for Op {
            fn from(written: Written) -> Self {
                match written {
                    $(Written::$name(op) => Self::$name(op),)*
                    Written::DilatedConv2d(op) => Self::Conv2d(op),
                }
            }
        }

        impl From<Op> for Written {
            fn from(op: Op) -> Self {
                match op {
                    Op::Conv2d(op) if op.is_dilated() => Self::DilatedConv2d(op),
                    $(Op::$name(op) => Self::$name(op),)*
                }
            }
        }

        impl Deref for Op {
            type Target = dyn Operator;

            fn deref(&self) -> &Self::Target {
                match self { $(Self::$name(op) => op),* }
            }
        }

        impl DerefMut for Op {
            fn deref_mut(&mut self) -> &mut Self::Target {
                match self { $(Self::$name(op) => op),* }
            }
        }

        $(impl From<$name> for Op {
            fn from(op: $name) -> Self {
                Self::$name(op)
            }
        })*
    };
}

for_each_operator!(operators);

#[cfg(test)]
mod tests {
    use super::*;

    /// Model files and plugins of earlier versions hold operators in these words.
    #[test]
    fn the_words_of_files_stay() {
        let conv = Conv2d {
            out: 4,
            kernel: [3, 1],
            stride: [2, 1],
            padding: [0, 1, 2, 3],
            dilation: [1; 2],
            groups: 2,
            bias: false,
        };
        let dilated = Conv2d { dilation: [2, 1], ..Conv2d::new(4, [3, 3]) };
        let words: [(Op, &str); 30] = [
            (Input { shape: [3, 8, 8] }.into(), r#"{"op":"input","shape":[3,8,8]}"#),
            (
                conv.into(),
                concat!(
                    r#"{"op":"conv2d","out":4,"kernel":[3,1],"stride":[2,1],"#,
                    r#""padding":[0,1,2,3],"groups":2,"bias":false}"#
                ),
            ),
            (
                dilated.into(),
                concat!(
                    r#"{"op":"dilated_conv2d","out":4,"kernel":[3,3],"stride":[1,1],"#,
                    r#""padding":[0,0,0,0],"dilation":[2,1],"groups":1,"bias":false}"#
                ),
            ),
            (BatchNorm { eps: 1e-5 }.into(), r#"{"op":"batch_norm","eps":0.00001}"#),
            (Relu.into(), r#"{"op":"relu"}"#),
            (Relu6.into(), r#"{"op":"relu6"}"#),
            (HardSwish.into(), r#"{"op":"hard_swish"}"#),
            (Add.into(), r#"{"op":"add"}"#),
            (
                MaxPool { kernel: 3, stride: 2, padding: 1 }.into(),
                r#"{"op":"max_pool","kernel":3,"stride":2,"padding":1}"#,
            ),
            (GlobalAvgPool.into(), r#"{"op":"global_avg_pool"}"#),
            (Linear { out: 10, bias: true }.into(), r#"{"op":"linear","out":10,"bias":true}"#),
            (PadShortcut { out: 8, stride: 2 }.into(), r#"{"op":"pad_shortcut","out":8,"stride":2}"#),
            (Concat.into(), r#"{"op":"concat"}"#),
            (
                AvgPool2d { kernel: [3, 2], stride: [2, 1], padding: [1, 0, 1, 0], ceil: true, count_padding: false }
                    .into(),
                concat!(
                    r#"{"op":"avg_pool2d","kernel":[3,2],"stride":[2,1],"padding":[1,0,1,0],"#,
                    r#""ceil":true,"count_padding":false}"#
                ),
            ),
            (
                MaxPool2d { kernel: [3, 2], stride: [2, 1], padding: [1, 0, 1, 0], ceil: true }.into(),
                r#"{"op":"max_pool2d","kernel":[3,2],"stride":[2,1],"padding":[1,0,1,0],"ceil":true}"#,
            ),
            (GlobalMaxPool.into(), r#"{"op":"global_max_pool"}"#),
            (Mul.into(), r#"{"op":"mul"}"#),
            (Sigmoid.into(), r#"{"op":"sigmoid"}"#),
            (HardSigmoid.into(), r#"{"op":"hard_sigmoid"}"#),
            (Silu.into(), r#"{"op":"silu"}"#),
            (Flatten.into(), r#"{"op":"flatten"}"#),
            (ChannelShuffle { groups: 2 }.into(), r#"{"op":"channel_shuffle","groups":2}"#),
            (Slice { start: 2, end: 4 }.into(), r#"{"op":"slice","start":2,"end":4}"#),
            (Pad { padding: [1, 2, 3, 4] }.into(), r#"{"op":"pad","padding":[1,2,3,4]}"#),
            (LeakyRelu { slope: 0.125 }.into(), r#"{"op":"leaky_relu","slope":0.125}"#),
            (Prelu { by_channel: true }.into(), r#"{"op":"prelu","by_channel":true}"#),
            (Tanh.into(), r#"{"op":"tanh"}"#),
            (AddConstant { values: vec![0.5, -1.0] }.into(), r#"{"op":"add_constant","values":[0.5,-1.0]}"#),
            (Dropout { probability: 0.25 }.into(), r#"{"op":"dropout","probability":0.25}"#),
            (Softmax.into(), r#"{"op":"softmax"}"#),
        ];
        for (op, text) in words {
            assert_eq!(serde_json::to_string(&op).unwrap(), text);
            assert_eq!(serde_json::from_str::<Op>(text).unwrap(), op);
            let later = text.replacen('}', r#","field_of_a_later_version":1}"#, 1);
            assert_eq!(serde_json::from_str::<Op>(&later).unwrap(), op);
        }
    }
}
