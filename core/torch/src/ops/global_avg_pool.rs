//! Mean over height and width.

use super::Forward;
use pocketflow::graph::GlobalAvgPool;
use tch::{Kind, TchError, Tensor};

impl Forward for GlobalAvgPool {
    fn forward(&self, inputs: &[&Tensor], _params: &[Tensor]) -> Result<Tensor, TchError> {
        inputs[0].f_mean_dim([2i64, 3].as_slice(), true, Kind::Float)
    }
}
