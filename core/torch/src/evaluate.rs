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
    judge(network, job, split).map(|(metrics, _)| metrics)
}

/// As [`evaluate`], with the most likely class of each image, in the split's order.
///
/// # Errors
/// As there.
pub fn judge(network: &Network, job: &Job, split: Split) -> Result<(Metrics, Vec<u32>)> {
    let (mut top1, mut top5, mut loss, mut samples) = (0.0, 0.0, 0.0, 0);
    let mut classes: Vec<u32> = Vec::new();
    each_batch(network, job, split, |logits, labels| {
        let count = labels.size()[0];
        let (first, fifth) = loss::hits(logits, labels, 5);
        top1 += first;
        top5 += fifth;
        loss += tch::no_grad(|| loss::cross_entropy(logits, labels))?.double_value(&[]) * count as f64;
        samples += count as u64;
        let best = loss::ranked(logits).select(-1, 0);
        let best = Vec::<i64>::try_from(best).map_err(|error| torch_error("read classes", &error))?;
        classes.extend(best.into_iter().map(|class| class as u32));
        Ok(())
    })?;
    let n = (samples as f64).max(1.0);
    Ok((Metrics { top1: top1 / n, top5: top5 / n, loss: loss / n, samples }, classes))
}

/// Calls `each` with logits and labels of one batch after the other.
fn each_batch(
    network: &Network,
    job: &Job,
    split: Split,
    mut each: impl FnMut(&Tensor, &Tensor) -> Result<()>,
) -> Result<()> {
    let mut loader = Loader::start(Stream {
        dataset: Arc::clone(&job.dataset),
        split,
        batch_size: job.settings.get("batch_size_eval")?,
        seed: 0,
        first: 0,
        per_epoch: None,
    })?;
    while let Some(batch) = loader.next_batch(&*job.host)? {
        let logits = tch::no_grad(|| network.forward(&batch.images, Mode::Eval))?;
        each(&logits, &batch.labels)?;
        if job.host.interrupted() {
            return Err(pocketflow::Error::interrupted("stopped during an evaluation"));
        }
    }
    Ok(())
}
