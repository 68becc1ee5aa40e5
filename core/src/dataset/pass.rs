//! One pass over a split of any [`Images`]: order, shard and augmentation, batch by batch.

use super::augment::PadCropFlip;
use super::images::{Images, image_bytes};
use super::options::Counts;
use super::order::pass_order;
use super::{Batch, Batches, Shard, Split};
use crate::error::{Error, Result};
use std::sync::Arc;

/// [`Batches`] over images that can be read by index.
pub struct Pass {
    images: Arc<dyn Images>,
    order: Vec<u32>,
    /// Into `order`.
    position: usize,
    augment: Option<Augmented>,
    /// Training batches all have one size.
    whole_batches: bool,
}

struct Augmented {
    method: Arc<PadCropFlip>,
    seed: u64,
    /// The image before augmentation.
    plain: Vec<u8>,
}

impl Pass {
    /// Starts a pass over `images`, which must be the test images for [`Split::Eval`] and the
    /// training images otherwise. `augment` applies to the training splits only.
    ///
    /// # Errors
    /// A shard that there is not; fewer images than `counts` wants.
    pub fn open(
        images: Arc<dyn Images>,
        counts: &Counts,
        split: Split,
        shard: Shard,
        seed: u64,
        augment: Option<Arc<PadCropFlip>>,
    ) -> Result<Self> {
        let order = pass_order(counts, split, shard, seed)?;
        let wanted = if split == Split::Eval { counts.eval } else { counts.train };
        if images.count() < wanted {
            return Err(Error::failed(format!("the data set has {} images, {wanted} are wanted", images.count())));
        }
        let training = matches!(split, Split::Train | Split::Fit);
        let augment = augment.filter(|_| training).map(|method| {
            let plain = vec![0; image_bytes(images.shape())];
            Augmented { method, seed, plain }
        });
        Ok(Self { images, order, position: 0, augment, whole_batches: training })
    }
}

impl Batches for Pass {
    fn next(&mut self, out: &mut Batch) -> Result<bool> {
        let size = image_bytes(self.images.shape());
        let capacity = out.capacity();
        out.len = 0;
        if capacity == 0 || out.images.len() < capacity * size {
            let bytes = out.images.len();
            let text = format!("a batch buffer of {bytes} bytes for {capacity} images of {size} bytes");
            return Err(Error::failed(text));
        }
        let left = &self.order[self.position..];
        if left.is_empty() || (self.whole_batches && left.len() < capacity) {
            self.position = self.order.len();
            return Ok(false);
        }
        let indices = &left[..capacity.min(left.len())];
        for ((index, image), label) in indices.iter().zip(out.images.chunks_exact_mut(size)).zip(&mut out.labels) {
            let index = u64::from(*index);
            *label = match &mut self.augment {
                Some(Augmented { method, seed, plain }) => {
                    let label = self.images.read(index, plain)?;
                    method.apply(method.draw(*seed, index), plain, image);
                    label
                }
                None => self.images.read(index, image)?,
            };
        }
        out.len = indices.len();
        self.position += out.len;
        Ok(true)
    }

