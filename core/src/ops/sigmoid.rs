//! The logistic function.

use super::{NoAttributes, Operator};
use serde::{Deserialize, Serialize};

/// 1 / (1 + exp(−x)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "NoAttributes")]
pub struct Sigmoid;

impl From<NoAttributes> for Sigmoid {
    fn from(_: NoAttributes) -> Self {
        Self
    }
}

impl Operator for Sigmoid {
    fn kind(&self) -> &'static str {
        "sigmoid"
    }

    fn is_activation(&self) -> bool {
        true
    }

    fn range(&self) -> Option<[f32; 2]> {
        Some([0.0, 255.0 / 256.0])
    }
}
