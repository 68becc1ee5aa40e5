//! The sigmoid linear unit.

use super::Forward;
use pocketflow::graph::Silu;
use tch::{TchError, Tensor};

impl Forward for Silu {
    fn forward(&self, inputs: &[&Tensor], _params: &[Tensor]) -> Result<Tensor, TchError> {
        inputs[0].f_silu()
    }
}
