//! Zeros around an image.

use super::{Operator, Placement, Shape};
use serde::{Deserialize, Serialize};

/// Zeros at the edges of each channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pad {
    /// At the top, left, bottom and right.
    pub padding: [usize; 4],
}

impl Operator for Pad {
    fn kind(&self) -> &'static str {
        "pad"
    }

    fn shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        let [top, left, bottom, right] = self.padding;
        let [channels, height, width] = inputs[0];
        let grown = |size: usize, before: usize, after: usize| size.saturating_add(before).saturating_add(after);
        Ok([channels, grown(height, top, bottom), grown(width, left, right)])
    }

    fn placement(&self) -> Placement {
        Placement::Input
    }
}
