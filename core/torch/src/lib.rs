//! The engine: runs a graph on libtorch, with quantizers, training and evaluation. The only part of
//! PocketFlow that knows libtorch, and what learners are built from.
//!
//! | module | what it holds |
//! |---|---|
//! | [`engine`], [`workers`] | the device, the threads, the precision and the group that a job computes with |
//! | [`workflow`] | from a full-precision parent to a saved, evaluated, reported network |
//! | [`train`] | the training loop: schedule, progress, checkpoints, stopping; one training step |
//! | [`optimizer`], [`loss`] | SGD and Adam with the straight-through estimator, resumable; cross-entropy, distillation |
//! | [`network`] | a graph with its parameters and quantizers, forward in training and evaluation |
//! | [`quantizer`] | how a weight or a value is quantized: the door for quantizers of one's own |
//! | `ops` | the forward passes of the operators, one file each |
//! | [`kernels`] | the fused C++ kernels, safely wrapped |
//! | [`loader`], [`images`] | batches prepared ahead of the step; images that are looked at several times |
//! | [`calibrate`] | activation ranges and batch-norm statistics from images |
//! | [`evaluate`] | top-1, top-5 and loss on a split |
//! | [`checkpoint`] | everything a run needs to go on, in one file |
//! | [`parent`], [`saved`] | the full-precision network that a learner starts from, and its teacher; models that a job reads |
//! | [`outcome`] | a model file's part of the report |
//! | [`values`] | plain numbers into tensors and out of them |

pub mod calibrate;
pub mod checkpoint;
pub mod engine;
pub mod evaluate;
pub mod images;
pub mod kernels;
pub mod loader;
pub mod loss;
pub mod network;
mod ops;
pub mod optimizer;
pub mod outcome;
pub mod parent;
pub mod quantizer;
pub mod saved;
pub mod train;
pub mod values;
pub mod workers;
pub mod workflow;

/// The libtorch that this library was built for; the host refuses a plugin built for another.
pub const LIBTORCH_VERSION: &str = env!("POCKETFLOW_LIBTORCH_VERSION");

/// Turns libtorch's error into ours, without its C++ stack trace.
pub(crate) fn torch_error(what: &str, error: &tch::TchError) -> pocketflow::Error {
    let text = error.to_string();
    let first = text.split("\nException raised from").next().unwrap_or(&text).trim().to_owned();
    pocketflow::Error::failed(first).context(format!("libtorch: {what}"))
}
