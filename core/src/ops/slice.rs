//! Some channels of a value.

use super::{Operator, Placement, Shape};
use serde::{Deserialize, Serialize};

/// The channels from `start` up to before `end`. A split is as many of these as it has parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    /// The first channel.
    pub start: usize,
    /// The first channel that is left out again.
    pub end: usize,
}

impl Operator for Slice {
    fn kind(&self) -> &'static str {
        "slice"
    }

    fn shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        let Self { start, end } = *self;
        let [channels, height, width] = inputs[0];
        if start >= end || end > channels {
            return Err(format!("cannot take the channels from {start} to {end} of {channels}"));
        }
        Ok([end - start, height, width])
    }

    fn placement(&self) -> Placement {
        Placement::Input
    }
}
