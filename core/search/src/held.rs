//! Images that a search looks at again and again: read once, kept as bytes, a quarter of what
//! tensors take.

use crate::bench::stop_if_asked;
use pocketflow::background::Background;
use pocketflow::dataset::{Batch, Shard, Split};
use pocketflow::job::Job;
use pocketflow::{Error, Result};
use pocketflow_torch::{device, kernels};
use std::sync::Arc;
use tch::Tensor;

/// Values in a batch of images, about: 500 of CIFAR-10. Larger images come in smaller batches, or
/// what lies between the layers would not fit into memory.
const BATCH_VALUES: usize = 500 * 3072;
/// Fewer images make no batch statistics.
const SMALLEST_BATCH: usize = 20;

/// Images and labels of a split, in batches.
pub struct Held {
    shape: [usize; 3],
    mean: Vec<f32>,
    std: Vec<f32>,
    batches: Vec<(Vec<u8>, Vec<i64>)>,
}

impl Held {
    /// The first `most` images of a pass over the split.
    ///
    /// # Errors
    /// The data set's; a split without images; the host's wish to stop.
    pub fn load(job: &Job, split: Split, seed: u64, most: usize) -> Result<Self> {
        let info = job.dataset.info();
        let (shape, values) = (info.shape, info.shape.iter().product::<usize>());
        let size = (BATCH_VALUES / values.max(1)).clamp(SMALLEST_BATCH, 500);
        let dataset = Arc::clone(&job.dataset);
        let mut parts = Background::start("images", 1, move |delivery| {
            let mut pass = dataset.open(split, Shard::WHOLE, seed)?;
            let (mut batch, mut count) = (Batch::new(size, shape), 0);
            while count < most && pass.next(&mut batch)? {
                let taken = batch.len.min(most - count);
                let labels: Vec<i64> = batch.labels[..taken].iter().map(|label| i64::from(*label)).collect();
                if !delivery.give((batch.images[..taken * values].to_vec(), labels)) {
                    break;
                }
                count += taken;
            }
            Ok(())
        })?;
        let mut batches = Vec::new();
        while let Some(part) = parts.next(&|| job.host.interrupted())? {
            stop_if_asked(job)?;
            batches.push(part);
        }
        match batches.is_empty() {
            false => Ok(Self { shape, mean: info.mean, std: info.std, batches }),
            true => Err(Error::config(format!(
                "the search needs images of `{}` that are kept out of training to judge by; raise `nb_smpls_val`",
                info.name
            ))),
        }
    }

    pub fn images(&self) -> usize {
        self.batches.iter().map(|(_, labels)| labels.len()).sum()
    }

    /// How many images each batch has.
    pub fn sizes(&self) -> impl Iterator<Item = usize> {
        self.batches.iter().map(|(_, labels)| labels.len())
    }

    /// Normalised images of one batch after the other.
    pub fn tensors(&self) -> impl Iterator<Item = Result<Tensor>> {
        let [c, h, w] = self.shape;
        let images = move |pixels: &[u8], n: usize| kernels::images(pixels, [n, c, h, w], &self.mean, &self.std);
        self.batches.iter().map(move |(pixels, labels)| images(pixels, labels.len()))
    }

    /// Labels of a batch.
    ///
    /// # Errors
    /// libtorch's.
    pub fn labels(&self, batch: usize) -> Result<Tensor> {
        device::place(Tensor::from_slice(&self.batches[batch].1))
    }
}
