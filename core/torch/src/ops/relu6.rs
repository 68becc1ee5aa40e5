//! The activation function of the fused pass that ends at six.

use super::{Forward, Part};
use crate::kernels::Act;
use pocketflow::graph::Relu6;

impl Forward for Relu6 {
    fn part(&self) -> Part {
        Part::Activation(Act::Relu6)
    }
}
