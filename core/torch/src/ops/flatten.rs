//! Images as features.

use super::Forward;
use pocketflow::graph::Flatten;
use tch::{TchError, Tensor};

impl Forward for Flatten {
    fn forward(&self, inputs: &[&Tensor], _params: &[Tensor]) -> Result<Tensor, TchError> {
        inputs[0].f_flatten(1, -1)?.f_unsqueeze(-1)?.f_unsqueeze(-1)
    }
}
