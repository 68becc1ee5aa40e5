//! Largest value of each window.

use super::Forward;
use pocketflow::graph::MaxPool;
use tch::{TchError, Tensor};

impl Forward for MaxPool {
    fn forward(&self, inputs: &[&Tensor], _params: &[Tensor]) -> Result<Tensor, TchError> {
        let [kernel, stride, padding] = [self.kernel, self.stride, self.padding].map(|size| [size as i64; 2]);
        inputs[0].f_max_pool2d(kernel, stride, padding, [1i64, 1], false)
    }
}
