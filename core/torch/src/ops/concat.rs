//! The channels of several values behind each other.

use super::Forward;
use pocketflow::graph::Concat;
use tch::{TchError, Tensor};

impl Forward for Concat {
    fn forward(&self, inputs: &[&Tensor], _params: &[Tensor]) -> Result<Tensor, TchError> {
        Tensor::f_cat(inputs, 1)
    }
}
