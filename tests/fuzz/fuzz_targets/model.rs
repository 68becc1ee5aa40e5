//! Our own model files, and checkpoints, which have the same form. Length and checksum are put
//! right, since nothing random passes them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pocketflow::model::Model;
use std::path::PathBuf;
use std::sync::LazyLock;

static PATH: LazyLock<PathBuf> = LazyLock::new(|| std::env::temp_dir().join(format!("fuzz-{}", std::process::id())));

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = bytes.to_vec();
    if let (24.., Some((body, _))) = (bytes.len(), bytes.clone().split_last_chunk::<4>()) {
        let total = bytes.len() as u64;
        bytes[12..20].copy_from_slice(&total.to_le_bytes());
        let checksum = crc32fast::hash(&bytes[..body.len()]);
        bytes[body.len()..].copy_from_slice(&checksum.to_le_bytes());
    }
    std::fs::write(&*PATH, bytes).expect("a folder for temporary files");
    if let Ok(model) = Model::load(&PATH) {
        for name in model.tensors.keys() {
            let _ = model.values(name);
        }
        let _ = (model.full_precision_bytes(), model.weight_bits_mean(), model.bucket_bytes());
    }
});