    fn skip(&mut self, samples: u64) -> Result<()> {
        let left = self.order.len() - self.position;
        self.position += usize::try_from(samples).unwrap_or(left).min(left);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::images::ImagesInMemory;
    use super::*;
    use proptest::prelude::*;

    const SHAPE: [usize; 3] = [3, 4, 4];

    /// Image `i` has label `i` and bytes that tell it and its pixels apart.
    fn images(count: u32) -> Arc<dyn Images> {
        let pixels = (0..count).flat_map(|image| (0..48u32).map(move |byte| (image * 53 + byte) as u8)).collect();
        Arc::new(ImagesInMemory::new(SHAPE, pixels, (0..count).collect()).unwrap())
    }

    fn open(count: u32, split: Split, seed: u64) -> Pass {
        let counts = Counts { train: count.into(), val: u64::from(count) / 4, eval: count.into() };
        let augment = Arc::new(PadCropFlip::new(SHAPE, 2, &[1, 2, 3]));
        Pass::open(images(count), &counts, split, Shard::WHOLE, seed, Some(augment)).unwrap()
    }

    /// The rest of a pass as (label, pixels).
    fn rest(mut pass: Pass, batch_size: usize) -> Vec<(u32, Vec<u8>)> {
        let mut batch = Batch::new(batch_size, SHAPE);
        let mut samples = Vec::new();
        while pass.next(&mut batch).unwrap() {
            let pixels = batch.images.chunks(48).map(<[u8]>::to_vec);
            samples.extend(batch.labels.iter().copied().zip(pixels).take(batch.len));
        }
        assert_eq!(batch.len, 0, "the end leaves no batch behind");
        assert!(!pass.next(&mut batch).unwrap(), "the end is the end");
        samples
    }

    #[test]
    fn training_leaves_out_the_incomplete_batch_and_evaluation_does_not() {
        assert_eq!(rest(open(10, Split::Train, 1), 4).len(), 8);
        assert_eq!(rest(open(10, Split::Fit, 1), 3).len(), 6);
        assert_eq!(rest(open(10, Split::Eval, 1), 4).len(), 10);
        assert_eq!(rest(open(10, Split::Plain, 1), 4).len(), 10);
        assert_eq!(rest(open(3, Split::Train, 1), 4).len(), 0);
    }

    #[test]
    fn only_training_is_augmented() {
        let plain = |split| rest(open(40, split, 1), 1).iter().all(|(label, pixels)| pixels[0] == (label * 53) as u8);
        for split in [Split::Val, Split::Eval, Split::Plain] {
            assert!(plain(split), "{split:?}");
        }
        assert!(!plain(Split::Train) && !plain(Split::Fit));
    }

    #[test]
    fn an_image_is_augmented_alike_in_every_shard_and_differently_for_every_seed() {
        let counts = Counts { train: 24, val: 0, eval: 0 };
        let augment = Arc::new(PadCropFlip::new(SHAPE, 2, &[0; 3]));
        let shard = |index, count, seed| {
            let shard = Shard { index, count };
            rest(Pass::open(images(24), &counts, Split::Train, shard, seed, Some(augment.clone())).unwrap(), 1)
        };
        let mut whole = shard(0, 1, 5);
        let mut parts: Vec<_> = (0..3).flat_map(|index| shard(index, 3, 5)).collect();
        let mut other = shard(0, 1, 6);
        for samples in [&mut whole, &mut parts, &mut other] {
            samples.sort();
        }
        assert_eq!(whole, parts);
        assert_ne!(whole, other);
    }

    #[test]
    fn buffers_that_cannot_hold_a_batch_are_refused() {
        let mut pass = open(10, Split::Eval, 0);
        assert!(pass.next(&mut Batch::new(0, SHAPE)).is_err());
        assert!(pass.next(&mut Batch::new(4, [3, 4, 3])).is_err());
        assert_eq!(rest(pass, 5).len(), 10, "nothing was lost");
        let counts = Counts { train: 11, val: 0, eval: 11 };
        assert!(Pass::open(images(10), &counts, Split::Eval, Shard::WHOLE, 0, None).is_err());
    }

    proptest! {
        #[test]
        fn skipping_is_reading(count in 1u32..60, skipped in 0u64..70, seed: u64, batch_size in 1usize..7) {
            for split in [Split::Train, Split::Fit, Split::Val, Split::Eval, Split::Plain] {
                let all = rest(open(count, split, seed), 1);
                let mut pass = open(count, split, seed);
                // In two parts, since skips must add up.
                pass.skip(skipped / 3).unwrap();
                pass.skip(skipped - skipped / 3).unwrap();
                let left = all.get(skipped as usize..).unwrap_or_default();
                let training = matches!(split, Split::Train | Split::Fit);
                let kept = if training { left.len() / batch_size * batch_size } else { left.len() };
                prop_assert_eq!(&rest(pass, batch_size)[..], &left[..kept]);
            }
        }
    }
}
