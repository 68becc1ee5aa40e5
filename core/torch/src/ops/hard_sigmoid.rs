//! The hard sigmoid.

use super::Forward;
use pocketflow::graph::HardSigmoid;
use tch::{TchError, Tensor};

impl Forward for HardSigmoid {
    fn forward(&self, inputs: &[&Tensor], _params: &[Tensor]) -> Result<Tensor, TchError> {
        inputs[0].f_hardsigmoid()
    }
}
