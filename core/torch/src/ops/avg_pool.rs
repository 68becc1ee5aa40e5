//! Mean of each window, padded here: of what libtorch's own pool counts, and of its padding, not
//! all can be said.

use super::Forward;
use pocketflow::graph::AvgPool2d;
use tch::{TchError, Tensor};

impl Forward for AvgPool2d {
    fn forward(&self, inputs: &[&Tensor], _params: &[Tensor]) -> Result<Tensor, TchError> {
        let (input, image) = (inputs[0], super::image(inputs[0]));
        let padded = super::padded(input, self.windows(image), 0.0)?;
        let [kernel, stride] = [self.kernel, self.stride].map(|pair| pair.map(|size| size as i64));
        let means = padded.f_avg_pool2d(kernel, stride, [0i64, 0], false, true, None::<i64>)?;
        let counted = self.counted(image).map_err(TchError::Kind)?;
        if counted.iter().all(|share| *share == 1.0) {
            return Ok(means);
        }
        let [.., height, width] = means.size()[..] else { return Ok(means) };
        let counted = Tensor::f_from_slice(&counted)?.f_view([1, 1, height, width])?;
        means.f_div(&counted.f_to_device(means.device())?.f_to_kind(means.kind())?)
    }
}
