//! Sums with a constant.

use super::{Operator, Placement, Shape};
use serde::{Deserialize, Serialize};

/// Adds a number to each value: the same to all, or one for each channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AddConstant {
    /// One, or one for each channel.
    pub values: Vec<f32>,
}

impl Operator for AddConstant {
    fn kind(&self) -> &'static str {
        "add_constant"
    }

    fn shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        let count = self.values.len();
        if count != 1 && count != inputs[0][0] {
            return Err(format!("{count} numbers for {} channels", inputs[0][0]));
        }
        match self.values.iter().find(|value| !value.is_finite()) {
            Some(value) => Err(format!("it adds {value}")),
            None => Ok(inputs[0]),
        }
    }

    fn placement(&self) -> Placement {
        Placement::BeforeClip
    }
}
