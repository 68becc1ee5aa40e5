//! Largest value of each window, padded here: libtorch pads no side unlike the other, and no more
//! than half a window.

use super::Forward;
use pocketflow::graph::MaxPool2d;
use tch::{TchError, Tensor};

impl Forward for MaxPool2d {
    fn forward(&self, inputs: &[&Tensor], _params: &[Tensor]) -> Result<Tensor, TchError> {
        let padded = super::padded(inputs[0], self.windows(super::image(inputs[0])), f64::NEG_INFINITY)?;
        let [kernel, stride] = [self.kernel, self.stride].map(|pair| pair.map(|size| size as i64));
        padded.f_max_pool2d(kernel, stride, [0i64, 0], [1i64, 1], false)
    }
}
