//! The agent's randomness: one generator whose state is saved with the rest. The distributions are
//! written out here because a resumed search must not change with the release of a random-number
//! library.

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng as _, SeedableRng as _};
use serde::{Deserialize, Serialize};
use std::f64::consts::TAU;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Random(Pcg64Mcg);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(Pcg64Mcg::seed_from_u64(seed))
    }

    /// Uniform in `0..1`, a multiple of 2^-24.
    pub fn unit(&mut self) -> f32 {
        (self.0.next_u32() >> 8) as f32 / (1u32 << 24) as f32
    }

    /// Uniform in `-1..1`.
    pub fn signed(&mut self) -> f32 {
        2.0 * self.unit() - 1.0
    }

    /// Mean 0, standard deviation 1, by Box and Muller.
    pub fn normal(&mut self) -> f32 {
        // 1 − u is never 0, whose logarithm is none.
        let radius = (-2.0 * (1.0 - f64::from(self.unit())).ln()).sqrt();
        (radius * (TAU * f64::from(self.unit())).cos()) as f32
    }

    /// Uniform in `0..count`, up to a bias below `count / 2^64`.
    pub fn below(&mut self, count: usize) -> usize {
        ((u128::from(self.0.next_u64()) * count as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_distributions() {
        let mut random = Random::new(1);
        let count = 100_000;
        let moments = |values: Vec<f32>| {
            let mean = values.iter().map(|value| f64::from(*value)).sum::<f64>() / f64::from(count);
            let square = values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>() / f64::from(count);
            (mean, square - mean * mean)
        };
        let (mean, variance) = moments((0..count).map(|_| random.normal()).collect());
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.03, "{mean} {variance}");
        let (mean, variance) = moments((0..count).map(|_| random.signed()).collect());
        assert!(mean.abs() < 0.02 && (variance - 1.0 / 3.0).abs() < 0.01, "{mean} {variance}");
        let mut seen = [0u32; 7];
        (0..7000).for_each(|_| seen[random.below(7)] += 1);
        assert!(seen.iter().all(|count| (850..1150).contains(count)), "{seen:?}");
    }

    #[test]
    fn draws_do_not_change_with_the_release() {
        // A saved search goes on with the same draws: these figures may only change with the
        // version of saved states.
        let mut random = Random::new(0);
        let draws: Vec<usize> = (0..8).map(|_| random.below(100)).collect();
        assert_eq!(draws, [33, 83, 35, 67, 15, 39, 3, 27]);
    }
}
