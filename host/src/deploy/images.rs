//! Pixels and labels from a data set, for those who need them outside a training.

use pocketflow::dataset::{Batch, Batches, Dataset, Shard, Split};
use pocketflow::graph::Shape;
use pocketflow::{Error, Result};

/// Images read at a time.
const BATCH: usize = 64;

/// A pass over the first images of a split.
pub struct Images {
    batches: Box<dyn Batches>,
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
    /// The data set's.
    pub fn open(dataset: &dyn Dataset, split: Split, seed: u64, limit: u64) -> Result<Self> {
        let shape = dataset.info().shape;
        let bytes = shape.iter().product();
        let batches = dataset.open(split, Shard::WHOLE, seed)?;
        Ok(Self { batches, batch: Batch::new(BATCH, shape), next: 0, bytes, left: limit })
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
            if !self.batches.next(&mut self.batch)? || self.batch.len == 0 {
                self.left = 0;
                return Ok(None);
            }
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
