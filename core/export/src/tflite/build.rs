//! Networks as operators of TensorFlow Lite.

mod builder;
mod finish;
mod layout;
mod network;
mod pixels;
mod window;

pub use finish::finish;
pub use network::from_net;
pub use pixels::{deployed_normalisation, normalisation};

use super::model::TfliteModel;
use crate::deployed::lower_to_floats;
use pocketflow::error::Result;
use pocketflow::model::Model;

/// The model with float32 values, its weights as the learner left them. Its input is the normalised
/// image `[1, h, w, c]`, named after the input node; its output the logits, named after the last.
/// Batch normalisations are folded; an activation function that alone reads a layer or a sum is
/// fused into it.
///
/// # Errors
/// A node that the format cannot express (which, and what to do); a model whose parts do not fit
/// each other.
pub fn from_model(model: &Model) -> Result<TfliteModel> {
    from_net(&lower_to_floats(model)?)
}

#[cfg(test)]
mod tests;
