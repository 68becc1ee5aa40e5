//! A network's figures on a split.

use crate::loader::{Loader, Stream};
use crate::loss;
use crate::network::{Mode, Network};
use crate::torch_error;
use pocketflow::Result;
use pocketflow::dataset::Split;
use pocketflow::job::Job;
use std::sync::Arc;
use tch::Tensor;

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
    let (mut top1, mut top5, mut loss, mut samples) = (0.0, 0.0, 0.0, 0);
    each_batch(network, job, split, |logits, labels| {
        let count = labels.size()[0];
        let (first, fifth) = loss::hits(logits, labels, 5);
        top1 += first;
        top5 += fifth;
        loss += tch::no_grad(|| loss::cross_entropy(logits, labels))?.double_value(&[]) * count as f64;
        samples += count as u64;
        Ok(true)
    })?;
    let n = (samples as f64).max(1.0);
    Ok(Metrics { top1: top1 / n, top5: top5 / n, loss: loss / n, samples })
}

/// The most likely class of each of the first `limit` images of a split, in the split's order.
///
/// # Errors
/// As [`evaluate`].
pub fn decisions(network: &Network, job: &Job, split: Split, limit: u64) -> Result<Vec<u32>> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut classes: Vec<u32> = Vec::new();
    each_batch(network, job, split, |logits, _labels| {
        let best =
            Vec::<i64>::try_from(logits.argmax(-1, false)).map_err(|error| torch_error("read classes", &error))?;
        classes.extend(best.into_iter().map(|class| class as u32));
        Ok(classes.len() < limit)
    })?;
    classes.truncate(limit);
    Ok(classes)
}

/// Calls `each` with logits and labels of one batch after the other, as long as it returns true.
fn each_batch(
    network: &Network,
    job: &Job,
    split: Split,
    mut each: impl FnMut(&Tensor, &Tensor) -> Result<bool>,
) -> Result<()> {
    let mut loader = Loader::start(Stream {
        dataset: Arc::clone(&job.dataset),
        split,
        batch_size: job.settings.get("batch_size_eval")?,
        seed: 0,
        first: 0,
        per_epoch: None,
    })?;
    while let Some(batch) = loader.next_batch()? {
        let logits = tch::no_grad(|| network.forward(&batch.images, Mode::Eval))?;
        if !each(&logits, &batch.labels)? {
            break;
        }
        if job.host.interrupted() {
            return Err(pocketflow::Error::interrupted("stopped during an evaluation"));
        }
    }
    Ok(())
}
