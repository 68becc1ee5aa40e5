//! Plain numbers into tensors and out of them.

use crate::torch_error;
use pocketflow::{Error, Result};
use tch::Tensor;

/// Returns the values of a float tensor, in row-major order.
///
/// # Errors
/// A tensor of another type.
pub fn floats(tensor: &Tensor) -> Result<Vec<f32>> {
    let flat = tensor.detach().f_contiguous().and_then(|tensor| tensor.f_view([-1i64]));
    let flat = flat.map_err(|error| torch_error("read a tensor", &error))?;
    Vec::<f32>::try_from(flat).map_err(|error| torch_error("read a tensor", &error))
}

/// Writes one tensor's values into another of the same shape.
pub(crate) fn copy_into(tensor: &Tensor, source: &Tensor) -> Result<()> {
    if tensor.size() != source.size() {
        return Err(Error::failed(format!("a tensor {:?} for one of {:?}", source.size(), tensor.size())));
    }
    tch::no_grad(|| tensor.shallow_clone().f_copy_(source)).map_err(|error| torch_error("write a tensor", &error))
}

/// Writes values into a tensor of as many elements.
pub(crate) fn set_floats(tensor: &Tensor, values: &[f32]) -> Result<()> {
    if tensor.numel() != values.len() {
        return Err(Error::failed(format!("{} values for {:?}", values.len(), tensor.size())));
    }
    copy_into(tensor, &Tensor::from_slice(values).view(tensor.size().as_slice()))
}
