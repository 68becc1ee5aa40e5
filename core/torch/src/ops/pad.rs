//! Zeros around an image.

use super::Forward;
use pocketflow::graph::Pad;
use tch::{TchError, Tensor};

impl Forward for Pad {
    fn forward(&self, inputs: &[&Tensor], _params: &[Tensor]) -> Result<Tensor, TchError> {
        let [top, left, bottom, right] = self.padding.map(|size| size as i64);
        inputs[0].f_constant_pad_nd([left, right, top, bottom])
    }
}
