//! Pixels and labels from a data set, for those who need them outside a training.

use pocketflow::background::Background;
use pocketflow::dataset::{Batch, Batches, Dataset, DatasetInfo, Shard, Split};
use pocketflow::graph::Shape;
use pocketflow::{Error, Result};
use std::sync::Arc;

/// Images read at a time.
const BATCH: u64 = 64;

/// A pass over the first images of a split, read ahead on a thread of its own.
pub struct Images {
    batches: Background<Batch>,
    batch: Batch,
    /// The next image in the batch.
    next: usize,
    bytes: usize,
    left: u64,
}

impl Images {
    /// At most `limit` images of a split, in its order (under `seed` where that is random).
    ///
    /// # Errors
    /// No thread to be had.
    pub fn open(dataset: &Arc<dyn Dataset>, split: Split, seed: u64, limit: u64) -> Result<Self> {
        let (dataset, shape) = (Arc::clone(dataset), dataset.info().shape);
        Self::of_pass(shape, limit, move || dataset.open(split, Shard::WHOLE, seed))
    }

    /// At most `limit` images of the pass that `open` opens, of a shape.
    ///
    /// # Errors
    /// No thread to be had.
    pub fn of_pass(
        shape: Shape,
        limit: u64,
        open: impl FnOnce() -> Result<Box<dyn Batches>> + Send + 'static,
    ) -> Result<Self> {
        let bytes = shape.iter().product();
        let batches = Background::start("images", 1, move |delivery| {
            let mut pass = open()?;
            let mut left = limit;
            while left > 0 {
                let mut batch = Batch::new(BATCH.min(left) as usize, shape);
                if !pass.next(&mut batch)? || batch.len == 0 {
                    break;
                }
                left = left.saturating_sub(batch.len as u64);
                if !delivery.give(batch) {
                    break;
                }
            }
            Ok(())
        })?;
        Ok(Self { batches, batch: Batch::default(), next: 0, bytes, left: limit })
    }

    /// The pixels `[height, width, channels]` of the next image and its label; `None` at the end.
    ///
    /// # Errors
    /// The data set's.
    pub fn next_image(&mut self) -> Result<Option<(&[u8], u32)>> {
        if self.left == 0 {
            return Ok(None);
        }
        if self.next == self.batch.len {
            self.next = 0;
            let Some(batch) = self.batches.next(&|| false)? else {
                self.left = 0;
                return Ok(None);
            };
            self.batch = batch;
        }
        let index = self.next;
        self.next += 1;
        self.left -= 1;
        Ok(Some((&self.batch.images[index * self.bytes..][..self.bytes], self.batch.labels[index])))
    }
}

/// That images of `have` fit an input of `[height, width, channels]`.
///
/// # Errors
/// Says both sizes and which options change them.
pub fn expect_size(have: Shape, need: [usize; 3], file: &str) -> Result<()> {
    let [channels, height, width] = have;
    if [height, width, channels] == need {
        return Ok(());
    }
    let [h, w, c] = need;
    Err(Error::config(format!(
        "{file} takes images of {w} × {h} with {c} channels, the data set gives {width} × {height} with {channels}: select \
         the net and its image size, or another data set"
    )))
}

/// That a network of `outputs` classes is for a data set's classes.
///
/// # Errors
/// Says both numbers and what changes them.
pub fn expect_classes(info: &DatasetInfo, outputs: usize, file: &str) -> Result<()> {
    let classes = info.labels.len();
    if classes == outputs {
        return Ok(());
    }
    Err(Error::config(format!(
        "{file} tells {outputs} classes apart, the data set `{}` has {classes}: set nb_classes, or select another data set",
        info.name
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_differ_are_said() {
        expect_size([3, 32, 24], [32, 24, 3], "it").unwrap();
        let said = expect_size([3, 224, 224], [128, 128, 3], "`a.tflite`").unwrap_err().to_string();
        assert!(said.contains("128 × 128") && said.contains("224 × 224"), "{said}");
    }
}
