//! The hyperbolic tangent.

use super::Forward;
use pocketflow::graph::Tanh;
use tch::{TchError, Tensor};

impl Forward for Tanh {
    fn forward(&self, inputs: &[&Tensor], _params: &[Tensor]) -> Result<Tensor, TchError> {
        inputs[0].f_tanh()
    }
}
