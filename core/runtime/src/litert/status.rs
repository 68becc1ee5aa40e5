//! What LiteRT's statuses mean (litert_common.h).

/// In words, by number.
pub(crate) fn meaning(status: i32) -> &'static str {
    match status {
        1 => "invalid argument",
        2 => "out of memory",
        3 => "failed while running",
        4 => "an input is missing",
        5 => "unsupported",
        6 => "not found",
        7 => "timed out",
        8 => "wrong version",
        10 => "exists already",
        100 => "cancelled",
        500 => "file input or output failed",
        501 => "not a valid .tflite file",
        502 => "a library could not be loaded",
        503 => "cannot be written",
        504 => "the model could not be compiled",
        1000 => "index out of range",
        1001 => "wrong type in the model",
        1002 => "the model's graph is inconsistent",
        4000 => "runtime too old or too new for the model",
        4001 => "compiler too old or too new for the model",
        5000 => "an operator's shape cannot be inferred",
        5001 => "shapes do not fit",
        _ => "unknown error",
    }
}
