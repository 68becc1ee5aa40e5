//! Windows that slide over images: where convolutions and pools read, TensorFlow's padding, and
//! images with their borders.

use super::site::Site;
use crate::tflite::model::Padding;
use pocketflow::Result;

/// Of an image with its borders: 1 GiB of float32.
const MOST_VALUES: usize = 1 << 28;

/// The geometry of a convolution or a pool. Pairs are vertical, horizontal.
#[derive(Debug, Clone)]
pub(super) struct Window {
    /// Height, width, channels.
    pub input: [usize; 3],
    pub output: [usize; 2],
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    /// How far apart the pixels under the kernel lie.
    pub dilation: [usize; 2],
    /// Rows above and columns left of the image.
    pub before: [usize; 2],
}

impl Window {
    /// Of the image `[1, h, w, c]` that the operator reads first. SAME: ⌈size / stride⌉ pixels, the
    /// odd pixel of padding at the end; VALID: every place where the window fits.
    pub fn new(
        site: &Site,
        kernel: [usize; 2],
        stride: [usize; 2],
        dilation: [usize; 2],
        padding: Padding,
    ) -> Result<Self> {
        let image = site.input(0)?;
        let [1, height, width, channels] = image.shape[..] else {
            return Err(
                site.error(format!("{:?} must be one image [1, h, w, c], its shape is {:?}", image.name, image.shape))
            );
        };
        if kernel.contains(&0) || stride.contains(&0) || dilation.contains(&0) {
            let message = format!("a window of {kernel:?} with the stride {stride:?}, dilated by {dilation:?}");
            return Err(site.error(message + ", does not move"));
        }
        let size = [height, width];
        let extent = extent(kernel, dilation);
        let (mut output, mut before) = ([0; 2], [0; 2]);
        for side in 0..2 {
            match padding {
                Padding::Same => {
                    output[side] = size[side].div_ceil(stride[side]);
                    before[side] = ((output[side] - 1) * stride[side] + extent[side]).saturating_sub(size[side]) / 2;
                }
                Padding::Valid if extent[side] <= size[side] => {
                    output[side] = (size[side] - extent[side]) / stride[side] + 1;
                }
                Padding::Valid => {
                    let message = format!("the window {extent:?} does not fit into {size:?} pixels without padding");
                    return Err(site.error(message));
                }
            }
        }
        let made = Self { input: [height, width, channels], output, kernel, stride, dilation, before };
        let [rows, columns] = made.bordered();
        match rows.checked_mul(columns).and_then(|pixels| pixels.checked_mul(channels)) {
            Some(values) if values <= MOST_VALUES => Ok(made),
            _ => Err(site.error(format!("a window of {extent:?} pixels covers {rows} × {columns} pixels: too many"))),
        }
    }

    pub fn pixels(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Height and width of all that windows touch: the image with its borders, less what no window
    /// reaches.
    pub fn bordered(&self) -> [usize; 2] {
        let extent = extent(self.kernel, self.dilation);
        [0, 1].map(|side| (self.output[side] - 1) * self.stride[side] + extent[side])
    }

    /// Where each window starts in the bordered image with `channels` values a pixel, row by row.
    pub fn starts(&self, channels: usize) -> Vec<usize> {
        let row = self.bordered()[1] * channels;
        let starts = |y| (0..self.output[1]).map(move |x| y * self.stride[0] * row + x * self.stride[1] * channels);
        (0..self.output[0]).flat_map(starts).collect()
    }

    /// Writes the bordered image: each pixel becomes `channels` values, of which `lift` writes
    /// those that the image has; all others are `N::default()`, which stands for zero.
    #[inline(always)]
    pub fn border<T, N: Copy + Default>(
        &self,
        image: &[T],
        channels: usize,
        bordered: &mut Vec<N>,
        lift: impl Fn(&[T], &mut [N]),
    ) {
        let [height, width, depth] = self.input;
        let [rows, columns] = self.bordered();
        bordered.clear();
        bordered.resize(rows * columns * channels, N::default());
        let [top, left] = self.before;
        let kept = width.min(columns - left);
        for (y, row) in image.chunks_exact(width * depth).enumerate().take(height.min(rows - top)) {
            let target = &mut bordered[((y + top) * columns + left) * channels..][..kept * channels];
            if channels == depth {
                lift(&row[..kept * depth], target);
            } else {
                for (pixel, target) in row.chunks_exact(depth).zip(target.chunks_exact_mut(channels)) {
                    lift(pixel, target);
                }
            }
        }
    }

    /// The pixels of the image under window (y, x), which is not dilated: rows and columns.
    pub fn under(&self, y: usize, x: usize) -> [std::ops::Range<usize>; 2] {
        let at = [y, x];
        [0, 1].map(|side| {
            let start = at[side] * self.stride[side];
            let end = (start + self.kernel[side]).saturating_sub(self.before[side]).min(self.input[side]);
            start.saturating_sub(self.before[side])..end
        })
    }
}

/// Pixels from the first to the last under a kernel. Saturating: the sizes may be a forged file's.
fn extent(kernel: [usize; 2], dilation: [usize; 2]) -> [usize; 2] {
    [0, 1].map(|side| (kernel[side] - 1).saturating_mul(dilation[side]).saturating_add(1))
}
