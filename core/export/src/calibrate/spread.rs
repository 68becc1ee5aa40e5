//! How the values of a tensor are spread, seen batch by batch in bounded memory, and the range that
//! a method takes from it.

use pocketflow::affine::Affine;
use serde::{Deserialize, Serialize};

/// How a range is chosen from the values that calibration images give.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// From the smallest to the largest value.
    MinMax,
    /// Cuts this share of the values, in percent, off: half at either end, or all at the far end of
    /// values that have one sign. In `[0, 50]`.
    Percentile(f64),
    /// The range whose grid has the least mean squared error, rounding and cutting together.
    #[default]
    Mse,
}

/// Bins on either side of zero.
const BINS: usize = 2048;
/// Ranges tried by [`Method::Mse`], as shares of the full one.
const SHARES: usize = 100;
/// The smallest share tried.
const LEAST_SHARE: f64 = 0.1;

/// A histogram around zero that widens, by doubling its bins, when a value lies beyond it.
#[derive(Debug, Clone, PartialEq)]
pub struct Spread {
    min: f32,
    max: f32,
    /// The histogram covers −reach to reach; 0 before the first value that is not 0.
    reach: f32,
    /// `2 · BINS` counts.
    counts: Vec<u64>,
    zeros: u64,
}

impl Default for Spread {
    fn default() -> Self {
        Self { min: 0.0, max: 0.0, reach: 0.0, counts: vec![0; 2 * BINS], zeros: 0 }
    }
}

impl Spread {
    /// Takes values in; those that are no finite numbers are left out.
    pub fn observe(&mut self, values: &[f32]) {
        let largest = values.iter().filter(|value| value.is_finite()).fold(0.0f32, |top, value| top.max(value.abs()));
        self.widen(largest);
        if self.reach == 0.0 {
            self.zeros += values.len() as u64;
            return;
        }
        let per_value = BINS as f32 / self.reach;
        for value in values.iter().filter(|value| value.is_finite()) {
            (self.min, self.max) = (self.min.min(*value), self.max.max(*value));
            if *value == 0.0 {
                self.zeros += 1;
                continue;
            }
            let bin = (value * per_value + BINS as f32) as usize;
            self.counts[bin.min(2 * BINS - 1)] += 1;
        }
    }

    /// Takes in what another has seen.
    pub fn merge(&mut self, mut other: Self) {
        self.widen(other.reach);
        other.widen(self.reach);
        (self.min, self.max) = (self.min.min(other.min), self.max.max(other.max));
        self.zeros += other.zeros;
        // Most bins are empty: what is not written to takes no memory, for each of many tensors.
        for (count, more) in self.counts.iter_mut().zip(other.counts).filter(|(_, more)| *more > 0) {
            *count += more;
        }
    }

    /// Doubles the reach until it covers `largest`. Reaches are powers of two, so that any two can
    /// be brought together.
    fn widen(&mut self, largest: f32) {
        if largest == 0.0 || largest <= self.reach {
            return;
        }
        if self.reach == 0.0 {
            self.reach = largest.log2().ceil().exp2().max(f32::MIN_POSITIVE);
        }
        while self.reach < largest && self.reach < f32::MAX / 4.0 {
            self.reach *= 2.0;
            let mut wider = vec![0; 2 * BINS];
            for (bin, count) in self.counts.iter().enumerate() {
                wider[(bin + BINS) / 2] += count;
            }
            self.counts = wider;
        }
    }

    /// The smallest and the largest value, and zero.
    pub fn ends(&self) -> [f32; 2] {
        [self.min, self.max]
    }

    /// The range for a grid of `bits` bits; it holds zero.
    pub fn range(&self, method: Method, bits: u32) -> [f32; 2] {
        match method {
            Method::MinMax => self.ends(),
            Method::Percentile(percent) => self.without(percent / 100.0),
            Method::Mse => self.least_error(bits),
        }
    }

    fn width(&self) -> f64 {
        f64::from(self.reach) / BINS as f64
    }

    /// The middle of a bin.
    fn middle(&self, bin: usize) -> f64 {
        (bin as f64 + 0.5 - BINS as f64) * self.width()
    }

