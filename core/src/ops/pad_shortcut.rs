//! The shortcut of a residual block without parameters.

use super::{Operator, Placement, Shape};
use serde::{Deserialize, Serialize};

/// He et al. 2015, option A: every `stride`-th pixel, zero channels added before and after to make
/// `out`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PadShortcut {
    /// Output channels.
    pub out: usize,
    /// Down and to the right.
    pub stride: usize,
}

impl Operator for PadShortcut {
    fn kind(&self) -> &'static str {
        "pad_shortcut"
    }

    fn shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        let Self { out, stride } = *self;
        let [channels, height, width] = inputs[0];
        if stride == 0 || out < channels {
            return Err(format!("cannot make {out} channels of {channels} with stride {stride}"));
        }
        Ok([out, height.div_ceil(stride), width.div_ceil(stride)])
    }

    fn placement(&self) -> Placement {
        Placement::Input
    }
}
