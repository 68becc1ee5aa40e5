//! Versions of operators: the lowest that has a kernel for the types, so that old runtimes read the file (TensorFlow
//! Lite's op_version rules for what [`Kind`] can say; compared with the files that TensorFlow 2.21's converter makes).

use crate::tflite::model::{DType, Kind};

pub(super) fn of(kind: &Kind, input: DType) -> i32 {
    match (kind, input) {
        (Kind::Conv2d { .. } | Kind::DepthwiseConv2d { .. }, DType::Int8) => 3,
        (Kind::FullyConnected { .. }, DType::Int8) => 4,
        (Kind::Reshape { .. } | Kind::Quantize, _) => 1,
        (_, DType::Int8) | (Kind::Relu | Kind::Relu6, DType::Uint8) => 2,
        _ => 1,
    }
}
