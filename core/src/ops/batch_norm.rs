//! Batch normalisation.

use super::{Operator, Placement, Role, Shape};
use serde::{Deserialize, Serialize};

/// Per-channel normalisation (Ioffe & Szegedy 2015).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BatchNorm {
    /// What is added to the variance before its root is taken.
    pub eps: f64,
}

impl Operator for BatchNorm {
    fn kind(&self) -> &'static str {
        "batch_norm"
    }

    fn params(&self, inputs: &[Shape]) -> Vec<(Role, Vec<usize>)> {
        [Role::Scale, Role::Shift, Role::RunningMean, Role::RunningVar].map(|role| (role, vec![inputs[0][0]])).into()
    }

    fn placement(&self) -> Placement {
        Placement::BeforeClip
    }
}
