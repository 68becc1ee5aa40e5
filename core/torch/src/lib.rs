//! The engine: runs a graph on libtorch, with quantizers, training and evaluation. The only part of
//! PocketFlow that knows libtorch, and what learners are built from.
//!
//! | module | what it holds |
//! |---|---|
//! | [`kernels`] | the fused C++ kernels, safely wrapped |
//! | [`network`] | a graph with its tensors, forward in training and evaluation |
//! | `steps` | the order of execution, with fusions |
//! | [`optimizer`] | SGD and Adam with the straight-through estimator, resumable |
//! | [`loader`] | batches prepared ahead of the step |
//! | [`loss`] | cross-entropy, distillation |
//! | [`train`] | the training loop: schedule, progress, checkpoints, stopping |
//! | [`evaluate`] | top-1, top-5 and loss on a split |
//! | [`calibrate`] | activation ranges and batch-norm statistics from images |
//! | [`checkpoint`] | everything a run needs to go on, in one file |
//! | [`parent`] | the full-precision network that a learner starts from, and its teacher |
//! | [`device`] | the device and the threads a job runs on |
//! | [`saved`] | models that a job reads: that they are of its net, for its images, in full precision where that is needed |
//! | [`outcome`] | a model file's part of the report |

pub mod calibrate;
pub mod checkpoint;
pub mod device;
pub mod evaluate;
pub mod kernels;
pub mod loader;
pub mod loss;
pub mod network;
pub mod optimizer;
pub mod outcome;
pub mod parent;
pub mod saved;
mod steps;
pub mod train;

/// The libtorch that this library was built for; the host refuses a plugin built for another.
pub const LIBTORCH_VERSION: &str = env!("POCKETFLOW_LIBTORCH_VERSION");

/// Turns libtorch's error into ours, without its C++ stack trace.
pub(crate) fn torch_error(what: &str, error: &tch::TchError) -> pocketflow::Error {
    let text = error.to_string();
    let first = text.split("\nException raised from").next().unwrap_or(&text).trim().to_owned();
    pocketflow::Error::failed(first).context(format!("libtorch: {what}"))
}
