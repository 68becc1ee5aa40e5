//! Which image comes when: the random order of a pass, the fixed choice of validation images, the
//! part of a shard. All pure functions of counts and seeds, so that a run can be repeated and
//! resumed exactly. The arithmetic is written out here because an order must not change with the
//! release of a random-number library.

use super::options::Counts;
use super::{Shard, Split, mix};
use crate::error::{Error, Result};

/// The validation images are the same in every run, whatever its seed.
const VALIDATION_SEED: u64 = 0x0c1f_a210_5eed_0001;
/// Keeps the order apart from the augmentation, which uses the same seed.
const ORDER_STREAM: u64 = 0;

/// A permutation of `0..count` (Fisher and Yates), uniform up to a bias below `count / 2^64`.
pub fn permutation(count: u32, seed: u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..count).collect();
    shuffle(&mut order, seed);
    order
}

fn shuffle(order: &mut [u32], seed: u64) {
    for last in (1..order.len()).rev() {
        let draw = u128::from(mix(seed, last as u64)) * (last as u128 + 1);
        order.swap(last, (draw >> 64) as usize);
    }
}

/// The indices of the images of one pass over a split, in order: into the test images for
/// [`Split::Eval`], into the training images otherwise.
///
/// A shard takes every `shard.count`-th image of the whole pass, so that together the workers see,
/// step by step, what a single worker with a batch that much larger would. In the training splits
/// up to `shard.count - 1` images are left out to make the shards equal.
///
/// # Errors
/// A shard that there is not, or more images than an index can count.
pub fn pass_order(counts: &Counts, split: Split, shard: Shard, seed: u64) -> Result<Vec<u32>> {
    if shard.index >= shard.count {
        return Err(Error::config(format!("there is no shard {} of {} (they count from 0)", shard.index, shard.count)));
    }
    let train = index_range(counts.train)?;
    let order_seed = mix(seed, ORDER_STREAM);
    let mut whole = match split {
        Split::Train | Split::Plain => permutation(train, order_seed),
        Split::Fit => {
            let (_, mut fit) = validation_and_fit(train, counts.val);
            shuffle(&mut fit, order_seed);
            fit
        }
        Split::Val => validation_and_fit(train, counts.val).0,
        Split::Eval => (0..index_range(counts.eval)?).collect(),
    };
    let parts = shard.count as usize;
    if matches!(split, Split::Train | Split::Fit) {
        whole.truncate(whole.len() / parts * parts);
    }
    Ok(match parts {
        1 => whole,
        _ => whole.into_iter().skip(shard.index as usize).step_by(parts).collect(),
    })
}

/// The training images divided into those kept for validation and the rest, both in ascending
/// order.
fn validation_and_fit(train: u32, val: u64) -> (Vec<u32>, Vec<u32>) {
    let mut val_images = permutation(train, VALIDATION_SEED);
    let mut fit_images = val_images.split_off(val.min(u64::from(train)) as usize);
    val_images.sort_unstable();
    fit_images.sort_unstable();
    (val_images, fit_images)
}

fn index_range(count: u64) -> Result<u32> {
    u32::try_from(count).map_err(|_| Error::config(format!("{count} images are more than the {} supported", u32::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn sorted(mut order: Vec<u32>) -> Vec<u32> {
        order.sort_unstable();
        order
    }

    #[test]
    fn orders_do_not_change_with_the_release() {
        // A saved run is resumed in the order it began: these figures may only change with the file
        // format.
        assert_eq!(permutation(10, 0), [5, 8, 4, 3, 0, 7, 1, 6, 2, 9]);
    }

    #[test]
    fn every_position_is_equally_likely_for_every_image() {
        let mut seen = [[0u32; 5]; 5];
        for seed in 0..5000 {
            for (position, image) in permutation(5, mix(seed, 9)).into_iter().enumerate() {
                seen[position][image as usize] += 1;
            }
        }
        // 1000 expected, standard deviation 28.
        assert!(seen.iter().flatten().all(|count| (860..1140).contains(count)), "{seen:?}");
    }

    #[test]
    fn the_seed_changes_training_orders_and_no_other() {
        let counts = Counts { train: 200, val: 30, eval: 40 };
        let order = |split, seed| pass_order(&counts, split, Shard::WHOLE, seed).unwrap();
        for split in [Split::Train, Split::Fit, Split::Plain] {
            assert_ne!(order(split, 1), order(split, 2));
            assert_eq!(order(split, 1), order(split, 1));
        }
        for split in [Split::Val, Split::Eval] {
            assert_eq!(order(split, 1), order(split, 2));
        }
        assert_eq!(order(Split::Eval, 1), (0..40).collect::<Vec<_>>());
    }

    #[test]
    fn shards_that_are_not_there() {
        let counts = Counts { train: 10, val: 0, eval: 0 };
        for (index, count) in [(0, 0), (2, 2), (9, 3)] {
            let error = pass_order(&counts, Split::Train, Shard { index, count }, 0).unwrap_err();
            assert!(error.to_string().contains(&format!("no shard {index} of {count}")), "{error}");
        }
        let counts = Counts { train: 1 << 32, val: 0, eval: 0 };
        assert!(pass_order(&counts, Split::Train, Shard::WHOLE, 0).is_err());
    }

    proptest! {
        #[test]
        fn a_permutation_has_every_image_once(count in 0u32..300, seed: u64) {
            prop_assert_eq!(sorted(permutation(count, seed)), (0..count).collect::<Vec<_>>());
        }

        #[test]
        fn fit_and_val_divide_train(train in 0u64..300, val in 0u64..300, seed: u64) {
            let counts = Counts { train, val, eval: 0 };
            let order = |split| pass_order(&counts, split, Shard::WHOLE, seed).unwrap();
            let (fit, val_images) = (order(Split::Fit), order(Split::Val));
            prop_assert_eq!(val_images.len() as u64, val.min(train));
            prop_assert_eq!(sorted([fit, val_images].concat()), sorted(order(Split::Train)));
        }

        #[test]
        fn shards_partition_a_split(train in 0u64..200, eval in 0u64..200, count in 1u32..9, seed: u64) {
            let counts = Counts { train, val: train / 3, eval };
            for split in [Split::Train, Split::Fit, Split::Val, Split::Eval, Split::Plain] {
                let whole = pass_order(&counts, split, Shard::WHOLE, seed).unwrap();
                let parts: Vec<_> =
                    (0..count).map(|index| pass_order(&counts, split, Shard { index, count }, seed).unwrap()).collect();
                let together: BTreeSet<u32> = parts.iter().flatten().copied().collect();
                let total: usize = parts.iter().map(Vec::len).sum();
                prop_assert_eq!(together.len(), total, "an image twice");
                if matches!(split, Split::Train | Split::Fit) {
                    prop_assert!(parts.iter().all(|part| part.len() == whole.len() / count as usize));
                } else {
                    prop_assert_eq!(together, whole.iter().copied().collect::<BTreeSet<_>>());
                }
                for (step, image) in parts[0].iter().enumerate() {
                    prop_assert_eq!(*image, whole[step * count as usize]);
                }
            }
        }
    }
}
