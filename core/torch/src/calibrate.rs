//! What can be learnt from images without labels and gradients: activation ranges, batch-norm statistics.

use crate::loader::{Loader, Stream};
use crate::network::{Mode, Network};
use pocketflow::Result;
use pocketflow::dataset::Split;
use pocketflow::job::Job;
use std::sync::Arc;

/// Takes the activation ranges from about `images` training images.
///
/// # Errors
/// The data set's.
pub fn calibrate(network: &Network, job: &Job, images: u64) -> Result<()> {
    match network.plan().activations.is_empty() {
        true => Ok(()),
        false => pass(network, job, images, Mode::Calibrate),
    }
}

/// Takes batch normalisation's running statistics anew from about `images` training images: as moving averages, so some tens of batches
/// are needed.
///
/// # Errors
/// The data set's.
pub fn reestimate(network: &Network, job: &Job, images: u64) -> Result<()> {
    pass(network, job, images, Mode::Reestimate)?;
    // The batch normalisations may be folded into the quantized weights.
    network.quantize_weights()
}

fn pass(network: &Network, job: &Job, images: u64, mode: Mode) -> Result<()> {
    let batch_size: usize = job.settings.get("batch_size")?;
    let mut loader = Loader::start(Stream {
        dataset: Arc::clone(&job.dataset),
        split: Split::Plain,
        batch_size,
        seed: job.settings.get("seed")?,
        first: 0,
        per_epoch: None,
    })?;
    for _ in 0..images.div_ceil(batch_size as u64) {
        let Some(batch) = loader.next_batch()? else { break };
        let _logits = tch::no_grad(|| network.forward(&batch.images, mode))?;
    }
    Ok(())
}
