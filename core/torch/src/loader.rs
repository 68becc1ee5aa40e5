//! Batches prepared ahead of the step: another thread reads, augments and normalises while the network computes.

use crate::{device, kernels};
use pocketflow::dataset::{Batch, Dataset, Shard, Split, mix};
use pocketflow::{Error, Result};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};
use tch::Tensor;

/// Batches that lie ready at most.
const AHEAD: usize = 3;

/// A batch on its way into the network.
pub struct Loaded {
    /// `[n, c, h, w]`, normalised, channels_last.
    pub images: Tensor,
    /// `[n]`, 64-bit integers.
    pub labels: Tensor,
}

/// What to load.
pub struct Stream {
    pub dataset: Arc<dyn Dataset>,
    pub split: Split,
    pub batch_size: usize,
    /// Seed of the run; every epoch derives its own.
    pub seed: u64,
    /// The first batch to deliver, counted from the start of epoch 0.
    pub first: u64,
    /// Batches an epoch; with `None` one pass over the split, an incomplete last batch included.
    pub per_epoch: Option<u64>,
}

/// The receiving end.
pub struct Loader {
    receiver: Receiver<Result<Loaded>>,
    waited: Duration,
}

impl Loader {
    /// Starts the thread; it ends by itself when the loader is dropped.
    ///
    /// # Errors
    /// No thread to be had.
    pub fn start(stream: Stream) -> Result<Self> {
        let (sender, receiver) = sync_channel(AHEAD);
        let produce = move || {
            let mut deliver = |loaded| sender.send(loaded).is_ok();
            if let Err(error) = run(&stream, &mut deliver) {
                deliver(Err(error));
            }
        };
        std::thread::Builder::new().name("loader".into()).spawn(produce)?;
        Ok(Self { receiver, waited: Duration::ZERO })
    }

    /// The next batch; `None` at the end of a single pass.
    ///
    /// # Errors
    /// The data set's.
    pub fn next_batch(&mut self) -> Result<Option<Loaded>> {
        let start = Instant::now();
        let loaded = self.receiver.recv();
        self.waited += start.elapsed();
        loaded.ok().transpose()
    }

    /// How long the caller has waited for batches so far.
    pub fn waited(&self) -> Duration {
        self.waited
    }
}

fn run(stream: &Stream, deliver: &mut dyn FnMut(Result<Loaded>) -> bool) -> Result<()> {
    let info = stream.dataset.info();
    let mut batch = Batch::new(stream.batch_size, info.shape);
    let per_epoch = stream.per_epoch.unwrap_or(u64::MAX);
    if per_epoch == 0 {
        let problem = format!("batches of {} from {} images", stream.batch_size, info.samples(stream.split));
        return Err(Error::config(format!("{problem}: not one is full; lower `batch_size`")));
    }
    let (mut epoch, mut done) = (stream.first / per_epoch, stream.first % per_epoch);
    loop {
        let mut pass = stream.dataset.open(stream.split, Shard::WHOLE, mix(stream.seed, epoch))?;
        pass.skip(done * stream.batch_size as u64)?;
        while done < per_epoch && pass.next(&mut batch)? {
            let [c, h, w] = info.shape;
            let images = kernels::images(&batch.images, [batch.len, c, h, w], &info.mean, &info.std)?;
            let labels: Vec<i64> = batch.labels[..batch.len].iter().map(|label| i64::from(*label)).collect();
            let labels = device::place(Tensor::from_slice(&labels))?;
            if !deliver(Ok(Loaded { images, labels })) {
                return Ok(());
            }
            done += 1;
        }
        if stream.per_epoch.is_none() {
            return Ok(());
        }
        if done < per_epoch {
            return Err(Error::failed(format!("the data set ended after {done} of {per_epoch} batches of an epoch")));
        }
        (epoch, done) = (epoch + 1, 0);
    }
}
