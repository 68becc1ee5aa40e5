//! .safetensors, both forms of .pth, .tflite: the contents choose the reader. What is read is
//! matched to a graph too.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pocketflow::graph::Graph;
use pocketflow_mobilenet::{DepthMultiplier, Style, mobilenet_v1};
use pocketflow_weights::map::{NameMap, match_file};
use std::io::Cursor;
use std::sync::LazyLock;

static GRAPH: LazyLock<Graph> = LazyLock::new(|| {
    let multiplier = DepthMultiplier::new(0.25).expect("a published multiplier");
    mobilenet_v1(multiplier, Style::Tensorflow, 32, 10).expect("a valid graph")
});

fuzz_target!(|bytes: &[u8]| {
    if let Ok(file) = pocketflow_weights::read_file(Cursor::new(bytes), None) {
        let held: usize = file.tensors.values().map(|tensor| 4 * tensor.values.len()).sum();
        assert!(held <= 64 * bytes.len() + 4096, "{held} bytes of numbers from a file of {}", bytes.len());
        let _ = file.weights();
        let _ = match_file(&GRAPH, file, &NameMap::default());
    }
});
