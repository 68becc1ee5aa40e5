//! Global maximum pooling.

use super::{NoAttributes, Operator, Placement, Shape};
use serde::{Deserialize, Serialize};

/// The largest value over height and width.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "NoAttributes")]
pub struct GlobalMaxPool;

impl From<NoAttributes> for GlobalMaxPool {
    fn from(_: NoAttributes) -> Self {
        Self
    }
}

impl Operator for GlobalMaxPool {
    fn kind(&self) -> &'static str {
        "global_max_pool"
    }

    fn shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        Ok([inputs[0][0], 1, 1])
    }

    fn placement(&self) -> Placement {
        Placement::Input
    }
}
