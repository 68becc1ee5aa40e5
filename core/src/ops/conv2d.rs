//! Convolutions, also grouped, depth-wise and dilated ones.

use super::window::{count, extent, steps};
use super::{Operator, Placement, Role, Shape};
use serde::{Deserialize, Serialize};

/// Cross-correlation with weights `[out, in / groups, kh, kw]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conv2d {
    /// Output channels.
    pub out: usize,
    /// Height and width.
    pub kernel: [usize; 2],
    /// Down and to the right.
    pub stride: [usize; 2],
    /// Zeros at the top, left, bottom and right.
    pub padding: [usize; 4],
    /// How far apart the pixels under the kernel lie, down and to the right; 1: side by side.
    #[serde(default = "undilated", skip_serializing_if = "Conv2d::is_undilated")]
    pub dilation: [usize; 2],
    /// Parts that the channels are divided into; each output reads one.
    pub groups: usize,
    /// Whether a number is added to each output channel.
    pub bias: bool,
}

/// Of every convolution that says nothing else.
fn undilated() -> [usize; 2] {
    [1; 2]
}

impl Conv2d {
    /// One group, stride 1, no padding, no dilation and no bias: what others begin with.
    pub fn new(out: usize, kernel: [usize; 2]) -> Self {
        Self { out, kernel, stride: [1; 2], padding: [0; 4], dilation: undilated(), groups: 1, bias: false }
    }

    fn is_undilated(dilation: &[usize; 2]) -> bool {
        *dilation == undilated()
    }

    /// Whether readers that know no dilation may read it.
    pub(super) fn is_dilated(&self) -> bool {
        !Self::is_undilated(&self.dilation)
    }

    /// `[out, in / groups, kh, kw]` of the weights.
    fn weight(&self, inputs: &[Shape]) -> [usize; 4] {
        [self.out, inputs[0][0] / self.groups.max(1), self.kernel[0], self.kernel[1]]
    }
}

impl Operator for Conv2d {
    fn kind(&self) -> &'static str {
        if self.groups > 1 && self.groups == self.out { "depthwise" } else { "conv" }
    }

    fn shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        let Self { out, kernel, stride, padding: [top, left, bottom, right], dilation, groups, .. } = *self;
        let [channels, height, width] = inputs[0];
        if groups == 0 || channels % groups != 0 || out % groups != 0 {
            return Err(format!("{groups} groups do not divide {channels} input and {out} output channels"));
        }
        let kernel = [extent(kernel[0], dilation[0])?, extent(kernel[1], dilation[1])?];
        let height = steps(height, kernel[0], stride[0], top.saturating_add(bottom))?;
        Ok([out, height, steps(width, kernel[1], stride[1], left.saturating_add(right))?])
    }

    fn params(&self, inputs: &[Shape]) -> Vec<(Role, Vec<usize>)> {
        let bias = self.bias.then(|| (Role::Bias, vec![self.out]));
        [(Role::Weight, self.weight(inputs).to_vec())].into_iter().chain(bias).collect()
    }

    fn multiply_adds(&self, inputs: &[Shape]) -> usize {
        let [_, height, width] = self.shape(inputs).unwrap_or_default();
        count(&[count(&self.weight(inputs)), height, width])
    }

    fn bias_mut(&mut self) -> Option<&mut bool> {
        Some(&mut self.bias)
    }

    fn is_layer(&self) -> bool {
        true
    }

    fn placement(&self) -> Placement {
        Placement::BeforeClip
    }
}
