//! Convolutions, also grouped and depth-wise ones.

use super::window::{count, steps};
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
    /// Parts that the channels are divided into; each output reads one.
    pub groups: usize,
    /// Whether a number is added to each output channel.
    pub bias: bool,
}

impl Conv2d {
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
        let Self { out, kernel, stride, padding: [top, left, bottom, right], groups, .. } = *self;
        let [channels, height, width] = inputs[0];
        if groups == 0 || channels % groups != 0 || out % groups != 0 {
            return Err(format!("{groups} groups do not divide {channels} input and {out} output channels"));
        }
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
