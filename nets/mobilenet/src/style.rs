//! Whose conventions a MobileNet follows: TensorFlow and PyTorch pad differently and add another epsilon to the variance, so
//! weights trained under one give other outputs under the other.

use pocketflow::graph::{GraphBuilder, NodeId, Op};

/// A family of implementations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// TF-slim: SAME padding, epsilon 1e-3.
    Tensorflow,
    /// torchvision: the same padding on all sides, epsilon 1e-5.
    Torchvision,
}

impl Style {
    /// The word for [`Style::Tensorflow`] in settings.
    pub const TENSORFLOW: &str = "tensorflow";
    /// The word for [`Style::Torchvision`] in settings.
    pub const TORCHVISION: &str = "torchvision";

    fn batch_norm_eps(self) -> f64 {
        match self {
            Self::Tensorflow => 1e-3,
            Self::Torchvision => 1e-5,
        }
    }

    /// Pixels before and after an axis of `size` pixels, for a convolution that puts out `size / stride` of them, rounded up
    /// (TensorFlow's SAME: what is odd goes after).
    fn padding(self, size: usize, kernel: usize, stride: usize) -> [usize; 2] {
        match self {
            Self::Tensorflow => {
                let reached = size.div_ceil(stride).saturating_sub(1) * stride + kernel;
                let total = reached.saturating_sub(size);
                [total / 2, total - total / 2]
            }
            Self::Torchvision => [kernel / 2; 2],
        }
    }
}

/// A convolution that is to be built, without bias.
pub(crate) struct Conv {
    pub out: usize,
    pub kernel: usize,
    pub stride: usize,
    pub groups: usize,
}

impl Conv {
    /// One filter for each of `channels`.
    pub fn depthwise(channels: usize, stride: usize) -> Self {
        Self { out: channels, kernel: 3, stride, groups: channels }
    }

    pub fn pointwise(out: usize) -> Self {
        Self { out, kernel: 1, stride: 1, groups: 1 }
    }
}

/// Where the building of a network stands: the last node and its square shape.
pub(crate) struct Tip {
    pub builder: GraphBuilder,
    pub style: Style,
    pub node: NodeId,
    pub channels: usize,
    /// Height and width in pixels.
    pub size: usize,
}

impl Tip {
    /// At the images.
    pub fn new(name: String, style: Style, image_size: usize) -> Self {
        let builder = GraphBuilder::new(name, [3, image_size, image_size]);
        let node = builder.input();
        Self { builder, style, node, channels: 3, size: image_size }
    }

    /// Appends a convolution and its batch normalisation.
    pub fn conv_norm(&mut self, conv_name: &str, norm_name: &str, conv: &Conv) {
        let Conv { out, kernel, stride, groups } = *conv;
        let [before, after] = self.style.padding(self.size, kernel, stride);
        let op = Op::Conv2d {
            out,
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [before, before, after, after],
            groups,
            bias: false,
        };
        let conv = self.builder.add(conv_name, op, &[self.node]);
        self.node = self.builder.batch_norm(norm_name, conv, self.style.batch_norm_eps());
        self.channels = out;
        self.size = self.size.div_ceil(stride);
    }

    pub fn relu6(&mut self, name: &str) {
        self.node = self.builder.add(name, Op::Relu6, &[self.node]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_of_tensorflow() {
        let padding = |size, kernel, stride| Style::Tensorflow.padding(size, kernel, stride);
        assert_eq!(padding(224, 3, 1), [1, 1]);
        assert_eq!(padding(224, 3, 2), [0, 1]);
        assert_eq!(padding(7, 3, 2), [1, 1]);
        assert_eq!(padding(1, 3, 2), [1, 1]);
        assert_eq!(padding(224, 1, 1), [0, 0]);
        assert_eq!(Style::Torchvision.padding(224, 3, 2), [1, 1]);
        assert_eq!(Style::Torchvision.padding(224, 1, 1), [0, 0]);
    }

    proptest::proptest! {
        #[test]
        fn both_styles_put_out_a_fraction_rounded_up(size in 1usize..2000, stride in 1usize..3) {
            for style in [Style::Tensorflow, Style::Torchvision] {
                let [before, after] = style.padding(size, 3, stride);
                proptest::prop_assert_eq!((size + before + after - 3) / stride + 1, size.div_ceil(stride));
            }
        }
    }
}
