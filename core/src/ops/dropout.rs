//! Dropout (Srivastava et al. 2014).

use super::{Operator, Placement, Shape};
use serde::{Deserialize, Serialize};

/// In training each value is zero with that probability, and divided by what is left of 1
/// otherwise; else values stay what they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dropout {
    /// From 0 to below 1.
    pub probability: f64,
}

impl Operator for Dropout {
    fn kind(&self) -> &'static str {
        "dropout"
    }

    fn shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        match (0.0..1.0).contains(&self.probability) {
            true => Ok(inputs[0]),
            false => Err(format!("a probability of {} is not from 0 to below 1", self.probability)),
        }
    }

    fn placement(&self) -> Placement {
        Placement::Input
    }
}
