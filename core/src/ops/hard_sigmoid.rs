//! The hard sigmoid (Howard et al. 2019, arXiv 1905.02244, §5.2).

use super::{NoAttributes, Operator};
use serde::{Deserialize, Serialize};

/// min(max(x + 3, 0), 6) / 6.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "NoAttributes")]
pub struct HardSigmoid;

impl From<NoAttributes> for HardSigmoid {
    fn from(_: NoAttributes) -> Self {
        Self
    }
}

impl Operator for HardSigmoid {
    fn kind(&self) -> &'static str {
        "hard_sigmoid"
    }

    fn is_activation(&self) -> bool {
        true
    }

    fn range(&self) -> Option<[f32; 2]> {
        Some([0.0, 1.0])
    }
}
