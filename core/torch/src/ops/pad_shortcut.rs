//! The shortcut of a residual block that changes its size: every `stride`-th pixel, and channels of
//! zeros before and after.

use super::Forward;
use pocketflow::graph::PadShortcut;
use tch::{TchError, Tensor};

impl Forward for PadShortcut {
    fn forward(&self, inputs: &[&Tensor], _params: &[Tensor]) -> Result<Tensor, TchError> {
        let (extra, stride) = (self.out as i64 - inputs[0].size()[1], self.stride as i64);
        let strided = inputs[0].f_slice(2, 0, i64::MAX, stride)?.f_slice(3, 0, i64::MAX, stride)?;
        strided.f_constant_pad_nd([0, 0, 0, 0, extra / 2, extra - extra / 2])
    }
}
