//! Sums with a constant.

use super::Forward;
use pocketflow::graph::AddConstant;
use tch::{TchError, Tensor};

impl Forward for AddConstant {
    fn forward(&self, inputs: &[&Tensor], _params: &[Tensor]) -> Result<Tensor, TchError> {
        let values = Tensor::f_from_slice(&self.values)?.f_view([1, -1, 1, 1])?;
        inputs[0].f_add(&values.f_to_device(inputs[0].device())?.f_to_kind(inputs[0].kind())?)
    }
}
