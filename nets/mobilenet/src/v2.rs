//! Version 2: a stem, seventeen inverted residual blocks, a 1 × 1 convolution, global average
//! pooling, one fully connected layer (table 2 of the paper). Nodes are named as torchvision's
//! modules: `features.0.0` the stem's convolution, `features.N.conv.…` the blocks, `features.18.0`
//! the last convolution, `classifier.1` the fully connected layer.

use crate::style::Style;
use crate::tip::{Conv, Tip};
use crate::width::DepthMultiplier;
use pocketflow::graph::{Add, GlobalAvgPool, Graph, GraphError, Linear};

const STEM: usize = 32;
const LAST: usize = 1280;

/// A row of table 2: so many equal blocks, the stride in the first.
struct Row {
    expansion: usize,
    out: usize,
    repeats: usize,
    stride: usize,
}

const ROWS: [Row; 7] = [
    Row { expansion: 1, out: 16, repeats: 1, stride: 1 },
    Row { expansion: 6, out: 24, repeats: 2, stride: 2 },
    Row { expansion: 6, out: 32, repeats: 3, stride: 2 },
    Row { expansion: 6, out: 64, repeats: 4, stride: 2 },
    Row { expansion: 6, out: 96, repeats: 3, stride: 1 },
    Row { expansion: 6, out: 160, repeats: 3, stride: 2 },
    Row { expansion: 6, out: 320, repeats: 1, stride: 1 },
];

/// MobileNet-v2 for images of `[3, image_size, image_size]`.
///
/// # Errors
/// No class at all, or an image size of 0; everything else makes a valid graph.
pub fn mobilenet_v2(
    multiplier: DepthMultiplier,
    style: Style,
    image_size: usize,
    classes: usize,
) -> Result<Graph, GraphError> {
    let mut tip = Tip::new(format!("mobilenet_v2_{multiplier}_{image_size}_at_ilsvrc12"), style, image_size);
    let stem = Conv { out: multiplier.rounded(STEM), kernel: 3, stride: 2, groups: 1 };
    conv_norm_relu(&mut tip, "features.0", &stem);
    let mut index = 1;
    for Row { expansion, out, repeats, stride } in ROWS {
        let out = multiplier.rounded(out);
        for repeat in 0..repeats {
            let stride = if repeat == 0 { stride } else { 1 };
            block(&mut tip, &format!("features.{index}"), expansion, out, stride);
            index += 1;
        }
    }
    conv_norm_relu(&mut tip, &format!("features.{index}"), &Conv::pointwise(multiplier.rounded_up_only(LAST)));
    let pooled = tip.builder.add("avgpool", GlobalAvgPool, &[tip.node]);
    // torchvision's `classifier.0` is dropout, which is nothing in evaluation and not part of a
    // graph.
    tip.builder.add("classifier.1", Linear { out: classes, bias: true }, &[pooled]);
    tip.builder.finish()
}

/// Expands the channels, convolves each, and projects them down without an activation; the shortcut
/// joins the narrow ends.
fn block(tip: &mut Tip, name: &str, expansion: usize, out: usize, stride: usize) {
    let (from, channels) = (tip.node, tip.channels);
    let hidden = channels * expansion;
    let mut part = 0;
    if expansion > 1 {
        conv_norm_relu(tip, &format!("{name}.conv.{part}"), &Conv::pointwise(hidden));
        part += 1;
    }
    conv_norm_relu(tip, &format!("{name}.conv.{part}"), &Conv::depthwise(hidden, stride));
    let [conv, norm] = [part + 1, part + 2].map(|part| format!("{name}.conv.{part}"));
    tip.conv_norm(&conv, &norm, &Conv::pointwise(out));
    if stride == 1 && channels == out {
        tip.node = tip.builder.add(format!("{name}.add"), Add, &[from, tip.node]);
    }
}

/// The three as one module of torchvision: `name.0`, `name.1`, `name.2`.
fn conv_norm_relu(tip: &mut Tip, name: &str, conv: &Conv) {
    tip.conv_norm(&format!("{name}.0"), &format!("{name}.1"), conv);
    tip.relu6(&format!("{name}.2"));
}
