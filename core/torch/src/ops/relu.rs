//! The activation function of the fused pass that has no upper end.

use super::{Forward, Part};
use crate::kernels::Act;
use pocketflow::graph::Relu;

impl Forward for Relu {
    fn part(&self) -> Part {
        Part::Activation(Act::Relu)
    }
}
