//! Adam (Kingma and Ba 2015, arXiv 1412.6980, algorithm 1) over the flat parameters of a network.

use serde::{Deserialize, Serialize};

const BETA1: f32 = 0.9;
const BETA2: f32 = 0.999;
const EPSILON: f32 = 1e-8;

/// The moments of the gradient, and how many updates they hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Adam {
    first: Vec<f32>,
    second: Vec<f32>,
    updates: i32,
}

impl Adam {
    pub fn new(parameters: usize) -> Self {
        Self { first: vec![0.0; parameters], second: vec![0.0; parameters], updates: 0 }
    }

    /// Moves `values` one step against `gradient`; both as long as the parameters.
    pub fn update(&mut self, values: &mut [f32], gradient: &[f32], rate: f32) {
        self.updates = self.updates.saturating_add(1);
        // The corrections for moments that began at zero, folded into the step.
        let unbiased = (1.0 - BETA2.powi(self.updates)).sqrt();
        let step = rate * unbiased / (1.0 - BETA1.powi(self.updates));
        let moments = self.first.iter_mut().zip(&mut self.second);
        for ((value, gradient), (first, second)) in values.iter_mut().zip(gradient).zip(moments) {
            *first += (1.0 - BETA1) * (gradient - *first);
            *second += (1.0 - BETA2) * (gradient * gradient - *second);
            *value -= step * *first / (second.sqrt() + EPSILON * unbiased);
        }
    }

    /// It is for this many parameters.
    pub fn fits(&self, parameters: usize) -> bool {
        self.first.len() == parameters && self.second.len() == parameters && self.updates >= 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_step_is_the_rate_whatever_the_gradient() {
        let mut values = [1.0f32, 1.0, 1.0];
        Adam::new(3).update(&mut values, &[1e-3, -5.0, 0.0], 0.1);
        for (value, expected) in values.iter().zip([0.9, 1.1, 1.0]) {
            assert!((value - expected).abs() < 1e-4, "{values:?}");
        }
    }

    #[test]
    fn it_finds_the_bottom_of_a_bowl() {
        let mut values = [3.0f32, -2.0];
        let mut adam = Adam::new(2);
        for _ in 0..2000 {
            let gradient = [2.0 * (values[0] - 1.0), 200.0 * (values[1] - 0.5)];
            adam.update(&mut values, &gradient, 0.01);
        }
        assert!((values[0] - 1.0).abs() < 1e-2 && (values[1] - 0.5).abs() < 1e-2, "{values:?}");
    }
}
