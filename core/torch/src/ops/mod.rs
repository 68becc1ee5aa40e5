//! The forward passes of the operators, one file each.

mod add;
mod add_constant;
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

use crate::kernels::Act;
use pocketflow::for_each_operator;
#[allow(clippy::wildcard_imports)] // All operators, whichever they are.
use pocketflow::graph::*;
use tch::{TchError, Tensor};

/// Which part of the fused pass ([`crate::kernels::norm_act`]) an operator is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// None: it has a forward pass of its own.
    Alone,
    Norm,
    Sum,
    Activation(Act),
}

/// What the engine asks of an operator: that it is a part of the fused pass, or a forward pass.
pub trait Forward {
    /// Returns which part of the fused pass it is.
    fn part(&self) -> Part {
        Part::Alone
    }

    /// Returns its value, `[n, c, h, w]`, of its inputs, each `[n, c, h, w]`, and its parameters in
    /// the order of [`Operator::params`]. It is asked of operators that stand alone.
    ///
    /// # Errors
    /// libtorch's.
    fn forward(&self, _inputs: &[&Tensor], _params: &[Tensor]) -> Result<Tensor, TchError> {
        Err(TchError::Kind("the operator has no forward pass of its own".into()))
    }

    /// As [`Forward::forward`], in training, for operators that do something else there.
    ///
    /// # Errors
    /// libtorch's.
    fn train(&self, inputs: &[&Tensor], params: &[Tensor]) -> Result<Tensor, TchError> {
        self.forward(inputs, params)
    }
}

macro_rules! dispatch {
    ($($name:ident),*) => {
        /// Returns the forward pass of an operator.
        pub fn of(op: &Op) -> &dyn Forward {
            match op { $(Op::$name(op) => op),* }
        }
    };
}

for_each_operator!(dispatch);

/// The shape of one sample, `[c, h, w]`, of values `[n, c, h, w]`.
fn image(values: &Tensor) -> Shape {
    match values.size()[..] {
        [_, channels, height, width] => [channels, height, width].map(|size| size as usize),
        _ => [0; 3],
    }
}

/// An image with a value around it, as far as windows reach.
fn padded(image: &Tensor, windows: Result<Windows, String>, value: f64) -> Result<Tensor, TchError> {
    let [top, left, bottom, right] = windows.map_err(TchError::Kind)?.padding.map(|size| size as i64);
    if [top, left, bottom, right] == [0; 4] {
        return Ok(image.shallow_clone());
    }
    image.f_pad([left, right, top, bottom], "constant", value)
}
