//! States standardised by the mean and variance of those seen so far, so that layer counts, bits
//! and shapes weigh alike.

use serde::{Deserialize, Serialize};

/// Standardised values beyond this many standard deviations are cut: a state unlike all before must
/// not blow up a network.
const LIMIT: f32 = 5.0;
/// Added to the variance: a value that never changed standardises to 0, and differences near
/// rounding stay small.
const FLOOR: f64 = 1e-6;

/// Running mean and sum of squared deviations per value (Welford 1962), in f64 so that they do not
/// drift.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Normaliser {
    count: u64,
    mean: Vec<f64>,
    squares: Vec<f64>,
}

impl Normaliser {
    pub fn new(values: usize) -> Self {
        Self { count: 0, mean: vec![0.0; values], squares: vec![0.0; values] }
    }

    /// Takes a state into the statistics.
    pub fn observe(&mut self, state: &[f32]) {
        self.count = self.count.saturating_add(1);
        for ((value, mean), squares) in state.iter().zip(&mut self.mean).zip(&mut self.squares) {
            let delta = f64::from(*value) - *mean;
            *mean += delta / self.count as f64;
            *squares += delta * (f64::from(*value) - *mean);
        }
    }

    /// Appends the standardised state to `out`; before anything was observed the state itself, cut.
    pub fn apply(&self, state: &[f32], out: &mut Vec<f32>) {
        let count = self.count.max(1) as f64;
        let statistics = self.mean.iter().zip(&self.squares);
        out.extend(state.iter().zip(statistics).map(|(value, (mean, squares))| {
            let deviation = match self.count {
                0 => 1.0,
                _ => (squares / count + FLOOR).sqrt(),
            };
            (((f64::from(*value) - mean) / deviation) as f32).clamp(-LIMIT, LIMIT)
        }));
    }

    /// It is for states of this many values.
    pub fn fits(&self, values: usize) -> bool {
        self.mean.len() == values && self.squares.len() == values
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_seen_has_mean_0_and_variance_1(
            states in prop::collection::vec(-1e3f32..1e3, 5..200),
            offset in -1e5f32..1e5,
        ) {
            let mut normaliser = Normaliser::new(1);
            let states: Vec<f32> = states.iter().map(|state| state + offset).collect();
            states.iter().for_each(|state| normaliser.observe(&[*state]));
            let mut out = Vec::new();
            states.iter().for_each(|state| normaliser.apply(&[*state], &mut out));
            let count = out.len() as f32;
            prop_assert!(out.iter().all(|value| value.abs() <= LIMIT));
            if out.iter().all(|value| value.abs() < LIMIT) {
                let mean = out.iter().sum::<f32>() / count;
                let variance = out.iter().map(|value| value * value).sum::<f32>() / count;
                prop_assert!(mean.abs() < 1e-2, "{mean}");
                prop_assert!((variance - 1.0).abs() < 2e-2, "{variance}");
            }
        }
    }

    #[test]
    fn a_constant_is_zero() {
        let mut normaliser = Normaliser::new(2);
        for value in [1.0, 2.0, 3.0] {
            normaliser.observe(&[7.0, value]);
        }
        let mut out = Vec::new();
        normaliser.apply(&[7.0, 2.0], &mut out);
        assert_eq!(out, [0.0, 0.0]);
    }
}
