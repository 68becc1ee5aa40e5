//! The rectified linear unit.

use super::{NoAttributes, Operator};
use serde::{Deserialize, Serialize};

/// max(x, 0).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "NoAttributes")]
pub struct Relu;

impl From<NoAttributes> for Relu {
    fn from(_: NoAttributes) -> Self {
        Self
    }
}

impl Operator for Relu {
    fn kind(&self) -> &'static str {
        "relu"
    }

    fn clip(&self) -> Option<[f32; 2]> {
        Some([0.0, f32::INFINITY])
    }
}
