//! Learner `uniform`: uniform quantization of weights and activations with fine-tuning through the
//! straight-through estimator, after PocketFlow's UniformQuantLearner.

mod compare;
mod learner;
mod options;

pub use learner::Uniform;

pub const NAME: &str = "uniform";

pocketflow::plugin! { learner "uniform" => Uniform }
