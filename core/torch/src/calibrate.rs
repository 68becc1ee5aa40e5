//! What can be learnt from images without labels and gradients: activation ranges, batch-norm
//! statistics. Learners and searches prepare a quantized network by the same calls.

use crate::images::ImageSet;
use crate::network::{Mode, Network, Statistics};
use pocketflow::Result;
use pocketflow::clip::WeightRange;
use pocketflow::job::Job;

/// What is done to a quantized network before it is trained, or used without training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preparation {
    /// How the ranges of weights are chosen.
    pub range: WeightRange,
    /// Whether batch normalisation's running statistics are moved to what quantization made of
    /// them: where no training follows.
    pub statistics: bool,
}

/// Prepares a network: clips weights, takes activation ranges, moves statistics.
///
/// # Errors
/// libtorch's; the host's wish to stop.
pub fn prepare(network: &mut Network, job: &Job, images: &ImageSet, how: Preparation) -> Result<()> {
    let clips = how.range == WeightRange::Mse;
    if clips || how.statistics {
        network.observe(images.tensors(job))?;
    }
    if clips {
        network.clip_weights()?;
    }
    take_ranges(network, job, images)?;
    if how.statistics {
        network.reestimate(Statistics::Moved, images.tensors(job), |_, _| Ok(()))?;
    }
    Ok(())
}

/// Takes the ranges of all quantized values from images.
///
/// # Errors
/// libtorch's; the host's wish to stop.
pub fn take_ranges(network: &Network, job: &Job, images: &ImageSet) -> Result<()> {
    if network.quantizes_values() {
        for images in images.tensors(job) {
            let _logits = tch::no_grad(|| network.forward(&images?, Mode::TrackRanges))?;
        }
    }
    Ok(())
}
