//! The sigmoid linear unit, also called swish (Ramachandran et al. 2017, arXiv 1710.05941).

use super::{NoAttributes, Operator};
use serde::{Deserialize, Serialize};

/// x / (1 + exp(−x)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "NoAttributes")]
pub struct Silu;

impl From<NoAttributes> for Silu {
    fn from(_: NoAttributes) -> Self {
        Self
    }
}

impl Operator for Silu {
    fn kind(&self) -> &'static str {
        "silu"
    }

    fn is_activation(&self) -> bool {
        true
    }
}
