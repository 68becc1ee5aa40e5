//! Exports: any [`pocketflow::model::Model`] as `.tflite` (float, int8, uint8), `.pb` and `.onnx`,
//! and the arithmetic of the TensorFlow Lite specification to check them against. Knows no libtorch
//! and no learner: every learner's model exports.
//!
//! | module | what it holds |
//! |---|---|
//! | [`deployed`] | the network as files hold it: integers, floats or both; codes, scales, zero points, biases; what was exact and what was not |
//! | `ops` | operators, one file each: into integers, and into each format |
//! | [`calibrate`] | ranges of values from images, for what training left in float |
//! | [`tflite`] | the .tflite format: reader, writer, meta data; networks as operators |
//! | [`interpret`] | the reference interpreter: float and integer, bit by bit as specified |
//! | [`onnx`] | .onnx with quantize–dequantize pairs |
//! | [`pb`] | TensorFlow's frozen GraphDef with fake quantization |

pub mod calibrate;
pub mod deployed;
pub mod interpret;
pub mod onnx;
mod ops;
pub mod pb;
pub mod tflite;
