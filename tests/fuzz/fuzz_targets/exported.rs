//! .tflite files as the reference interpreter takes them: what the reader lets pass must be run or
//! refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pocketflow_export::{interpret, tflite};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(model) = tflite::read(bytes) {
        let _ = interpret::Interpreter::new(&model);
    }
});
