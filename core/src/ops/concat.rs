//! Several values behind each other.

use super::{Arity, NoAttributes, Operator, Shape};
use serde::{Deserialize, Serialize};

/// The channels of all inputs, `[c1 + c2 + …, h, w]`, in their order; height and width are the same
/// for all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "NoAttributes")]
pub struct Concat;

impl From<NoAttributes> for Concat {
    fn from(_: NoAttributes) -> Self {
        Self
    }
}

impl Operator for Concat {
    fn kind(&self) -> &'static str {
        "concat"
    }

    fn arity(&self) -> Arity {
        Arity::AtLeast(2)
    }

    fn shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        let [_, height, width] = inputs[0];
        if let Some(other) = inputs.iter().find(|other| other[1..] != [height, width]) {
            return Err(format!("cannot put {other:?} behind {:?}: only channels may differ", inputs[0]));
        }
        let channels = inputs.iter().fold(0, |sum: usize, input| sum.saturating_add(input[0]));
        Ok([channels, height, width])
    }
}
