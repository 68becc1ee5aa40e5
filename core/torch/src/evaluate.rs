//! A network's figures on a split.

use crate::loader::{Loader, Stream};
use crate::loss;
use crate::network::{Mode, Network};
use crate::torch_error;
use pocketflow::dataset::Split;
use pocketflow::job::Job;
use pocketflow::{Error, Result};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tch::Tensor;

/// Fractions 0–1, and the mean cross-entropy.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Metrics {
    pub top1: f64,
    pub top5: f64,
    pub loss: f64,
    pub samples: u64,
    /// The class that the network answers to every image, where these are of several classes.
    pub constant: Option<u32>,
}

impl Metrics {
    /// What has to be said with these figures: that a network of one answer has learnt nothing.
    pub fn warning(&self) -> Option<String> {
        let (class, samples) = (self.constant?, self.samples);
        Some(format!(
            "the network answers class {class} to all {samples} images: it tells nothing apart, and its accuracy is that class's \
             share; its training failed, most often by too high a learning rate"
        ))
    }
}

/// Evaluates on all images of a split.
///
/// # Errors
/// The data set's; answers that are no finite numbers; the host's wish to stop.
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
    let mut varied = Varied::default();
    each_batch(network, job, split, |logits, labels| {
        let count = labels.size()[0];
        let (first, fifth) = loss::hits(logits, labels, 5);
        top1 += first;
        top5 += fifth;
        loss += tch::no_grad(|| loss::cross_entropy(logits, labels))?.double_value(&[]) * count as f64;
        samples += count as u64;
        let best = loss::ranked(logits).select(-1, 0);
        let best = Vec::<i64>::try_from(best).map_err(|error| torch_error("read classes", &error))?;
        varied.see(labels)?;
        classes.extend(best.into_iter().map(|class| class as u32));
        Ok(())
    })?;
    let n = (samples as f64).max(1.0);
    let loss = loss / n;
    if !loss.is_finite() {
        return Err(Error::failed(format!(
            "the network's answers to the {} are no finite numbers (mean loss {loss}): a model with such weights is of no use; train \
             again with a lower learning rate, or give another model",
            split.images()
        )));
    }
    let constant = classes.first().copied().filter(|first| varied.yes && classes.iter().all(|class| class == first));
    Ok((Metrics { top1: top1 / n, top5: top5 / n, loss, samples, constant }, classes))
}

/// Whether images are of more than one class.
#[derive(Default)]
struct Varied {
    yes: bool,
    first: Option<i64>,
}

impl Varied {
    /// `labels` of a batch.
    fn see(&mut self, labels: &Tensor) -> Result<()> {
        if !self.yes && labels.numel() > 0 {
            let labels = Vec::<i64>::try_from(labels).map_err(|error| torch_error("read labels", &error))?;
            let first = *self.first.get_or_insert(labels[0]);
            self.yes = labels.iter().any(|label| *label != first);
        }
        Ok(())
    }
}

/// Calls `each` with logits and labels of one batch after the other.
fn each_batch(
    network: &Network,
    job: &Job,
    split: Split,
    mut each: impl FnMut(&Tensor, &Tensor) -> Result<()>,
) -> Result<()> {
    let mut loader = Loader::start(Stream {
        engine: network.engine().clone(),
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
            return Err(Error::interrupted("stopped during an evaluation"));
        }
    }
    Ok(())
}
