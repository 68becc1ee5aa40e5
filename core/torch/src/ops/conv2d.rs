//! Convolution.

use super::Forward;
use pocketflow::graph::Conv2d;
use tch::{TchError, Tensor};

impl Forward for Conv2d {
    fn forward(&self, inputs: &[&Tensor], params: &[Tensor]) -> Result<Tensor, TchError> {
        let [top, left, bottom, right] = self.padding.map(|size| size as i64);
        let [stride, dilation] = [self.stride, self.dilation].map(|pair| pair.map(|size| size as i64));
        let groups = self.groups as i64;
        let conv =
            |x: &Tensor, padding: [i64; 2]| x.f_conv2d(&params[0], params.get(1), stride, padding, dilation, groups);
        if top == bottom && left == right {
            return conv(inputs[0], [top, left]);
        }
        conv(&inputs[0].f_constant_pad_nd([left, right, top, bottom])?, [0, 0])
    }
}
