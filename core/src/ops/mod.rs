//! Operators: what one reads and writes, which parameters it has and what it costs. One file each;
//! its forward pass is the file of the same name in `core/torch/src/ops`, its way into files the
//! one in `core/export/src/ops`.

mod add;
mod batch_norm;
mod conv2d;
mod global_avg_pool;
mod hard_swish;
mod input;
mod linear;
mod max_pool;
mod pad_shortcut;
mod relu;
mod relu6;
mod window;

pub use add::Add;
pub use batch_norm::BatchNorm;
pub use conv2d::Conv2d;
pub use global_avg_pool::GlobalAvgPool;
pub use hard_swish::HardSwish;
pub use input::Input;
pub use linear::Linear;
pub use max_pool::MaxPool;
pub use pad_shortcut::PadShortcut;
pub use relu::Relu;
pub use relu6::Relu6;

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
            Input, Conv2d, BatchNorm, Relu, Relu6, HardSwish, Add, MaxPool, GlobalAvgPool, Linear, PadShortcut
        }
    };
}

/// What is asked of an operator without executing it. Where shapes are taken, they are those of
/// the values that it reads, as many as [`Operator::arity`] says.
pub trait Operator {
    /// The word for reports: `conv`, `depthwise`, `fc`, `relu`, …
    fn kind(&self) -> &'static str;

    /// How many values it reads.
    fn arity(&self) -> usize {
        1
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
            Self::Weight | Self::Scale => "weight",
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
        #[serde(tag = "op", rename_all = "snake_case")]
        #[allow(missing_docs)] // They are documented where they are declared.
        pub enum Op {
            $($name($name)),*
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
        let conv = Conv2d { out: 4, kernel: [3, 1], stride: [2, 1], padding: [0, 1, 2, 3], groups: 2, bias: false };
        let words: [(Op, &str); 11] = [
            (Input { shape: [3, 8, 8] }.into(), r#"{"op":"input","shape":[3,8,8]}"#),
            (
                conv.into(),
                concat!(
                    r#"{"op":"conv2d","out":4,"kernel":[3,1],"stride":[2,1],"#,
                    r#""padding":[0,1,2,3],"groups":2,"bias":false}"#
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
        ];
        for (op, text) in words {
            assert_eq!(serde_json::to_string(&op).unwrap(), text);
            assert_eq!(serde_json::from_str::<Op>(text).unwrap(), op);
            let later = text.replacen('}', r#","field_of_a_later_version":1}"#, 1);
            assert_eq!(serde_json::from_str::<Op>(&later).unwrap(), op);
        }
    }
}
