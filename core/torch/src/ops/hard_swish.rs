//! The hard swish, in libtorch's own pass: it is no part of the fused one.

use super::Forward;
use pocketflow::graph::HardSwish;
use tch::{TchError, Tensor};

impl Forward for HardSwish {
    fn forward(&self, inputs: &[&Tensor], _params: &[Tensor]) -> Result<Tensor, TchError> {
        inputs[0].f_hardswish()
    }
}
