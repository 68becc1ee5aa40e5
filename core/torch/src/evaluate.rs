//! A network's figures on a split.

use crate::loader::{Loader, Stream};
use crate::loss;
use crate::network::{Mode, Network};
use pocketflow::Result;
use pocketflow::dataset::Split;
use pocketflow::job::Job;
use std::sync::Arc;

/// Fractions 0–1, and the mean cross-entropy.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Metrics {
    pub top1: f64,
    pub top5: f64,
    pub loss: f64,
    pub samples: u64,
}

/// Evaluates on all images of a split.
///
/// # Errors
/// The data set's; the host's wish to stop.
pub fn evaluate(network: &Network, job: &Job, split: Split) -> Result<Metrics> {
    let stream = Stream {
        dataset: Arc::clone(&job.dataset),
        split,
        batch_size: job.settings.get("batch_size_eval")?,
        seed: 0,
        first: 0,
        per_epoch: None,
    };
    let mut loader = Loader::start(stream)?;
    let (mut top1, mut top5, mut loss, mut samples) = (0.0, 0.0, 0.0, 0);
    while let Some(batch) = loader.next_batch()? {
        let logits = tch::no_grad(|| network.forward(&batch.images, Mode::Eval))?;
        let count = batch.labels.size()[0];
        let (first, fifth) = loss::hits(&logits, &batch.labels, 5);
        top1 += first;
        top5 += fifth;
        loss += tch::no_grad(|| loss::cross_entropy(&logits, &batch.labels))?.double_value(&[]) * count as f64;
        samples += count as u64;
        if job.host.interrupted() {
            return Err(pocketflow::Error::interrupted("stopped during an evaluation"));
        }
    }
    let n = (samples as f64).max(1.0);
    Ok(Metrics { top1: top1 / n, top5: top5 / n, loss: loss / n, samples })
}
