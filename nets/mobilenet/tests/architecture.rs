//! The graphs against what the papers, TF-slim and torchvision publish.

use pocketflow::graph::{Conv2d, Graph, Op};
use pocketflow_mobilenet::{DepthMultiplier, Style, mobilenet_v1, mobilenet_v2};
use std::collections::BTreeMap;
use std::io::Read;

fn times(factor: f64) -> DepthMultiplier {
    DepthMultiplier::new(factor).unwrap()
}

fn parameters(graph: &Graph) -> usize {
    let params = graph.params().unwrap();
    params.iter().filter(|param| param.role.is_trained()).map(|param| param.shape.iter().product::<usize>()).sum()
}

#[test]
fn version_1_is_of_the_published_size() {
    // Tables 6 and 7 of the paper and TF-slim's list, in millions, with 1001 classes.
    for (factor, image_size, millions, macs) in
        [(1.0, 224, 4.24, 569.0), (0.75, 192, 2.59, 239.0), (0.5, 160, 1.34, 76.0), (0.25, 128, 0.47, 14.0)]
    {
        let graph = mobilenet_v1(times(factor), Style::Tensorflow, image_size, 1001).unwrap();
        assert!((parameters(&graph) as f64 / 1e6 - millions).abs() < 0.01, "{factor}: {}", parameters(&graph));
        let counted = graph.multiply_adds().unwrap() as f64 / 1e6;
        assert!((counted - macs).abs() < 1.0, "{factor} at {image_size}: {counted}");
        assert_eq!(graph.layers().len(), 28);
        assert_eq!(graph.activations().len(), 27);
    }
    let full = mobilenet_v1(times(1.0), Style::Tensorflow, 224, 1001).unwrap();
    assert_eq!(parameters(&full), 4_233_001);
}

#[test]
fn version_2_is_of_the_published_size() {
    // Counted in torchvision 0.26 for these width_mult, 1000 classes.
    for (factor, count) in [(1.0, 3_504_872), (0.35, 1_677_128), (0.5, 1_968_680), (0.75, 2_636_424), (1.4, 6_108_776)]
    {
        for style in [Style::Tensorflow, Style::Torchvision] {
            let graph = mobilenet_v2(times(factor), style, 224, 1000).unwrap();
            assert_eq!(parameters(&graph), count, "{factor}");
            assert_eq!(graph.layers().len(), 53);
        }
    }
    // Table 4 of the paper: 300 million; torchvision: 300.8.
    let graph = mobilenet_v2(times(1.0), Style::Tensorflow, 224, 1000).unwrap();
    assert_eq!(graph.multiply_adds().unwrap() / 100_000, 3007);
    assert_eq!(graph.nodes.iter().filter(|node| matches!(node.op, Op::Add(_))).count(), 10);
}

#[test]
fn every_size_makes_a_valid_graph() {
    for image_size in (32..=512).step_by(7) {
        for factor in [0.001, 0.01, 0.25, 0.35, 1.0, 1.4, 4.0] {
            for style in [Style::Tensorflow, Style::Torchvision] {
                for build in [mobilenet_v1, mobilenet_v2] {
                    let graph = build(times(factor), style, image_size, 1001).unwrap();
                    let shapes = graph.shapes().unwrap();
                    let last = image_size.div_ceil(32);
                    assert_eq!(shapes[shapes.len() - 3][1..], [last, last], "{}", graph.name);
                    assert_eq!(shapes[shapes.len() - 1], [1001, 1, 1]);
                }
            }
        }
    }
    assert!(mobilenet_v1(times(1.0), Style::Tensorflow, 224, 0).is_err());
    assert!(mobilenet_v2(times(1.0), Style::Torchvision, 0, 10).is_err());
}

#[test]
fn strided_convolutions_pad_as_the_style_says() {
    let padding = |graph: &Graph, name: &str| match graph.nodes[graph.find(name).unwrap()].op {
        Op::Conv2d(Conv2d { padding, .. }) => padding,
        _ => panic!("{name} is no convolution"),
    };
    let graph = mobilenet_v1(times(1.0), Style::Tensorflow, 224, 10).unwrap();
    assert_eq!(padding(&graph, "conv0"), [0, 0, 1, 1]);
    assert_eq!(padding(&graph, "blocks.0.depthwise"), [1, 1, 1, 1]);
    assert_eq!(padding(&graph, "blocks.11.depthwise"), [0, 0, 1, 1]);
    assert_eq!(padding(&graph, "blocks.12.pointwise"), [0, 0, 0, 0]);
    // At an odd size SAME is symmetric.
    let graph = mobilenet_v2(times(1.0), Style::Tensorflow, 225, 10).unwrap();
    assert_eq!(padding(&graph, "features.0.0"), [1, 1, 1, 1]);
    let graph = mobilenet_v2(times(1.0), Style::Torchvision, 224, 10).unwrap();
    assert_eq!(padding(&graph, "features.0.0"), [1, 1, 1, 1]);
}

#[test]
fn version_2_has_the_names_of_torchvision() {
    let graph = mobilenet_v2(times(1.0), Style::Torchvision, 224, 1000).unwrap();
    let params: BTreeMap<String, Vec<usize>> =
        graph.params().unwrap().into_iter().map(|param| (param.name, param.shape)).collect();
    for (name, shape) in [
        ("features.0.0.weight", vec![32, 3, 3, 3]),
        ("features.0.1.running_var", vec![32]),
        ("features.1.conv.0.0.weight", vec![32, 1, 3, 3]),
        ("features.1.conv.1.weight", vec![16, 32, 1, 1]),
        ("features.1.conv.2.bias", vec![16]),
        ("features.2.conv.0.0.weight", vec![96, 16, 1, 1]),
        ("features.2.conv.1.0.weight", vec![96, 1, 3, 3]),
        ("features.2.conv.2.weight", vec![24, 96, 1, 1]),
        ("features.17.conv.3.running_mean", vec![320]),
        ("features.18.0.weight", vec![1280, 320, 1, 1]),
        ("classifier.1.weight", vec![1000, 1280]),
    ] {
        assert_eq!(params.get(name), Some(&shape), "{name}");
    }
}

/// A published network's tensors, where a copy is at hand.
#[test]
fn version_1_takes_the_published_weights() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/mobilenet_v1_0.25_128.safetensors");
    let Ok(mut file) = std::fs::File::open(path) else { return };
    let mut length = [0; 8];
    file.read_exact(&mut length).unwrap();
    let mut header = Vec::new();
    file.take(u64::from_le_bytes(length)).read_to_end(&mut header).unwrap();
    let header: BTreeMap<String, serde_json::Value> = serde_json::from_slice(&header).unwrap();
    let theirs: BTreeMap<String, Vec<usize>> = header
        .into_iter()
        .filter(|(name, _)| name != "__metadata__")
        .map(|(name, entry)| (name, serde_json::from_value(entry["shape"].clone()).unwrap()))
        .collect();
    let graph = mobilenet_v1(times(0.25), Style::Tensorflow, 128, 1001).unwrap();
    let ours: BTreeMap<String, Vec<usize>> =
        graph.params().unwrap().into_iter().map(|param| (param.name, param.shape)).collect();
    assert_eq!(ours, theirs);
}
