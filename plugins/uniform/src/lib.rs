//! Learner `uniform`: uniform quantization of weights and activations with fine-tuning through the
//! straight-through estimator, after PocketFlow's UniformQuantLearner. Learner `rl-agent`: its
//! search for bits per layer alone.

mod bit_search;
mod compare;
mod options;
mod schedule;
mod uniform;

pub use bit_search::BitSearch;
pub use uniform::Uniform;

pocketflow::plugin! {
    learner "uniform" => Uniform,
    learner "rl-agent" => BitSearch,
}
