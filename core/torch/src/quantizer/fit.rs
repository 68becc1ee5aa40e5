//! The step that a learned quantizer begins with: that of the least squared error.

/// Each candidate is smaller than the one before by so much.
const RATIO: f64 = 0.97;
/// The last candidate is 5 % of the first.
const CANDIDATES: i32 = 100;
/// Bins of a [`Spread`].
pub const BINS: usize = 2048;

/// Returns the step s that makes Σ weight · (v − s · round(clip(v / s, −below, above)))² least,
/// over `(v, weight)`; `None` where all that counts is 0. Candidates are those of the whole range
/// and smaller ones.
pub fn best_step(points: &[(f64, f64)], below: f64, above: f64) -> Option<f32> {
    let needed = |(value, weight): &(f64, f64)| match *value {
        _ if *weight <= 0.0 => 0.0,
        value if value < 0.0 && below > 0.0 => -value / below,
        value if value > 0.0 && above > 0.0 => value / above,
        _ => 0.0,
    };
    let widest = points.iter().map(needed).fold(0.0, f64::max);
    let error = |step: f64| -> f64 {
        let squared = |(value, weight): &(f64, f64)| {
            weight * (value - step * (value / step).clamp(-below, above).round_ties_even()).powi(2)
        };
        points.iter().map(squared).sum()
    };
    let usable = |step: &f64| (*step as f32).is_normal();
    let candidates = (0..CANDIDATES).map(|power| widest * RATIO.powi(power)).filter(usable);
    let errors = candidates.map(|step| (error(step), step));
    errors.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, step)| step as f32)
}

/// How values are spread: counts in bins of equal width.
#[derive(Debug, Clone, PartialEq)]
pub struct Spread {
    min: f64,
    max: f64,
    counts: Vec<f64>,
}

impl Spread {
    /// Nothing, over a range to be counted in.
    pub fn over([min, max]: [f64; 2]) -> Self {
        Self { min, max, counts: vec![0.0; BINS] }
    }

    /// Returns the smallest and the largest value that it can hold.
    pub fn range(&self) -> [f64; 2] {
        [self.min, self.max]
    }

    /// Adds counts of the [`BINS`] bins.
    pub fn add(&mut self, counts: &[f32]) {
        for (count, more) in self.counts.iter_mut().zip(counts) {
            *count += f64::from(*more);
        }
    }

    /// Returns the step of the least squared error with codes 0 to `top`, and how many of the codes
    /// lie below zero, so that the smallest value is on the grid: 0 where none is negative. Step 1
    /// where all values are 0.
    pub fn step(&self, top: f64) -> (f32, f64) {
        let width = (self.max - self.min) / BINS as f64;
        let middle = |bin: usize| self.min + (bin as f64 + 0.5) * width;
        let points: Vec<(f64, f64)> = self
            .counts
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0.0)
            .map(|(bin, count)| (middle(bin), *count))
            .collect();
        let share = if self.max > self.min { (-self.min / (self.max - self.min)).clamp(0.0, 1.0) } else { 0.0 };
        let below = (share * top).round();
        let below = if self.min < 0.0 { below.max(1.0).min(top - 1.0) } else { 0.0 };
        (best_step(&points, below, top - below).unwrap_or(1.0), below)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_on_a_grid_are_met() {
        let points: Vec<(f64, f64)> = (-2..=1).map(|code| (f64::from(code) * 0.25, 1.0)).collect();
        assert_eq!(best_step(&points, 2.0, 1.0), Some(0.25));
        assert_eq!(best_step(&[(0.0, 3.0)], 2.0, 1.0), None);
        assert_eq!(best_step(&[], 2.0, 1.0), None);
    }

    #[test]
    fn an_outlier_is_clipped() {
        let mut points: Vec<(f64, f64)> = (0..1000).map(|index| (f64::from(index) / 1000.0, 1.0)).collect();
        points.push((10.0, 1.0));
        let step = best_step(&points, 0.0, 3.0).unwrap();
        assert!(step < 1.0, "{step}: three steps up to 10 would be 3.3");
    }

    #[test]
    fn a_spread_knows_its_zero() {
        let mut spread = Spread::over([-0.375, 2.625]);
        spread.add(&[1.0; BINS]);
        let (step, below) = spread.step(15.0);
        assert_eq!(below, 2.0);
        assert!((0.15..0.25).contains(&step), "{step}");
        assert_eq!(Spread::over([0.0, 0.0]).step(15.0), (1.0, 0.0), "nothing but zeros");
        let mut positive = Spread::over([0.0, 3.0]);
        positive.add(&[1.0; BINS]);
        assert_eq!(positive.step(3.0).1, 0.0);
    }

    proptest! {
        #[test]
        fn no_step_is_better(values in prop::collection::vec(-2.0f64..2.0, 1..60), bits in 2u32..6, other in 0.06f64..1.0) {
            let points: Vec<(f64, f64)> = values.iter().map(|value| (*value, 1.0)).collect();
            let below = f64::from(1 << (bits - 1));
            let above = below - 1.0;
            let code = |value: f64, step: f64| (value / step).clamp(-below, above).round_ties_even();
            let error = |step: f64| -> f64 { values.iter().map(|v| (v - step * code(*v, step)).powi(2)).sum() };
            let Some(best) = best_step(&points, below, above) else { return Ok(()) };
            let widest = values.iter().map(|v| if *v < 0.0 { -v / below } else { v / above }).fold(0.0, f64::max);
            let other = other * widest;
            // The next larger candidate with the codes of `other` is farther from each value by at
            // most 1/0.97 - 1 of the value on the grid, and its own codes are no worse.
            let size = values.iter().map(|v| (other * code(*v, other)).powi(2)).sum::<f64>().sqrt();
            let bound = error(other).sqrt() + (1.0 / RATIO - 1.0) * size;
            prop_assert!(error(f64::from(best)).sqrt() <= bound * (1.0 + 1e-6) + 1e-6);
        }
    }
}
