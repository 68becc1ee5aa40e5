//! TFRecord files, the examples in them, and the JPEG and PNG files in those. The first byte says
//! whether the rest is a file, or a record's data that get their checksums here: nothing random
//! passes those.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::path::PathBuf;
use std::sync::LazyLock;

static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for temporary files");
    folder
});

fn masked(data: &[u8]) -> [u8; 4] {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

fuzz_target!(|bytes: &[u8]| {
    let file = match bytes {
        [0, file @ ..] => file.to_vec(),
        [_, data @ ..] => {
            let length = (data.len() as u64).to_le_bytes();
            [&length[..], &masked(&length), data, &masked(data)].concat()
        }
        [] => Vec::new(),
    };
    std::fs::write(FOLDER.join("validation-00000-of-00001"), file).expect("a folder for temporary files");
    let _ = pocketflow_ilsvrc12::check(&FOLDER, None, 1, &|_, _| {});
});
