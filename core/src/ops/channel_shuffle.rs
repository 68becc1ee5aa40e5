//! Channels in another order (Zhang et al. 2017, arXiv 1707.01083).

use super::{Operator, Placement, Shape};
use serde::{Deserialize, Serialize};

/// The first channel of each group, then the second of each, and so on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelShuffle {
    /// Parts that the channels are divided into.
    pub groups: usize,
}

impl Operator for ChannelShuffle {
    fn kind(&self) -> &'static str {
        "channel_shuffle"
    }

    fn shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        match inputs[0][0].checked_rem(self.groups) {
            Some(0) => Ok(inputs[0]),
            _ => Err(format!("{} groups do not divide {} channels", self.groups, inputs[0][0])),
        }
    }

    fn placement(&self) -> Placement {
        Placement::Input
    }
}
