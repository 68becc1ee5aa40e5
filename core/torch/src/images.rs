//! Images that are looked at again and again, by a calibration or a search: read once, kept as
//! bytes, a quarter of what tensors take.

use crate::engine::Engine;
use crate::kernels;
use pocketflow::background::Background;
use pocketflow::dataset::options::DatasetOptions;
use pocketflow::dataset::{Batch, Shard, Split, mix};
use pocketflow::job::Job;
use pocketflow::option::HostOptions;
use pocketflow::{Error, Result};
use std::sync::Arc;
use tch::Tensor;

/// Images from which learners take activation ranges and statistics before the first step.
pub const CALIBRATION_IMAGES: usize = 1024;

/// Images and labels of a split, in batches.
pub struct ImageSet {
    engine: Engine,
    shape: [usize; 3],
    mean: Vec<f32>,
    std: Vec<f32>,
    batches: Vec<(Vec<u8>, Vec<i64>)>,
}

impl ImageSet {
    /// Reads the training images that a network is calibrated on: about [`CALIBRATION_IMAGES`], in
    /// whole batches of the training's size, not augmented. They are the same for whoever
    /// calibrates in a job, so that a search judges the network that a learner makes.
    ///
    /// # Errors
    /// The data set's; no images; the host's wish to stop.
    pub fn calibration(engine: &Engine, job: &Job) -> Result<Self> {
        let size = job.settings.get(DatasetOptions::batch_size())?;
        let seed = mix(job.settings.get(HostOptions::seed())?, 0);
        Self::load(engine, job, Split::Plain, seed, size, CALIBRATION_IMAGES.next_multiple_of(size.max(1)))
    }

    /// Reads the first `most` images of a pass over the split, in batches of `size`.
    ///
    /// # Errors
    /// The data set's; a split without images; the host's wish to stop.
    pub fn load(engine: &Engine, job: &Job, split: Split, seed: u64, size: usize, most: usize) -> Result<Self> {
        let info = job.dataset.info();
        let (shape, values) = (info.shape, info.shape.iter().product::<usize>());
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
            stop_if_asked(engine, job)?;
            batches.push(part);
        }
        match batches.is_empty() {
            false => Ok(Self { engine: engine.clone(), shape, mean: info.mean, std: info.std, batches }),
            true => Err(Error::config(format!(
                "the data set `{}` has no {} to look at; raise `{}`, or use more images",
                info.name,
                split.images(),
                DatasetOptions::nb_smpls_val().name()
            ))),
        }
    }

    /// Returns the number of images.
    pub fn len(&self) -> usize {
        self.batches.iter().map(|(_, labels)| labels.len()).sum()
    }

    /// Whether there are none, which no set is made of.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Returns how many images each batch has.
    pub fn sizes(&self) -> impl Iterator<Item = usize> {
        self.batches.iter().map(|(_, labels)| labels.len())
    }

    /// Returns normalised images `[n, c, h, w]`, one batch after the other, and in the place of the
    /// next an interruption once the host asks to stop.
    pub fn tensors(&self, job: &Job) -> impl Iterator<Item = Result<Tensor>> {
        let [c, h, w] = self.shape;
        self.batches.iter().map(move |(pixels, labels)| {
            stop_if_asked(&self.engine, job)?;
            let images = kernels::images(pixels, [labels.len(), c, h, w], &self.mean, &self.std)?;
            self.engine.place(images)
        })
    }

    /// Returns the labels of a batch, `[n]`.
    ///
    /// # Errors
    /// libtorch's.
    pub fn labels(&self, batch: usize) -> Result<Tensor> {
        self.engine.place(Tensor::from_slice(&self.batches[batch].1))
    }
}

/// Once for each batch, so that no worker of a group gets far ahead of another where all of them
/// look at the same images.
fn stop_if_asked(engine: &Engine, job: &Job) -> Result<()> {
    match engine.stop_asked(job)? {
        true => Err(Error::interrupted("stopped while the network was shown images; what was saved before stays")),
        false => Ok(()),
    }
}
