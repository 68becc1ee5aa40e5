//! The rectified linear unit.

use super::{NoAttributes, Operator, Shape};
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

    fn shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        Ok(inputs[0])
    }

    fn is_activation(&self) -> bool {
        true
    }
}
