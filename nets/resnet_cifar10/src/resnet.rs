//! The graph: a 3 × 3 stem, three stages of n residual blocks at 16, 32 and 64 channels.

use pocketflow::graph::{Graph, GraphBuilder, GraphError};
use pocketflow::net::residual::{self, BATCH_NORM_EPS, BlockKind, Shortcut};

/// ResNet of `depth` = 6n+2 layers on `[3, 32, 32]`.
///
/// # Errors
/// No class at all; everything else makes a valid graph.
pub fn resnet(depth: usize, shortcut: Shortcut, classes: usize) -> Result<Graph, GraphError> {
    let mut builder = GraphBuilder::new(format!("resnet{depth}_at_cifar10"), [3, 32, 32]);
    let stem = builder.conv("conv1", builder.input(), 16, 3, 1, 1);
    let norm = builder.batch_norm("bn1", stem, BATCH_NORM_EPS);
    let tip = builder.relu("relu", norm);
    let stages = [16, 32, 64].map(|width| (width, (depth - 2) / 6));
    residual::finish(builder, tip, &stages, BlockKind::Basic, shortcut, classes)
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
