//! Fully connected layer, on the flattened input.

use super::Forward;
use pocketflow::graph::Linear;
use tch::{TchError, Tensor};

impl Forward for Linear {
    fn forward(&self, inputs: &[&Tensor], params: &[Tensor]) -> Result<Tensor, TchError> {
        let features = inputs[0].f_flatten(1, -1)?.f_linear(&params[0], params.get(1))?;
        // As every other value, so that all operators can follow.
        features.f_unsqueeze(-1)?.f_unsqueeze(-1)
    }
}
