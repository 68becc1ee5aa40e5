//! Fully connected layers.

use super::window::count;
use super::{Operator, Placement, Role, Shape};
use serde::{Deserialize, Serialize};

/// Fully connected layer on the flattened input, weights `[out, in]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Linear {
    /// Outputs.
    pub out: usize,
    /// Whether a number is added to each output.
    pub bias: bool,
}

impl Operator for Linear {
    fn kind(&self) -> &'static str {
        "fc"
    }

    fn shape(&self, _: &[Shape]) -> Result<Shape, String> {
        Ok([self.out, 1, 1])
    }

    fn params(&self, inputs: &[Shape]) -> Vec<(Role, Vec<usize>)> {
        let bias = self.bias.then(|| (Role::Bias, vec![self.out]));
        [(Role::Weight, vec![self.out, count(&inputs[0])])].into_iter().chain(bias).collect()
    }

    fn multiply_adds(&self, inputs: &[Shape]) -> usize {
        count(&inputs[0]).saturating_mul(self.out)
    }

    fn bias_mut(&mut self) -> Option<&mut bool> {
        Some(&mut self.bias)
    }

    fn is_layer(&self) -> bool {
        true
    }

    fn placement(&self) -> Placement {
        Placement::BeforeClip
    }
}
