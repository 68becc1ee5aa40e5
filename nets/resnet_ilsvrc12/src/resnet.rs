//! The graph: a 7 × 7 stem and a max pooling, four stages of residual blocks at 64 to 512 channels.

use pocketflow::graph::{Graph, GraphBuilder, GraphError, MaxPool};
use pocketflow::net::residual::{self, BATCH_NORM_EPS, BlockKind, Shortcut};

/// Which of the paper's five networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// 18 layers, in blocks of two.
    R18,
    /// 34 layers, in blocks of two.
    R34,
    /// 50 layers, in blocks of three.
    R50,
    /// 101 layers, in blocks of three.
    R101,
    /// 152 layers, in blocks of three.
    R152,
}

impl Size {
    /// From the smallest to the largest.
    pub const ALL: [Self; 5] = [Self::R18, Self::R34, Self::R50, Self::R101, Self::R152];

    /// The one of so many layers.
    pub fn of(layers: usize) -> Option<Self> {
        Self::ALL.into_iter().find(|size| size.layers() == layers)
    }

    /// Layers as the paper counts them: without those of the shortcuts.
    pub fn layers(self) -> usize {
        match self {
            Self::R18 => 18,
            Self::R34 => 34,
            Self::R50 => 50,
            Self::R101 => 101,
            Self::R152 => 152,
        }
    }

    /// Layers with those of the shortcuts, of which every stage has one, but the first only to
    /// widen its channels.
    pub(crate) fn weights(self) -> usize {
        self.layers() + if self.has_bottlenecks() { 4 } else { 3 }
    }

    /// Blocks of each stage (table 1 of the paper).
    fn blocks(self) -> [usize; 4] {
        match self {
            Self::R18 => [2, 2, 2, 2],
            Self::R34 | Self::R50 => [3, 4, 6, 3],
            Self::R101 => [3, 4, 23, 3],
            Self::R152 => [3, 8, 36, 3],
        }
    }

    /// Blocks of three layers that narrow the channels to a quarter in between; else blocks of two.
    fn has_bottlenecks(self) -> bool {
        !matches!(self, Self::R18 | Self::R34)
    }
}

/// Channels of the four stages.
const WIDTHS: [usize; 4] = [64, 128, 256, 512];

/// The ResNet for images of `[3, image_size, image_size]`.
///
/// # Errors
/// No class at all, or an image size of 0; everything else makes a valid graph.
pub fn resnet(size: Size, image_size: usize, classes: usize) -> Result<Graph, GraphError> {
    let name = format!("resnet{}_at_ilsvrc12", size.layers());
    let mut builder = GraphBuilder::new(name, [3, image_size, image_size]);
    let stem = builder.conv("conv1", builder.input(), WIDTHS[0], 7, 2, 3);
    let norm = builder.batch_norm("bn1", stem, BATCH_NORM_EPS);
    let relu = builder.relu("relu", norm);
    let tip = builder.add("maxpool", MaxPool { kernel: 3, stride: 2, padding: 1 }, &[relu]);
    let stages: Vec<(usize, usize)> = WIDTHS.into_iter().zip(size.blocks()).collect();
    let kind = if size.has_bottlenecks() { BlockKind::Bottleneck } else { BlockKind::Basic };
    residual::finish(builder, tip, &stages, kind, Shortcut::Projection, classes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pocketflow::graph::{Conv2d, Op};

    fn parameters(graph: &Graph) -> usize {
        let params = graph.params().unwrap();
        params.iter().filter(|param| param.role.is_trained()).map(|param| param.shape.iter().product::<usize>()).sum()
    }

    #[test]
    fn parameters_as_torchvision_counts_them() {
        let counts = [11_689_512, 21_797_672, 25_557_032, 44_549_160, 60_192_808];
        for (size, count) in Size::ALL.into_iter().zip(counts) {
            let graph = resnet(size, 224, 1000).unwrap();
            assert_eq!(parameters(&graph), count, "{size:?}");
            // Four projections, or three where the first stage keeps its channels.
            let projections = if size.has_bottlenecks() { 4 } else { 3 };
            assert_eq!(graph.layers().len(), size.layers() + projections, "{size:?}");
        }
    }

    #[test]
    fn multiplications_as_the_paper_counts_them() {
        // Table 1, in units of 10⁹, rounded there; the projections are not counted in the paper.
        for (size, most, least) in [(Size::R18, 1.85, 1.75), (Size::R34, 3.7, 3.6), (Size::R50, 4.1, 3.8)] {
            let graph = resnet(size, 224, 1000).unwrap();
            let shapes = graph.shapes().unwrap();
            let multiplications: usize = graph
                .params()
                .unwrap()
                .iter()
                .filter(|param| param.name.ends_with(".weight") && graph.nodes[param.node].op.is_layer())
                .map(|param| param.shape.iter().product::<usize>() * shapes[param.node][1] * shapes[param.node][2])
                .sum();
            let billions = multiplications as f64 / 1e9;
            assert!((least..most).contains(&billions), "{size:?}: {billions}");
        }
    }

    #[test]
    fn shapes_at_several_image_sizes() {
        for (image_size, last) in [(224, 7), (160, 5), (225, 8), (32, 1), (33, 2)] {
            for size in Size::ALL {
                let graph = resnet(size, image_size, 1001).unwrap();
                let shapes = graph.shapes().unwrap();
                let channels = if size.has_bottlenecks() { 2048 } else { 512 };
                assert_eq!(shapes[shapes.len() - 3], [channels, last, last], "{size:?} at {image_size}");
                assert_eq!(shapes[shapes.len() - 1], [1001, 1, 1]);
            }
        }
        assert!(resnet(Size::R18, 224, 0).is_err());
        assert!(resnet(Size::R18, 0, 10).is_err());
    }

    #[test]
    fn names_are_those_of_torchvision() {
        let graph = resnet(Size::R50, 224, 1000).unwrap();
        let shape = |name: &str| {
            let params = graph.params().unwrap();
            params.into_iter().find(|param| param.name == name).unwrap_or_else(|| panic!("no {name}")).shape
        };
        assert_eq!(shape("conv1.weight"), [64, 3, 7, 7]);
        assert_eq!(shape("bn1.running_var"), [64]);
        assert_eq!(shape("layer1.0.downsample.0.weight"), [256, 64, 1, 1]);
        assert_eq!(shape("layer2.0.conv2.weight"), [128, 128, 3, 3]);
        assert_eq!(shape("layer4.2.bn3.bias"), [2048]);
        assert_eq!(shape("fc.weight"), [1000, 2048]);
        // The stride is in the 3 × 3.
        let stride = |name: &str| match graph.nodes[graph.find(name).unwrap()].op {
            Op::Conv2d(Conv2d { stride, .. }) => stride,
            _ => [0, 0],
        };
        assert_eq!(stride("layer2.0.conv1"), [1, 1]);
        assert_eq!(stride("layer2.0.conv2"), [2, 2]);
    }
}
