//! Elementwise product.

use super::Forward;
use pocketflow::graph::Mul;
use tch::{TchError, Tensor};

impl Forward for Mul {
    fn forward(&self, inputs: &[&Tensor], _params: &[Tensor]) -> Result<Tensor, TchError> {
        inputs[0].f_mul(inputs[1])
    }
}
