//! Some channels.

use super::Forward;
use pocketflow::graph::Slice;
use tch::{TchError, Tensor};

impl Forward for Slice {
    fn forward(&self, inputs: &[&Tensor], _params: &[Tensor]) -> Result<Tensor, TchError> {
        inputs[0].f_slice(1, self.start as i64, self.end as i64, 1)
    }
}
