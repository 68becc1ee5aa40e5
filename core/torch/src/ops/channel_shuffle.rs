//! Channels in another order.

use super::Forward;
use pocketflow::graph::ChannelShuffle;
use tch::{TchError, Tensor};

impl Forward for ChannelShuffle {
    fn forward(&self, inputs: &[&Tensor], _params: &[Tensor]) -> Result<Tensor, TchError> {
        inputs[0].f_channel_shuffle(self.groups as i64)
    }
}
