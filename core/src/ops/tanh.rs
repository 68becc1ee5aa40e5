//! The hyperbolic tangent.

use super::{NoAttributes, Operator};
use serde::{Deserialize, Serialize};

/// tanh(x).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "NoAttributes")]
pub struct Tanh;

impl From<NoAttributes> for Tanh {
    fn from(_: NoAttributes) -> Self {
        Self
    }
}

impl Operator for Tanh {
    fn kind(&self) -> &'static str {
        "tanh"
    }

    fn is_activation(&self) -> bool {
        true
    }

    fn range(&self) -> Option<[f32; 2]> {
        Some([-1.0, 127.0 / 128.0])
    }
}
