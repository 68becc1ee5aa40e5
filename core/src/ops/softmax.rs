//! Probabilities of logits, at the end of a network.

use super::{NoAttributes, Operator};
use serde::{Deserialize, Serialize};

/// exp(x) / Σ exp(x) over all values. It ends a network, in files: learners take the logits that it
/// reads, since their losses take logits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "NoAttributes")]
pub struct Softmax;

impl From<NoAttributes> for Softmax {
    fn from(_: NoAttributes) -> Self {
        Self
    }
}

impl Operator for Softmax {
    fn kind(&self) -> &'static str {
        "softmax"
    }

    fn range(&self) -> Option<[f32; 2]> {
        Some([0.0, 255.0 / 256.0])
    }

    fn ends(&self) -> bool {
        true
    }
}
