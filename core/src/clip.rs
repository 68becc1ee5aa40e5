//! Ranges of buckets that leave outliers out: at few bits, a grid from the smallest to the largest weight spends its values on a few weights
//! far out, and a narrower one has the smaller error.
//!
//! Weights are clipped to the range found before they are quantized. Then the range is that of the weights themselves, and all that is
//! defined by their minimum and maximum (training, storage, loading) holds for clipped weights without knowing of clipping.

use crate::quant::{decode, encode};

/// From what the range of a bucket is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightRange {
    /// Its smallest and largest weight.
    #[default]
    MinMax,
    /// The range within these with the least mean squared difference between the weights and Q(weights).
    Mse,
}

/// Parts of the way from the mean to the ends that are tried: 1, 0.96, … 0.12.
const SHARES: i32 = 23;
const SHARE_STEP: f32 = 0.04;
/// Shares around the best common one that each end alone is tried at.
const AROUND: i32 = 4;

/// Clips each bucket to the range of the least squared error at so many bits.
pub fn clip(weights: &mut [f32], bits: u32, bucket_size: usize) {
    for bucket in weights.chunks_mut(bucket_size.max(1)) {
        if let Some([min, max]) = best_range(bucket, bits) {
            bucket.iter_mut().for_each(|weight| *weight = weight.clamp(min, max));
        }
    }
}

/// The range; `None` where the weights are constant or not finite. First both ends move together towards the mean, then each alone.
fn best_range(bucket: &[f32], bits: u32) -> Option<[f32; 2]> {
    let min = bucket.iter().copied().fold(f32::INFINITY, f32::min);
    let max = bucket.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if !(max - min).is_finite() || max <= min || bucket.iter().any(|weight| weight.is_nan()) {
        return None;
    }
    let mean = (bucket.iter().map(|weight| f64::from(*weight)).sum::<f64>() / bucket.len() as f64) as f32;
    let end = |end: f32, index: i32| match index {
        // The end itself, not what rounding makes of it.
        0 => end,
        index => mean + (1.0 - SHARE_STEP * index as f32) * (end - mean),
    };
    let range = |(low, high): (i32, i32)| [end(min, low), end(max, high)];
    let error = |ends: (i32, i32)| match range(ends) {
        [from, to] if to > from => squared_error(bucket, from, to, bits),
        _ => f64::INFINITY,
    };
    let least = |candidates: Vec<(i32, i32)>| {
        let errors = candidates.into_iter().map(|ends| (ends, error(ends)));
        errors.min_by(|a, b| a.1.total_cmp(&b.1)).map_or((0, 0), |(ends, _)| ends)
    };
    let (mut low, mut high) = least((0..SHARES).map(|index| (index, index)).collect());
    for _ in 0..2 {
        (low, high) = least(around(low).map(|index| (index, high)).collect());
        (low, high) = least(around(high).map(|index| (low, index)).collect());
    }
    Some(range((low, high)))
}

fn around(index: i32) -> std::ops::Range<i32> {
    (index - AROUND).max(0)..(index + AROUND + 1).min(SHARES)
}

fn squared_error(bucket: &[f32], from: f32, to: f32, bits: u32) -> f64 {
    let alpha = to - from;
    let error =
        |weight: &f32| f64::from(decode(encode(*weight, alpha, from, bits), alpha, from, bits) - weight).powi(2);
    bucket.iter().map(error).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::{Grid, quantize};
    use proptest::prelude::*;

    fn error(before: &[f32], quantized: &[f32], bits: u32, size: usize) -> f64 {
        let values = quantize(quantized, bits, size, Grid::MinMax).unwrap().values();
        before.iter().zip(values).map(|(x, q)| f64::from(x - q).powi(2)).sum()
    }

    #[test]
    fn an_outlier_is_left_out_at_two_bits() {
        let mut weights: Vec<f32> = (0..200).map(|index| (index as f32 / 100.0 - 1.0) * 0.1).collect();
        weights.push(1.0);
        let mut clipped = weights.clone();
        clip(&mut clipped, 2, 201);
        assert!(clipped[200] < 0.5, "{}", clipped[200]);
        assert!(error(&weights, &clipped, 2, 201) < 0.8 * error(&weights, &weights, 2, 201));
    }

    #[test]
    fn what_has_no_range_stays() {
        for mut weights in [vec![0.3; 5], vec![f32::NAN, 1.0], vec![f32::INFINITY, 0.0], vec![2.0]] {
            let before = weights.clone();
            clip(&mut weights, 2, 10);
            assert_eq!(format!("{before:?}"), format!("{weights:?}"));
        }
    }

    proptest! {
        #[test]
        fn never_worse_than_the_whole_range(
            weights in prop::collection::vec(-3f32..3.0, 1..120),
            bits in 1u32..8,
            size in 1usize..40,
        ) {
            let mut clipped = weights.clone();
            clip(&mut clipped, bits, size);
            let (whole, narrow) = (error(&weights, &weights, bits, size), error(&weights, &clipped, bits, size));
            prop_assert!(narrow <= whole * (1.0 + 1e-5) + 1e-9, "{narrow} {whole}");
        }
    }
}
