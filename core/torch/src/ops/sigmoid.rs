//! The logistic function.

use super::Forward;
use pocketflow::graph::Sigmoid;
use tch::{TchError, Tensor};

impl Forward for Sigmoid {
    fn forward(&self, inputs: &[&Tensor], _params: &[Tensor]) -> Result<Tensor, TchError> {
        inputs[0].f_sigmoid()
    }
}
