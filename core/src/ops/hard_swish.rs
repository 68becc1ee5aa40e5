//! The hard swish (Howard et al. 2019, arXiv 1905.02244, §5.2).

use super::{NoAttributes, Operator};
use serde::{Deserialize, Serialize};

/// x · min(max(x + 3, 0), 6) / 6.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "NoAttributes")]
pub struct HardSwish;

impl From<NoAttributes> for HardSwish {
    fn from(_: NoAttributes) -> Self {
        Self
    }
}

impl Operator for HardSwish {
    fn kind(&self) -> &'static str {
        "hard_swish"
    }

    fn is_activation(&self) -> bool {
        true
    }
}
