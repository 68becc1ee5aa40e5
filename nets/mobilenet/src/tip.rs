//! What both versions are built with: a convolution with its batch normalisation, appended to what
//! there is, padded as the style asks at the size reached there.

use crate::style::Style;
use pocketflow::graph::{Conv2d, GraphBuilder, NodeId, Relu6};

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
        let op = Conv2d {
            out,
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [before, before, after, after],
            dilation: [1; 2],
            groups,
            bias: false,
        };
        let conv = self.builder.add(conv_name, op, &[self.node]);
        self.node = self.builder.batch_norm(norm_name, conv, self.style.batch_norm_eps());
        self.channels = out;
        self.size = self.size.div_ceil(stride);
    }

    pub fn relu6(&mut self, name: &str) {
        self.node = self.builder.add(name, Relu6, &[self.node]);
    }
}
