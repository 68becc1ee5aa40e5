//! Batches prepared ahead of the step: another thread reads, augments and normalises while the
//! network computes.

use crate::engine::Engine;
use crate::kernels;
use pocketflow::background::{Background, Delivery};
use pocketflow::dataset::{Batch, Dataset, Shard, Split, mix};
use pocketflow::job::Host;
use pocketflow::{Error, Result};
use std::sync::Arc;
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
    /// Where batches belong.
    pub engine: Engine,
    /// Where the images are.
    pub dataset: Arc<dyn Dataset>,
    /// Which of them.
    pub split: Split,
    /// Images in a batch of this worker, 1 or more.
    pub batch_size: usize,
    /// Seed of the run; every epoch derives its own.
    pub seed: u64,
    /// The first batch to deliver, counted from the start of epoch 0.
    pub first: u64,
    /// Batches an epoch; with `None` one pass over the split, an incomplete last batch included.
    pub per_epoch: Option<u64>,
    /// The share of this worker: where there are several, each takes every so-many-th batch of the
    /// pass, so that together they take the images of one worker with a batch as large as theirs.
    pub share: Share,
}

/// One of several workers that take turns at the batches of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Which of the workers, 0 to `size` − 1.
    pub rank: u64,
    /// How many workers there are, 1 or more.
    pub size: u64,
}

impl Share {
    /// Everything.
    pub const WHOLE: Self = Self { rank: 0, size: 1 };

    /// The share of this worker in the engine's group.
    pub fn of(engine: &Engine) -> Self {
        let workers = engine.workers();
        Self { rank: workers.rank().into(), size: workers.size().into() }
    }
}

/// The receiving end.
pub struct Loader {
    batches: Background<Loaded>,
    waited: Duration,
}

impl Loader {
    /// Starts the thread; it ends when the loader is dropped.
    ///
    /// # Errors
    /// No thread to be had.
    pub fn start(stream: Stream) -> Result<Self> {
        let batches = Background::start("images", AHEAD, move |delivery| run(&stream, delivery))?;
        Ok(Self { batches, waited: Duration::ZERO })
    }

    /// The next batch; `None` at the end of a single pass.
    ///
    /// # Errors
    /// The data set's; [`pocketflow::ErrorKind::Interrupted`] when the host asks to stop while no
    /// batch comes.
    pub fn next_batch(&mut self, host: &dyn Host) -> Result<Option<Loaded>> {
        let start = Instant::now();
        let loaded = self.batches.next(&|| host.interrupted());
        self.waited += start.elapsed();
        loaded
    }

    /// How long the caller has waited for batches so far.
    pub fn waited(&self) -> Duration {
        self.waited
    }
}

fn run(stream: &Stream, delivery: &Delivery<Loaded>) -> Result<()> {
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
        let size = stream.batch_size as u64;
        let Share { rank, size: workers } = stream.share;
        pass.skip((done * workers + rank) * size)?;
        while done < per_epoch && pass.next(&mut batch)? {
            // The data set may have taken so long that the process is at its end, and libtorch with
            // it.
            if !delivery.is_wanted() {
                return Ok(());
            }
            let [c, h, w] = info.shape;
            let images = kernels::images(&batch.images, [batch.len, c, h, w], &info.mean, &info.std)?;
            let images = stream.engine.place(images)?;
            let labels: Vec<i64> = batch.labels[..batch.len].iter().map(|label| i64::from(*label)).collect();
            let labels = stream.engine.place(Tensor::from_slice(&labels))?;
            if !delivery.give(Loaded { images, labels }) {
                return Ok(());
            }
            done += 1;
            pass.skip((workers - 1) * size)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use pocketflow::dataset::{Batches, DatasetInfo};
    use pocketflow_testing::TestHost;

    /// Describes itself wrongly: three channels, one mean.
    struct Misdescribed;

    impl Dataset for Misdescribed {
        fn info(&self) -> DatasetInfo {
            DatasetInfo::new("misdescribed", [3, 2, 2], vec!["a".into()], vec![0.0], vec![1.0]).counts(8, 0, 8)
        }

        fn open(&self, _: Split, _: Shard, _: u64) -> Result<Box<dyn Batches>> {
            Ok(Box::new(Zeros))
        }
    }

    struct Zeros;

    impl Batches for Zeros {
        fn next(&mut self, out: &mut Batch) -> Result<bool> {
            out.len = out.capacity();
            Ok(true)
        }

        fn skip(&mut self, _: u64) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_panic_in_the_loaders_thread_is_an_error_and_not_the_end_of_the_data() {
        let dataset: Arc<dyn Dataset> = Arc::new(Misdescribed);
        let stream = Stream {
            engine: Engine::cpu(),
            dataset,
            split: Split::Eval,
            batch_size: 4,
            seed: 0,
            first: 0,
            per_epoch: None,
            share: Share::WHOLE,
        };
        let mut loader = Loader::start(stream).unwrap();
        let error = loader.next_batch(&TestHost::default()).err().expect("not the end of the data");
        assert!(error.to_string().contains("the thread of images panicked"), "{error}");
        assert!(error.to_string().contains("assertion failed"), "{error}");
    }
}
