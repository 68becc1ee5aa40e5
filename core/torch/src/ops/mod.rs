//! The forward passes of the operators, one file each.

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
