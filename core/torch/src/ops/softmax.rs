//! Nothing: learners take the logits, and their losses the softmax of them.

use super::Forward;
use pocketflow::graph::Softmax;
use tch::{TchError, Tensor};

impl Forward for Softmax {
    fn forward(&self, inputs: &[&Tensor], _params: &[Tensor]) -> Result<Tensor, TchError> {
        Ok(inputs[0].shallow_clone())
    }
}
