//! The images.

use super::{Arity, Operator, Shape};
use serde::{Deserialize, Serialize};

/// The images, `[n, c, h, w]`, normalised with the model's mean and standard deviation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// Of one image.
    pub shape: Shape,
}

impl Operator for Input {
    fn kind(&self) -> &'static str {
        "input"
    }

    fn arity(&self) -> Arity {
        Arity::Exactly(0)
    }

    fn shape(&self, _: &[Shape]) -> Result<Shape, String> {
        Ok(self.shape)
    }
}
