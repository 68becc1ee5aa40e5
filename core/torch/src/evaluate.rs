//! A network's figures on a split.

use crate::loader::{Loader, Share, Stream};
use crate::loss;
use crate::network::{Mode, Network};
use crate::torch_error;
use crate::workers::Reduction;
use pocketflow::dataset::Split;
use pocketflow::dataset::options::DatasetOptions;
use pocketflow::job::Job;
use pocketflow::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tch::Tensor;

/// Fractions 0–1, and the mean cross-entropy.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Metrics {
    /// Images whose class has the largest logit.
    pub top1: f64,
    /// Images whose class is among the five largest logits.
    pub top5: f64,
    /// Cross-entropy in nats, the mean over images.
    pub loss: f64,
    /// Images that were looked at.
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
    let mut own = Sums::default();
    let shown = each_batch(network, job, split, |logits, labels| own.add(logits, labels));
    let Sums { top1, top5, loss, samples, classes, labels } = own.of_all(network, job, shown)?;
    let n = (samples as f64).max(1.0);
    let loss = loss / n;
    if !loss.is_finite() {
        return Err(Error::failed(format!(
            "the network's answers to the {} are no finite numbers (mean loss {loss}): a model with such weights is of no use; train \
             again with a lower learning rate, or give another model",
            split.images()
        )));
    }
    let varied = labels.is_some_and(|[least, most]| least < most);
    let constant = classes.first().copied().filter(|first| varied && classes.iter().all(|class| class == first));
    Ok((Metrics { top1: top1 / n, top5: top5 / n, loss, samples, constant }, classes))
}

/// What is summed up over the images of a split.
#[derive(Default)]
struct Sums {
    top1: f64,
    top5: f64,
    loss: f64,
    samples: u64,
    /// The most likely class of each image.
    classes: Vec<u32>,
    /// The least and the largest label.
    labels: Option<[i64; 2]>,
}

impl Sums {
    /// Adds the images of a batch.
    fn add(&mut self, logits: &Tensor, labels: &Tensor) -> Result<()> {
        let count = labels.size()[0];
        let (first, fifth) = loss::hits(logits, labels, 5);
        self.top1 += first;
        self.top5 += fifth;
        self.loss += tch::no_grad(|| loss::cross_entropy(logits, labels))?.double_value(&[]) * count as f64;
        self.samples += count as u64;
        let best = loss::ranked(logits).select(-1, 0);
        let best = Vec::<i64>::try_from(best).map_err(|error| torch_error("read classes", &error))?;
        self.classes.extend(best.into_iter().map(|class| class as u32));
        let labels = Vec::<i64>::try_from(labels).map_err(|error| torch_error("read labels", &error))?;
        let [mut least, mut most] = self.labels.unwrap_or([i64::MAX, i64::MIN]);
        for label in labels {
            (least, most) = (least.min(label), most.max(label));
        }
        self.labels = Some([least, most]);
        Ok(())
    }

    /// Returns the sums over the images of all workers, classes in the order of the split. `shown`
    /// is how it went here: all workers stop where one does.
    fn of_all(self, network: &Network, job: &Job, shown: Result<()>) -> Result<Self> {
        let workers = network.engine().workers();
        if workers.size() == 1 {
            return shown.map(|()| self);
        }
        let interrupted = matches!(&shown, Err(error) if error.kind() == ErrorKind::Interrupted);
        let failed = shown.is_err() && !interrupted;
        let flag = |flag: bool| f64::from(u8::from(flag));
        let mut numbers = [self.top1, self.top5, self.loss, self.samples as f64, flag(interrupted), flag(failed)];
        workers.sums(&mut numbers)?;
        shown?;
        let [top1, top5, loss, samples, interrupted, failed] = numbers;
        if failed > 0.0 {
            return Err(Error::failed("another worker could not evaluate its images; what it says is the cause"));
        }
        if interrupted > 0.0 {
            return Err(Error::interrupted(STOPPED));
        }
        let batch = job.settings.get(DatasetOptions::batch_size_eval())?;
        let mut all = vec![0_i64; samples as usize];
        let places = all.chunks_mut(batch).skip(workers.rank() as usize).step_by(workers.size() as usize);
        for (place, class) in places.flatten().zip(&self.classes) {
            *place = i64::from(*class);
        }
        let [least, most] = self.labels.unwrap_or([i64::MAX, i64::MIN]);
        let mut all = [Tensor::from_slice(&all)];
        workers.reduce(&mut all, Reduction::Sum)?;
        let mut ends = [Tensor::from_slice(&[-least, most])];
        workers.reduce(&mut ends, Reduction::Max)?;
        let classes = Vec::<i64>::try_from(&all[0]).map_err(|error| torch_error("read classes", &error))?;
        let classes = classes.into_iter().map(|class| class as u32).collect();
        let labels = Some([-ends[0].int64_value(&[0]), ends[0].int64_value(&[1])]);
        Ok(Self { top1, top5, loss, samples: samples as u64, classes, labels })
    }
}

const STOPPED: &str = "stopped during an evaluation";

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
        batch_size: job.settings.get(DatasetOptions::batch_size_eval())?,
        seed: 0,
        first: 0,
        per_epoch: None,
        share: Share::of(network.engine()),
    })?;
    while let Some(batch) = loader.next_batch(&*job.host)? {
        let logits = tch::no_grad(|| network.forward(&batch.images, Mode::Eval))?;
        each(&logits, &batch.labels)?;
        if job.host.interrupted() {
            return Err(Error::interrupted(STOPPED));
        }
    }
    Ok(())
}
