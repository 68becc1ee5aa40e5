//! Maximum pooling.

use super::window::steps;
use super::{Operator, Placement, Shape};
use serde::{Deserialize, Serialize};

/// The maximum of each square window; padding is never the maximum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaxPool {
    /// Height and width of the window.
    pub kernel: usize,
    /// Down and to the right.
    pub stride: usize,
    /// On all four sides.
    pub padding: usize,
}

impl Operator for MaxPool {
    fn kind(&self) -> &'static str {
        "max_pool"
    }

    fn shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        let [channels, height, width] = inputs[0];
        // libtorch runs no other; a window of padding alone would have no maximum.
        if self.padding > self.kernel / 2 {
            return Err(format!("a padding of {} is more than half its window of {}", self.padding, self.kernel));
        }
        let pooled = |size| steps(size, self.kernel, self.stride, self.padding.saturating_mul(2));
        Ok([channels, pooled(height)?, pooled(width)?])
    }

    fn placement(&self) -> Placement {
        Placement::Input
    }
}
