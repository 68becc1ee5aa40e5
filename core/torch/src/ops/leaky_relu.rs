//! The rectified linear unit that leaks.

use super::Forward;
use pocketflow::graph::LeakyRelu;
use tch::{Kind, TchError, Tensor};

impl Forward for LeakyRelu {
    /// As PReLU with one slope, since tch gives `leaky_relu` none.
    fn forward(&self, inputs: &[&Tensor], _params: &[Tensor]) -> Result<Tensor, TchError> {
        let slope = Tensor::f_full([1], f64::from(self.slope), (Kind::Float, inputs[0].device()))?;
        inputs[0].f_prelu(&slope.f_to_kind(inputs[0].kind())?)
    }
}
