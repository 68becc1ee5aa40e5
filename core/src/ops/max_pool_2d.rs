//! Maximum pooling over windows of any kind.

use super::window::{Windows, pooled};
use super::{Operator, Placement, Shape};
use serde::{Deserialize, Serialize};

/// The maximum of each window; padding is never the maximum. [`MaxPool`](super::MaxPool) is the one
/// with square windows, padded alike on all sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaxPool2d {
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Down and to the right.
    pub stride: [usize; 2],
    /// At the top, left, bottom and right.
    pub padding: [usize; 4],
    /// Whether a last window counts that goes beyond the padding.
    pub ceil: bool,
}

impl MaxPool2d {
    /// How its windows lie on an image `[channels, height, width]`.
    ///
    /// # Errors
    /// Windows that do not fit.
    pub fn windows(&self, [_, height, width]: Shape) -> Result<Windows, String> {
        pooled([height, width], self.kernel, self.stride, self.padding, self.ceil)
    }
}

impl Operator for MaxPool2d {
    fn kind(&self) -> &'static str {
        "max_pool"
    }

    fn shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        let [height, width] = self.windows(inputs[0])?.count;
        Ok([inputs[0][0], height, width])
    }

    fn placement(&self) -> Placement {
        Placement::Input
    }
}