    fn without(&self, share: f64) -> [f32; 2] {
        let total = self.zeros + self.counts.iter().sum::<u64>();
        let two_sided = self.min < 0.0 && self.max > 0.0;
        let budget = (share * total as f64 / if two_sided { 2.0 } else { 1.0 }) as u64;
        let mut left = budget;
        let mut min = self.min;
        for bin in 0..BINS {
            if self.counts[bin] > left {
                break;
            }
            left -= self.counts[bin];
            min = self.min.max(((bin + 1) as f64 * self.width() - f64::from(self.reach)) as f32);
        }
        let mut left = budget;
        let mut max = self.max;
        for bin in (BINS..2 * BINS).rev() {
            if self.counts[bin] > left {
                break;
            }
            left -= self.counts[bin];
            max = self.max.min((bin as f64 * self.width() - f64::from(self.reach)) as f32);
        }
        [min.min(0.0), max.max(0.0)]
    }

    fn least_error(&self, bits: u32) -> [f32; 2] {
        let shares = (0..SHARES).map(|step| 1.0 - (1.0 - LEAST_SHARE) * step as f64 / SHARES as f64);
        let ranges = shares.map(|share| [self.min, self.max].map(|end| (f64::from(end) * share) as f32));
        let best = ranges.map(|range| (self.error(range, bits), range)).min_by(|a, b| a.0.total_cmp(&b.0));
        best.map_or(self.ends(), |(_, range)| range)
    }

    /// Summed squared error on the grid of a range.
    fn error(&self, range: [f32; 2], bits: u32) -> f64 {
        let grid = Affine::of_range(range, bits);
        let [low, high] = grid.ends().map(f64::from);
        // Values within are spread evenly over a step.
        let rounding = f64::from(grid.scale).powi(2) / 12.0;
        let of_bin = |(bin, count): (usize, &u64)| {
            let middle = self.middle(bin);
            let cut = (low - middle).max(middle - high).max(0.0);
            *count as f64 * if cut > 0.0 { cut * cut } else { rounding }
        };
        self.counts.iter().enumerate().filter(|(_, count)| **count > 0).map(of_bin).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_rare_outlier_is_cut_where_it_pays() {
        let mut spread = Spread::default();
        let values: Vec<f32> = (0..10_000).map(|index| (index % 1000) as f32 / 1000.0).collect();
        spread.observe(&values);
        spread.observe(&[8.0]);
        assert_eq!(spread.range(Method::MinMax, 8), [0.0, 8.0]);
        let [_, max] = spread.range(Method::Percentile(0.1), 8);
        assert!((0.9..1.1).contains(&max), "{max}");
        let [_, max] = spread.range(Method::Mse, 3);
        assert!(max < 4.0, "with few bits: {max}");
        assert_eq!(spread.range(Method::Percentile(0.0), 8), [0.0, 8.0]);
    }

    #[test]
    fn nothing_and_what_is_no_number() {
        let mut spread = Spread::default();
        spread.observe(&[f32::NAN, f32::INFINITY, 0.0]);
        for method in [Method::MinMax, Method::Percentile(1.0), Method::Mse] {
            assert_eq!(spread.range(method, 8), [0.0, 0.0]);
        }
    }

    proptest! {
        #[test]
        fn order_and_cuts_do_not_matter(values in prop::collection::vec(-1e3f32..1e3, 2..100), cut in 1usize..99) {
            let (first, second) = values.split_at(cut.min(values.len() - 1));
            let (mut whole, mut a, mut b) = (Spread::default(), Spread::default(), Spread::default());
            whole.observe(&values);
            a.observe(second);
            b.observe(first);
            a.merge(b);
            prop_assert_eq!(&a.ends(), &whole.ends());
            for method in [Method::Percentile(5.0), Method::Mse] {
                let ([low, high], [min, max]) = (whole.range(method, 8), whole.ends());
                prop_assert!(min <= low && low <= 0.0 && 0.0 <= high && high <= max);
                let [other_low, other_high] = a.range(method, 8);
                // Bins that were doubled one by one may differ from those that were wide at once by
                // a bin.
                let slack = 0.05 * (max - min) + 1e-6;
                prop_assert!((low - other_low).abs() <= slack && (high - other_high).abs() <= slack);
            }
        }
    }
}
