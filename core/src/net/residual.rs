//! Residual networks (He et al. 2015, arXiv 1512.03385) from their stem on: stages of
//! post-activation blocks, global average pooling, one fully connected layer, all with the names
//! that torchvision gives them.

use crate::graph::{Add, GlobalAvgPool, Graph, GraphBuilder, GraphError, Linear, NodeId, PadShortcut};

/// ε of every batch normalisation of these networks, as PyTorch has it.
pub const BATCH_NORM_EPS: f64 = 1e-5;
/// A bottleneck puts out so many times the channels of its stage.
const BOTTLENECK_EXPANSION: usize = 4;

crate::choice! {
    /// What joins two stages (§3.3 of the paper).
    pub enum Shortcut {
        /// Option B: a strided 1 × 1 convolution with batch normalisation.
        Projection = "projection",
        /// Option A: every second pixel, zero channels on both sides; no parameters.
        Pad = "pad",
    }
}

/// The layers of a residual block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockKind {
    /// Two convolutions of 3 × 3.
    Basic,
    /// Three that narrow the channels to a quarter in between; the one of 3 × 3 strides, as
    /// torchvision has it (the paper: the first of 1 × 1).
    Bottleneck,
}

/// Finishes a network whose stem ends in `tip` with as many channels as the first stage is wide.
/// `stages`: width and number of blocks of each; all but the first halve the image.
///
/// # Errors
/// No class at all, or a stem that makes no valid graph.
pub fn finish(
    mut builder: GraphBuilder,
    mut tip: NodeId,
    stages: &[(usize, usize)],
    kind: BlockKind,
    shortcut: Shortcut,
    classes: usize,
) -> Result<Graph, GraphError> {
    let mut channels = stages.first().map_or(0, |(width, _)| *width);
    for (stage, (width, blocks)) in stages.iter().enumerate() {
        for index in 0..*blocks {
            let stride = if stage > 0 && index == 0 { 2 } else { 1 };
            let name = format!("layer{}.{index}", stage + 1);
            let block = Block { name, from: tip, channels, width: *width, stride, shortcut };
            (tip, channels) = match kind {
                BlockKind::Basic => block.basic(&mut builder),
                BlockKind::Bottleneck => block.bottleneck(&mut builder),
            };
        }
    }
    let pooled = builder.add("avgpool", GlobalAvgPool, &[tip]);
    builder.add("fc", Linear { out: classes, bias: true }, &[pooled]);
    builder.finish()
}

/// A block that is to be built. Either kind gives its last node and the number of channels there.
struct Block {
    name: String,
    from: NodeId,
    /// Of `from`.
    channels: usize,
    width: usize,
    stride: usize,
    shortcut: Shortcut,
}

impl Block {
    fn basic(&self, builder: &mut GraphBuilder) -> (NodeId, usize) {
        let norm1 = self.conv(builder, 1, self.from, self.width, 3, self.stride);
        let relu1 = builder.relu(self.part("relu1"), norm1);
        let norm2 = self.conv(builder, 2, relu1, self.width, 3, 1);
        self.join(builder, norm2, self.width, "relu2")
    }

    fn bottleneck(&self, builder: &mut GraphBuilder) -> (NodeId, usize) {
        let norm1 = self.conv(builder, 1, self.from, self.width, 1, 1);
        let relu1 = builder.relu(self.part("relu1"), norm1);
        let norm2 = self.conv(builder, 2, relu1, self.width, 3, self.stride);
        let relu2 = builder.relu(self.part("relu2"), norm2);
        let out = BOTTLENECK_EXPANSION * self.width;
        let norm3 = self.conv(builder, 3, relu2, out, 1, 1);
        self.join(builder, norm3, out, "relu3")
    }

    /// The `index`-th convolution with its batch normalisation.
    fn conv(
        &self,
        builder: &mut GraphBuilder,
        index: usize,
        from: NodeId,
        out: usize,
        kernel: usize,
        stride: usize,
    ) -> NodeId {
        let conv = builder.conv(self.part(&format!("conv{index}")), from, out, kernel, stride, kernel / 2);
        builder.batch_norm(self.part(&format!("bn{index}")), conv, BATCH_NORM_EPS)
    }

    /// Adds the shortcut, which is the input itself where the shape stays.
    fn join(&self, builder: &mut GraphBuilder, residual: NodeId, out: usize, relu: &str) -> (NodeId, usize) {
        let identity = match self.shortcut {
            _ if self.stride == 1 && self.channels == out => self.from,
            Shortcut::Pad => builder.add(self.part("shortcut"), PadShortcut { out, stride: self.stride }, &[self.from]),
            Shortcut::Projection => {
                let conv = builder.conv(self.part("downsample.0"), self.from, out, 1, self.stride, 0);
                builder.batch_norm(self.part("downsample.1"), conv, BATCH_NORM_EPS)
            }
        };
        let sum = builder.add(self.part("add"), Add, &[residual, identity]);
        (builder.relu(self.part(relu), sum), out)
    }

    fn part(&self, part: &str) -> String {
        format!("{}.{part}", self.name)
    }
}
