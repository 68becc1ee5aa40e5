//! Ranges of buckets that leave outliers out: at few bits, a grid from the smallest to the largest
//! weight spends its values on a few weights far out, and a narrower one has the smaller error.
//!
//! Weights are clipped to the range found before they are quantized. Then the range is that of the
//! weights themselves, and all that is defined by their minimum and maximum (training, storage,
//! loading) holds for clipped weights without knowing of clipping.

use crate::quant::{decode, encode};

/// From what the range of a bucket is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightRange {
    /// Its smallest and largest weight.
    #[default]
    MinMax,
    /// The range within these with the least mean squared difference between the weights and
    /// Q(weights).
    Mse,
}

/// Parts of the way from the mean to the ends that are tried: 1, 0.96, … 0.12.
const SHARES: i32 = 23;
const SHARE_STEP: f32 = 0.04;
/// What the weights of a layer are multiplied with: mean and variance of each weight's input. They
/// turn differences between weights into differences of the layer's results: of a filter with
/// differences d it is E[(d·x)²] = (Σ d mean)² + Σ d² variance, inputs taken for independent. A
/// mean of d that is not 0 counts far more than its square then, as inputs behind a ReLU are
/// positive.
#[derive(Debug, Clone, PartialEq)]
pub struct Inputs {
    /// Weights of a filter.
    pub filter: usize,
    /// For each weight of the layer.
    pub mean: Vec<f32>,
    /// For each weight of the layer, as `mean`.
    pub variance: Vec<f32>,
}

/// Clips each bucket to the range of the least squared error at so many bits: of the layer's
/// results where its inputs are known, else of its weights.
///
/// # Panics
/// Inputs of another number of weights.
pub fn clip(weights: &mut [f32], bits: u32, bucket_size: usize, inputs: Option<&Inputs>) {
    let size = bucket_size.max(1);
    for (index, bucket) in weights.chunks_mut(size).enumerate() {
        let inputs = inputs.map(|inputs| InputsOfBucket::new(inputs, index * size, bucket.len()));
        if let Some([min, max]) = best_range(bucket, bits, inputs.as_ref()) {
            bucket.iter_mut().for_each(|weight| *weight = weight.clamp(min, max));
        }
    }
}

/// [`Inputs`] of one bucket.
struct InputsOfBucket<'a> {
    filter: usize,
    /// Weights of a filter that begins before the bucket.
    rest: usize,
    mean: &'a [f32],
    variance: &'a [f32],
}

impl<'a> InputsOfBucket<'a> {
    fn new(inputs: &'a Inputs, start: usize, len: usize) -> Self {
        let filter = inputs.filter.max(1);
        let rest = (filter - start % filter) % filter;
        let part = start..start + len;
        Self { filter, rest: rest.min(len), mean: &inputs.mean[part.clone()], variance: &inputs.variance[part] }
    }

    /// Of the results, for differences of the weights.
    fn squared_error(&self, differences: impl Iterator<Item = f64>) -> f64 {
        let (mut total, mut shift) = (0.0, 0.0);
        for (index, difference) in differences.enumerate() {
            if index >= self.rest && (index - self.rest).is_multiple_of(self.filter) {
                total += shift * shift;
                shift = 0.0;
            }
            shift += difference * f64::from(self.mean[index]);
            total += difference * difference * f64::from(self.variance[index]);
        }
        total + shift * shift
    }
}

/// The range; `None` where the weights are constant or not finite.
fn best_range(bucket: &[f32], bits: u32, inputs: Option<&InputsOfBucket>) -> Option<[f32; 2]> {
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
        [from, to] if to > from => squared_error(bucket, from, to, bits, inputs),
        _ => f64::INFINITY,
    };
    // The error is no smooth function of the ends, the less so the fewer weights there are: nothing
    // less than all pairs will do.
    let pairs = (0..SHARES).flat_map(|low| (0..SHARES).map(move |high| (low, high)));
    let errors = pairs.map(|ends| (ends, error(ends)));
    let (best, _) = errors.min_by(|a, b| a.1.total_cmp(&b.1))?;
    Some(range(best))
}

