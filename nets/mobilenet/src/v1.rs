//! Version 1: a 3 × 3 stem and thirteen pairs of a depthwise and a pointwise convolution, global
//! average pooling, one fully connected layer (table 1 of the paper). Parameters `conv0`,
//! `conv0_bn`, `blocks.N.depthwise`, `blocks.N.depthwise_bn`, `blocks.N.pointwise`,
//! `blocks.N.pointwise_bn`, `fc`.

use crate::style::Style;
use crate::tip::{Conv, Tip};
use crate::width::DepthMultiplier;
use pocketflow::graph::{GlobalAvgPool, Graph, GraphError, Linear};

const STEM: usize = 32;
/// Output channels and stride of each block. (Table 1 gives the last one stride 2, but keeps its
/// size: a slip of the paper.)
const BLOCKS: [(usize, usize); 13] = [
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (1024, 2),
    (1024, 1),
];

/// MobileNet-v1 for images of `[3, image_size, image_size]`.
///
/// # Errors
/// No class at all, or an image size of 0; everything else makes a valid graph.
pub fn mobilenet_v1(
    multiplier: DepthMultiplier,
    style: Style,
    image_size: usize,
    classes: usize,
) -> Result<Graph, GraphError> {
    let mut tip = Tip::new(format!("mobilenet_v1_{multiplier}_{image_size}_at_ilsvrc12"), style, image_size);
    tip.conv_norm("conv0", "conv0_bn", &Conv { out: multiplier.cut(STEM), kernel: 3, stride: 2, groups: 1 });
    tip.relu6("conv0_relu");
    for (index, (out, stride)) in BLOCKS.into_iter().enumerate() {
        let depthwise = Conv::depthwise(tip.channels, stride);
        let pointwise = Conv::pointwise(multiplier.cut(out));
        for (part, conv) in [("depthwise", depthwise), ("pointwise", pointwise)] {
            let name = format!("blocks.{index}.{part}");
            tip.conv_norm(&name, &format!("{name}_bn"), &conv);
            tip.relu6(&format!("{name}_relu"));
        }
    }
    let pooled = tip.builder.add("avgpool", GlobalAvgPool, &[tip.node]);
    tip.builder.add("fc", Linear { out: classes, bias: true }, &[pooled]);
    tip.builder.finish()
}
