//! What can be learnt from images without labels and gradients: activation ranges, batch-norm
//! statistics.

use crate::loader::{Loader, Stream};
use crate::network::{Mode, Network, Statistics};
use pocketflow::dataset::Split;
use pocketflow::job::Job;
use pocketflow::{Error, Result};
use std::sync::Arc;
use tch::Tensor;

/// Images from which learners take activation ranges before the first step.
pub const CALIBRATION_IMAGES: u64 = 1024;

/// Takes the activation ranges from about `images` training images.
///
/// # Errors
/// The data set's; the host's wish to stop.
pub fn calibrate(network: &Network, job: &Job, images: u64) -> Result<()> {
    if network.plan().activations.is_empty() {
        return Ok(());
    }
    for images in batches(job, images)? {
        let images = images?;
        let _logits = tch::no_grad(|| network.forward(&images, Mode::Calibrate))?;
    }
    Ok(())
}

/// Shows the network about `images` training images in full precision; see [`Network::observe`].
///
/// # Errors
/// The data set's; the host's wish to stop.
pub fn observe(network: &mut Network, job: &Job, images: u64) -> Result<()> {
    network.observe(batches(job, images)?)
}

/// Moves batch normalisation's running statistics to what quantization made of about `images`
/// training images, the same as [`observe`]'s; see [`Network::reestimate`].
///
/// # Errors
/// The data set's; the host's wish to stop.
pub fn reestimate(network: &mut Network, job: &Job, images: u64) -> Result<()> {
    network.reestimate(Statistics::Moved, batches(job, images)?, |_, _| Ok(()))
}

/// Gives batch normalisations that were folded into the weights the statistics of about `images`
/// training images; see [`Network::adopt_statistics`].
///
/// # Errors
/// The data set's; the host's wish to stop.
pub fn adopt_statistics(network: &mut Network, job: &Job, images: u64) -> Result<usize> {
    network.adopt_statistics(batches(job, images)?)
}

/// Training images, about so many, not augmented; an interruption once the host asks to stop.
fn batches(job: &Job, images: u64) -> Result<impl Iterator<Item = Result<Tensor>>> {
    let batch_size: usize = job.settings.get("batch_size")?;
    let mut loader = Loader::start(Stream {
        dataset: Arc::clone(&job.dataset),
        split: Split::Plain,
        batch_size,
        seed: job.settings.get("seed")?,
        first: 0,
        per_epoch: None,
    })?;
    let host = Arc::clone(&job.host);
    let next = move || match host.interrupted() {
        true => Some(Err(Error::interrupted("stopped before training, while the network was shown images"))),
        false => loader.next_batch(&*host).transpose(),
    };
    let batches = std::iter::from_fn(next);
    Ok(batches.take(images.div_ceil(batch_size as u64) as usize).map(|batch| batch.map(|batch| batch.images)))
}
