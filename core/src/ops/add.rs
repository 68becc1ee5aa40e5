//! Sums.

use super::{Arity, NoAttributes, Operator, Placement, Shape};
use serde::{Deserialize, Serialize};

/// Elementwise sum of two inputs of one shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "NoAttributes")]
pub struct Add;

impl From<NoAttributes> for Add {
    fn from(_: NoAttributes) -> Self {
        Self
    }
}

impl Operator for Add {
    fn kind(&self) -> &'static str {
        "add"
    }

    fn arity(&self) -> Arity {
        Arity::Exactly(2)
    }

    fn shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        if inputs[0] != inputs[1] {
            return Err(format!("cannot add {:?} and {:?}", inputs[0], inputs[1]));
        }
        Ok(inputs[0])
    }

    fn placement(&self) -> Placement {
        Placement::BeforeClip
    }
}
