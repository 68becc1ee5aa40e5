//! The rectified linear unit whose leak is learnt.

use super::Forward;
use pocketflow::graph::Prelu;
use tch::{TchError, Tensor};

impl Forward for Prelu {
    fn forward(&self, inputs: &[&Tensor], params: &[Tensor]) -> Result<Tensor, TchError> {
        inputs[0].f_prelu(&params[0])
    }
}
