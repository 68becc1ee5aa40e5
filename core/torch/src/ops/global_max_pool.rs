//! Largest value over height and width.

use super::Forward;
use pocketflow::graph::GlobalMaxPool;
use tch::{TchError, Tensor};

impl Forward for GlobalMaxPool {
    fn forward(&self, inputs: &[&Tensor], _params: &[Tensor]) -> Result<Tensor, TchError> {
        inputs[0].f_amax([2i64, 3].as_slice(), true)
    }
}
