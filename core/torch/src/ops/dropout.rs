//! Dropout, of which only training sees something. What is dropped is drawn from a seed that the
//! values themselves give: a training that was interrupted and goes on drops the same, without a
//! state to be saved.

use super::Forward;
use crate::kernels::Generator;
use pocketflow::graph::Dropout;
use tch::{Kind, TchError, Tensor};

impl Forward for Dropout {
    fn forward(&self, inputs: &[&Tensor], _params: &[Tensor]) -> Result<Tensor, TchError> {
        Ok(inputs[0].shallow_clone())
    }

    fn train(&self, inputs: &[&Tensor], _params: &[Tensor]) -> Result<Tensor, TchError> {
        let input = inputs[0];
        let sum = input.f_detach()?.f_sum(Kind::Double)?.f_double_value(&[])?;
        // libtorch's generator reads the lower half of its seed alone: all bits get there.
        let seed = sum.to_bits().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let mut generator = Generator::new(seed).map_err(|error| TchError::Kind(error.to_string()))?;
        let drawn = generator.uniform(&input.size()).map_err(|error| TchError::Kind(error.to_string()))?;
        let kept = drawn.f_ge(self.probability)?.f_to_device(input.device())?.f_to_kind(input.kind())?;
        input.f_mul(&kept.f_div_scalar(1.0 - self.probability)?)
    }
}
