//! The rectified linear unit that ends at six.

use super::{NoAttributes, Operator};
use serde::{Deserialize, Serialize};

/// min(max(x, 0), 6).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "NoAttributes")]
pub struct Relu6;

impl From<NoAttributes> for Relu6 {
    fn from(_: NoAttributes) -> Self {
        Self
    }
}

impl Operator for Relu6 {
    fn kind(&self) -> &'static str {
        "relu6"
    }

    fn clip(&self) -> Option<[f32; 2]> {
        Some([0.0, 6.0])
    }
}