fn squared_error(bucket: &[f32], from: f32, to: f32, bits: u32, inputs: Option<&InputsOfBucket>) -> f64 {
    let alpha = to - from;
    let differences =
        bucket.iter().map(|weight| f64::from(decode(encode(*weight, alpha, from, bits), alpha, from, bits) - weight));
    match inputs {
        Some(inputs) => inputs.squared_error(differences),
        None => differences.map(|difference| difference * difference).sum(),
    }
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
        clip(&mut clipped, 2, 201, None);
        assert!(clipped[200] < 0.5, "{}", clipped[200]);
        assert!(error(&weights, &clipped, 2, 201) < 0.8 * error(&weights, &weights, 2, 201));
    }

    #[test]
    fn what_has_no_range_stays() {
        for mut weights in [vec![0.3; 5], vec![f32::NAN, 1.0], vec![f32::INFINITY, 0.0], vec![2.0]] {
            let before = weights.clone();
            clip(&mut weights, 2, 10, None);
            assert_eq!(format!("{before:?}"), format!("{weights:?}"));
        }
    }

    #[test]
    fn a_mean_of_the_inputs_makes_differences_add_up() {
        let inputs = Inputs { filter: 2, mean: vec![1.0, 2.0, 3.0, 4.0, 5.0], variance: vec![0.1, 0.2, 0.3, 0.4, 0.5] };
        let error = |start: usize, differences: &[f64]| {
            InputsOfBucket::new(&inputs, start, differences.len()).squared_error(differences.iter().copied())
        };
        // Filters of weights 0 and 1, and 2 and 3.
        let both = (0.5f64 + 2.0).powi(2) + (3.0f64 - 8.0).powi(2) + 0.25 * 0.1 + 0.2 + 0.3 + 4.0 * 0.4;
        assert!((error(0, &[0.5, 1.0, 1.0, -2.0]) - both).abs() < 1e-6);
        // A bucket that begins within a filter.
        let within = 2.0f64.powi(2) + (3.0f64 - 4.0).powi(2) + 0.2 + 0.3 + 0.4;
        assert!((error(1, &[1.0, 1.0, -1.0]) - within).abs() < 1e-6);
    }

    proptest! {
        #[test]
        fn never_worse_than_the_whole_range(
            weights in prop::collection::vec(-3f32..3.0, 1..120),
            bits in 1u32..8,
            size in 1usize..40,
        ) {
            let mut clipped = weights.clone();
            clip(&mut clipped, bits, size, None);
            let (whole, narrow) = (error(&weights, &weights, bits, size), error(&weights, &clipped, bits, size));
            prop_assert!(narrow <= whole * (1.0 + 1e-5) + 1e-9, "{narrow} {whole}");
        }

        /// Where the inputs are known, the results are at least as near as with ranges that suit
        /// the weights.
        #[test]
        fn known_inputs_serve_the_results(
            weights in prop::collection::vec(-3f32..3.0, 4..60),
            bits in 2u32..6,
            mean in 0f32..2.0,
            variance in 0.1f32..2.0,
        ) {
            let n = weights.len();
            let inputs = Inputs { filter: n, mean: vec![mean; n], variance: vec![variance; n] };
            let error = |clipped: &[f32]| {
                let values = quantize(clipped, bits, n, Grid::MinMax).unwrap().values();
                let differences = values.iter().zip(&weights).map(|(q, x)| f64::from(q - x));
                InputsOfBucket::new(&inputs, 0, n).squared_error(differences)
            };
            let (mut by_weights, mut by_results) = (weights.clone(), weights.clone());
            clip(&mut by_weights, bits, n, None);
            clip(&mut by_results, bits, n, Some(&inputs));
            let errors = [&weights, &by_weights, &by_results].map(|clipped| error(clipped));
            prop_assert!(errors[2] <= errors[0].min(errors[1]) * (1.0 + 1e-3) + 1e-6, "{errors:?}");
        }
    }
}
