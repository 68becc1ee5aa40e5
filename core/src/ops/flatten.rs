//! From images to features.

use super::window::count;
use super::{NoAttributes, Operator, Placement, Shape};
use serde::{Deserialize, Serialize};

/// `[c, h, w]` as `[c · h · w, 1, 1]`: channel by channel, row by row. A fully connected layer does
/// so of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "NoAttributes")]
pub struct Flatten;

impl From<NoAttributes> for Flatten {
    fn from(_: NoAttributes) -> Self {
        Self
    }
}

impl Operator for Flatten {
    fn kind(&self) -> &'static str {
        "flatten"
    }

    fn shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        Ok([count(&inputs[0]), 1, 1])
    }

    fn placement(&self) -> Placement {
        Placement::Input
    }
}
