//! Versions of operators: the lowest that has a kernel for the types, so that old runtimes read the
//! file (TensorFlow Lite's op_version rules for what [`Kind`] can say; compared with the files that
//! TensorFlow 2.21's converter makes).

use crate::ops::builtin;
use crate::tflite::model::{DType, Kind, Tensor};

/// `input`: the operator's first.
pub(super) fn of(kind: &Kind, input: Option<&Tensor>) -> i32 {
    let per_channel = input.and_then(|input| input.quantization.as_ref()).is_some_and(|grid| grid.scales.len() > 1);
    match (kind, input.map_or(DType::Float32, |input| input.dtype)) {
        (Kind::Dequantize, _) if per_channel => 5,
        (Kind::Conv2d { .. } | Kind::DepthwiseConv2d { .. }, DType::Int8) => 3,
        (Kind::FullyConnected { .. }, DType::Int8) => 4,
        (Kind::Reshape { .. } | Kind::Quantize | Kind::Prelu, _) => 1,
        (Kind::Transpose, _) if input.is_some_and(|input| input.shape.len() > 4) => 4,
        (Kind::LeakyRelu { .. }, DType::Uint8) => 2,
        (Kind::Other { code }, DType::Int8 | DType::Uint8) => builtin(*code).map_or(1, |it| it.version_for_codes),
        (_, DType::Int8) | (Kind::Relu | Kind::Relu6, DType::Uint8) => 2,
        _ => 1,
    }
}
