//! The rectified linear unit that leaks.

use super::Operator;
use serde::{Deserialize, Serialize};

/// x where x ≥ 0, else slope · x.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeakyRelu {
    /// 0.01 in PyTorch and ONNX, where nothing else is said.
    pub slope: f32,
}

impl Operator for LeakyRelu {
    fn kind(&self) -> &'static str {
        "leaky_relu"
    }

    fn shape(&self, inputs: &[super::Shape]) -> Result<super::Shape, String> {
        match self.slope.is_finite() {
            true => Ok(inputs[0]),
            false => Err(format!("a slope of {}", self.slope)),
        }
    }

    fn is_activation(&self) -> bool {
        true
    }
}
