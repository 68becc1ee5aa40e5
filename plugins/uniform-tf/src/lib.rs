//! Learner `uniform-tf`: quantization-aware training for integer runtimes, as TensorFlow's: batch
//! normalisations folded, weights and activations on affine grids, the network integer from end to
//! end. After PocketFlow's UniformQuantTFLearner.

mod learner;
mod options;

pub use learner::UniformTf;

/// The learner's name.
pub const NAME: &str = "uniform-tf";

pocketflow::plugin! { learner "uniform-tf" => UniformTf }
