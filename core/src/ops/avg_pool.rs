//! Average pooling over windows.

use super::window::{Windows, pooled};
use super::{Operator, Placement, Shape};
use serde::{Deserialize, Serialize};

/// The mean of each window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AvgPool2d {
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Down and to the right.
    pub stride: [usize; 2],
    /// At the top, left, bottom and right.
    pub padding: [usize; 4],
    /// Whether a last window counts that goes beyond the padding. What lies there is never counted.
    pub ceil: bool,
    /// Whether the padding is counted, as zeros; else the mean is that of the image's pixels.
    pub count_padding: bool,
}

impl AvgPool2d {
    /// How its windows lie on an image `[channels, height, width]`.
    ///
    /// # Errors
    /// Windows that do not fit.
    pub fn windows(&self, [_, height, width]: Shape) -> Result<Windows, String> {
        pooled([height, width], self.kernel, self.stride, self.padding, self.ceil)
    }

    /// The share of each window's pixels that are counted, by window `[height, width]`: what a mean
    /// over all of the window's pixels is to be divided by. All 1 where every window counts all.
    ///
    /// # Errors
    /// Windows that do not fit.
    pub fn counted(&self, image: Shape) -> Result<Vec<f32>, String> {
        let windows = self.windows(image)?;
        let sides = [0, 1].map(|side| -> Vec<usize> {
            let before = self.padding[side];
            let first = if self.count_padding { 0 } else { before };
            let end = before + image[side + 1] + if self.count_padding { self.padding[side + 2] } else { 0 };
            let counted = |at: usize| {
                let start = at * self.stride[side];
                (start + self.kernel[side]).min(end).saturating_sub(start.max(first))
            };
            (0..windows.count[side]).map(counted).collect()
        });
        let pixels = (self.kernel[0] * self.kernel[1]) as f32;
        let shares =
            sides[0].iter().flat_map(|rows| sides[1].iter().map(move |columns| (rows * columns) as f32 / pixels));
        Ok(shares.collect())
    }
}

impl Operator for AvgPool2d {
    fn kind(&self) -> &'static str {
        "avg_pool"
    }

    fn shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        let [height, width] = self.windows(inputs[0])?.count;
        Ok([inputs[0][0], height, width])
    }

    fn placement(&self) -> Placement {
        Placement::Rounded
    }
}
