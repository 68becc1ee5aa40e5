//! What a reward is compared with before the critic learns from it. All transitions of a roll-out
//! share its reward, and rewards of a good network differ in their last digits; less a baseline and
//! in units of their own spread, the differences are what the critic sees.

use serde::{Deserialize, Serialize};

/// Spreads below this count as none.
const SMALLEST_SPREAD: f64 = 1e-6;

/// An exponential moving average of the rewards (`ddpg_bsln_decy_rate`), and the standard deviation
/// of all of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    average: f64,
    count: u64,
    mean: f64,
    squares: f64,
}

impl Baseline {
    pub fn new() -> Self {
        Self { average: 0.0, count: 0, mean: 0.0, squares: 0.0 }
    }

    /// Takes in the reward of a roll-out; the first one is the first average.
    pub fn observe(&mut self, reward: f32, decay: f64) {
        let reward = f64::from(reward);
        self.average = match self.count {
            0 => reward,
            _ => decay * self.average + (1.0 - decay) * reward,
        };
        self.count = self.count.saturating_add(1);
        let delta = reward - self.mean;
        self.mean += delta / self.count as f64;
        self.squares += delta * (reward - self.mean);
    }

    /// The reward less the average, in standard deviations of all rewards so far.
    pub fn advantage(&self, reward: f32) -> f32 {
        let spread = (self.squares / self.count.max(1) as f64).sqrt().max(SMALLEST_SPREAD);
        ((f64::from(reward) - self.average) / spread) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_follows_and_the_spread_scales() {
        let mut baseline = Baseline::new();
        baseline.observe(1.0, 0.5);
        assert_eq!(baseline.advantage(1.0), 0.0);
        baseline.observe(3.0, 0.5);
        // Average 2, deviation 1.
        assert_eq!(baseline.advantage(2.0), 0.0);
        assert_eq!(baseline.advantage(4.0), 2.0);
        baseline.observe(6.0, 0.5);
        assert_eq!(baseline.advantage(4.0), 0.0);
    }

    #[test]
    fn equal_rewards_are_no_advantage() {
        let mut baseline = Baseline::new();
        (0..10).for_each(|_| baseline.observe(0.1, 0.95));
        assert!(baseline.advantage(0.1).abs() < 1e-3);
    }
}
