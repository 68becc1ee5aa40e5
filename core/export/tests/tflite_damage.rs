//! Damaged files of a real network make errors at most, never a panic, and little is taken to
//! memory for them.

use pocketflow::graph::{GlobalAvgPool, GraphBuilder, Linear};
use pocketflow::model::{Model, ModelMeta};
use pocketflow::quant::QuantPlan;
use pocketflow_export::tflite::metadata::ImageMetadata;
use pocketflow_export::tflite::model::TfliteModel;
use pocketflow_export::tflite::{build, read, write};
use pocketflow_tests::samples::sample;
use proptest::prelude::*;
use std::sync::LazyLock;

/// TensorFlow's own file where it is at hand, else a small one of ours.
static ORIGINAL: LazyLock<Vec<u8>> = LazyLock::new(|| match sample("mobilenet_v1_0.25_128_quant.tflite") {
    Some(path) => std::fs::read(path).unwrap(),
    None => made(),
});

fn made() -> Vec<u8> {
    let mut builder = GraphBuilder::new("small", [3, 8, 8]);
    let conv = builder.conv("conv1", 0, 8, 3, 2, 1);
    let norm = builder.batch_norm("bn1", conv, 1e-5);
    let relu = builder.relu("relu1", norm);
    let pool = builder.add("pool", GlobalAvgPool, &[relu]);
    builder.add("fc", Linear { out: 1000, bias: true }, &[pool]);
    let graph = builder.finish().unwrap();
    let values = graph.params().unwrap().into_iter().map(|param| (param.name, vec![0.5; param.shape.iter().product()]));
    let meta = ModelMeta { mean: vec![0.0; 3], std: vec![1.0; 3], ..ModelMeta::default() };
    let model = Model::new(graph.clone(), QuantPlan::default(), meta, values.collect()).unwrap();
    write(&build::from_model(&model).unwrap()).unwrap()
}

/// What was read is no more than a multiple of the file.
fn read_within_bounds(bytes: &[u8]) {
    let Ok(model) = read(bytes) else { return };
    let tensors = model.tensors.iter().filter_map(|tensor| tensor.data.as_ref().map(Vec::len));
    let sizes = |files: &[(String, Vec<u8>)]| files.iter().map(|(_, contents)| contents.len()).sum::<usize>();
    let TfliteModel { metadata, files, .. } = &model;
    let total = tensors.sum::<usize>() + sizes(metadata) + sizes(files);
    assert!(total <= 10 * bytes.len() + (1 << 16));
    let _ = ImageMetadata::of(&model);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn cut(at in any::<prop::sample::Index>()) {
        read_within_bounds(&ORIGINAL[..at.index(ORIGINAL.len())]);
    }

    #[test]
    fn bits_flipped(bits in prop::collection::vec((any::<prop::sample::Index>(), 0u8..8), 1..20)) {
        let mut bytes = ORIGINAL.clone();
        for (at, bit) in bits {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        read_within_bounds(&bytes);
    }

    /// Tables lie before and behind the weights: most of what matters is there.
    #[test]
    fn tables_damaged(at in 0usize..24_000, from_end: bool, to in prop::collection::vec(any::<u8>(), 1..6)) {
        let mut bytes = ORIGINAL.clone();
        let at = if from_end { bytes.len() - 24_000 + at } else { at };
        let end = (at + to.len()).min(bytes.len());
        bytes[at..end].copy_from_slice(&to[..end - at]);
        read_within_bounds(&bytes);
    }
}
