//! The graph: a 3 × 3 stem, three stages of n blocks at 16, 32 and 64 channels, global average
//! pooling, one fully connected layer. Post-activation blocks.

use pocketflow::graph::{Add, GlobalAvgPool, Graph, GraphBuilder, GraphError, Linear, NodeId, PadShortcut};

/// What joins two stages (He et al. 2015, §3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortcut {
    /// Option B: a strided 1 × 1 convolution with batch normalisation.
    Projection,
    /// Option A: every second pixel, zero channels on both sides; no parameters.
    Pad,
}

const BATCH_NORM_EPS: f64 = 1e-5;

/// ResNet of `depth` = 6n+2 layers on `[3, 32, 32]`.
///
/// # Errors
/// No class at all; everything else makes a valid graph.
pub fn resnet(depth: usize, shortcut: Shortcut, classes: usize) -> Result<Graph, GraphError> {
    let mut builder = GraphBuilder::new(format!("resnet{depth}_at_cifar10"), [3, 32, 32]);
    let stem = builder.conv("conv1", builder.input(), 16, 3, 1, 1);
    let norm = builder.batch_norm("bn1", stem, BATCH_NORM_EPS);
    let mut tip = builder.relu("relu", norm);
    let mut channels = 16;
    for (stage, width) in [16, 32, 64].into_iter().enumerate() {
        for index in 0..(depth - 2) / 6 {
            let stride = if stage > 0 && index == 0 { 2 } else { 1 };
            let name = format!("layer{}.{index}", stage + 1);
            tip = block(&mut builder, &name, tip, channels, width, stride, shortcut);
            channels = width;
        }
    }
    let pooled = builder.add("avgpool", GlobalAvgPool, &[tip]);
    builder.add("fc", Linear { out: classes, bias: true }, &[pooled]);
    builder.finish()
}

fn block(
    builder: &mut GraphBuilder,
    name: &str,
    from: NodeId,
    channels: usize,
    width: usize,
    stride: usize,
    shortcut: Shortcut,
) -> NodeId {
    let conv1 = builder.conv(format!("{name}.conv1"), from, width, 3, stride, 1);
    let bn1 = builder.batch_norm(format!("{name}.bn1"), conv1, BATCH_NORM_EPS);
    let relu1 = builder.relu(format!("{name}.relu1"), bn1);
    let conv2 = builder.conv(format!("{name}.conv2"), relu1, width, 3, 1, 1);
    let bn2 = builder.batch_norm(format!("{name}.bn2"), conv2, BATCH_NORM_EPS);
    let identity = match shortcut {
        _ if stride == 1 && channels == width => from,
        Shortcut::Pad => builder.add(format!("{name}.shortcut"), PadShortcut { out: width, stride }, &[from]),
        Shortcut::Projection => {
            let conv = builder.conv(format!("{name}.downsample.0"), from, width, 1, stride, 0);
            builder.batch_norm(format!("{name}.downsample.1"), conv, BATCH_NORM_EPS)
        }
    };
    let sum = builder.add(format!("{name}.add"), Add, &[bn2, identity]);
    builder.relu(format!("{name}.relu2"), sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(graph: &Graph) -> usize {
        let params = graph.params().unwrap();
        params.iter().filter(|param| param.role.is_trained()).map(|param| param.shape.iter().product::<usize>()).sum()
    }

    #[test]
    fn sizes_of_the_paper() {
        // Table 6 of the paper: 0.27, 0.46, 0.66, 0.85, 1.7 million, with option A.
        let counts = [(20, 269_722), (32, 464_154), (44, 658_586), (56, 853_018), (110, 1_727_962)];
        for (depth, count) in counts {
            let graph = resnet(depth, Shortcut::Pad, 10).unwrap();
            assert_eq!(parameters(&graph), count);
            assert_eq!(graph.layers().len(), depth);
        }
    }

    #[test]
    fn projections_add_two_layers() {
        let graph = resnet(20, Shortcut::Projection, 10).unwrap();
        assert_eq!(graph.layers().len(), 22);
        assert_eq!(*graph.shapes().unwrap().last().unwrap(), [10, 1, 1]);
        assert!(graph.find("layer2.0.downsample.0").is_some());
        assert_eq!(parameters(&graph), 269_722 + 16 * 32 + 64 + 32 * 64 + 128);
    }
}
