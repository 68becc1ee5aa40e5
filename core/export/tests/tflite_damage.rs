//! Damaged files of a real network make errors at most, never a panic, and little is taken to memory for them.

use pocketflow_export::tflite::metadata::ImageMetadata;
use pocketflow_export::tflite::model::TfliteModel;
use pocketflow_export::tflite::read;
use proptest::prelude::*;
use std::sync::LazyLock;

static ORIGINAL: LazyLock<Option<Vec<u8>>> =
    LazyLock::new(|| std::fs::read("/work/shared/data/mobilenet_v1_0.25_128_quant.tflite").ok());

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
        if let Some(bytes) = &*ORIGINAL {
            read_within_bounds(&bytes[..at.index(bytes.len())]);
        }
    }

    #[test]
    fn bits_flipped(bits in prop::collection::vec((any::<prop::sample::Index>(), 0u8..8), 1..20)) {
        if let Some(bytes) = &*ORIGINAL {
            let mut bytes = bytes.clone();
            for (at, bit) in bits {
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
            }
            read_within_bounds(&bytes);
        }
    }

    /// Tables lie before and behind the weights: most of what matters is there.
    #[test]
    fn tables_damaged(at in 0usize..24_000, from_end: bool, to in prop::collection::vec(any::<u8>(), 1..6)) {
        if let Some(bytes) = &*ORIGINAL {
            let mut bytes = bytes.clone();
            let at = if from_end { bytes.len() - 24_000 + at } else { at };
            let end = (at + to.len()).min(bytes.len());
            bytes[at..end].copy_from_slice(&to[..end - at]);
            read_within_bounds(&bytes);
        }
    }
}
