//! Global average pooling.

use super::{NoAttributes, Operator, Placement, Shape};
use serde::{Deserialize, Serialize};

/// Mean over height and width.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "NoAttributes")]
pub struct GlobalAvgPool;

impl From<NoAttributes> for GlobalAvgPool {
    fn from(_: NoAttributes) -> Self {
        Self
    }
}

impl Operator for GlobalAvgPool {
    fn kind(&self) -> &'static str {
        "global_avg_pool"
    }

    fn shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        Ok([inputs[0][0], 1, 1])
    }

    fn placement(&self) -> Placement {
        Placement::Average
    }
}
