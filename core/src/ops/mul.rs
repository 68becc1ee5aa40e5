//! Products.

use super::{Arity, NoAttributes, Operator, Placement, Shape};
use serde::{Deserialize, Serialize};

/// Elementwise product of two inputs `[c, h, w]`; one of them may be `[c, 1, 1]`, a factor for each
/// channel, as squeeze-and-excitation has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "NoAttributes")]
pub struct Mul;

impl From<NoAttributes> for Mul {
    fn from(_: NoAttributes) -> Self {
        Self
    }
}

impl Operator for Mul {
    fn kind(&self) -> &'static str {
        "mul"
    }

    fn arity(&self) -> Arity {
        Arity::Exactly(2)
    }

    fn shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        let [first, second] = [inputs[0], inputs[1]];
        if first == second || second == [first[0], 1, 1] {
            return Ok(first);
        }
        if first == [second[0], 1, 1] {
            return Ok(second);
        }
        Err(format!("cannot multiply {first:?} with {second:?}"))
    }

    fn placement(&self) -> Placement {
        Placement::BeforeClip
    }
}
