//! The rectified linear unit whose leak is learnt (He et al. 2015, arXiv 1502.01852).

use super::{Operator, Role, Shape};
use serde::{Deserialize, Serialize};

/// x where x ≥ 0, else slope · x.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prelu {
    /// Whether each channel has a slope of its own; else there is one.
    pub by_channel: bool,
}

impl Operator for Prelu {
    fn kind(&self) -> &'static str {
        "prelu"
    }

    fn params(&self, inputs: &[Shape]) -> Vec<(Role, Vec<usize>)> {
        vec![(Role::Slope, vec![if self.by_channel { inputs[0][0] } else { 1 }])]
    }

    fn is_activation(&self) -> bool {
        true
    }
}
