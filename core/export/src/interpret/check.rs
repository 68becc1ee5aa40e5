//! What must hold of a model's tensors before its operators are looked at: sizes, constants,
//! numbers of quantization, and that every tensor is there when it is read.

use super::site;
use crate::tflite::model::{DType, Quantization, Tensor, TfliteModel};
use pocketflow::{Error, Result};

/// More values than this are not computed: 256 MiB of float32.
const MOST_VALUES: usize = 1 << 26;

/// Checks the tensors one by one, then the order in which they are computed.
pub(super) fn check(model: &TfliteModel) -> Result<()> {
    for (index, tensor) in model.tensors.iter().enumerate() {
        check_tensor(tensor)
            .map_err(|error| error.context(format!("tensor {index} ({:?}) is not valid", tensor.name)))?;
    }
    let mut known: Vec<bool> = model.tensors.iter().map(|tensor| tensor.data.is_some()).collect();
    for input in &model.inputs {
        define(&mut known, *input, || "the model's inputs".to_owned())?;
    }
    for (index, operator) in model.operators.iter().enumerate() {
        let place = || format!("operator {index} ({})", site::name(&operator.kind));
        for input in operator.inputs.iter().flatten() {
            require(&known, *input, place)?;
        }
        for output in &operator.outputs {
            define(&mut known, *output, place)?;
        }
    }
    if model.inputs.is_empty() || model.outputs.is_empty() {
        return Err(Error::failed("the model has no input or no output"));
    }
    model.outputs.iter().try_for_each(|output| require(&known, *output, || "the model's outputs".to_owned()))
}

fn require(known: &[bool], tensor: usize, place: impl Fn() -> String) -> Result<()> {
    match known.get(tensor) {
        Some(true) => Ok(()),
        Some(false) => Err(Error::failed(format!("{}: tensor {tensor} is read before anything computes it", place()))),
        None => Err(Error::failed(format!("{}: there is no tensor {tensor}", place()))),
    }
}

fn define(known: &mut [bool], tensor: usize, place: impl Fn() -> String) -> Result<()> {
    match known.get_mut(tensor) {
        Some(known @ false) => {
            *known = true;
            Ok(())
        }
        Some(true) => Err(Error::failed(format!("{}: tensor {tensor} is a constant or written twice", place()))),
        None => Err(Error::failed(format!("{}: there is no tensor {tensor}", place()))),
    }
}

fn check_tensor(tensor: &Tensor) -> Result<()> {
    let values = tensor.shape.iter().try_fold(1usize, |values, size| values.checked_mul(*size));
    let values = values
        .filter(|values| *values > 0)
        .ok_or_else(|| Error::failed(format!("its shape {:?} holds nothing or too much", tensor.shape)))?;
    match &tensor.data {
        Some(data) if values.checked_mul(tensor.dtype.size()) != Some(data.len()) => {
            let message =
                format!("{:?} of {:?} needs {values} values, it has {} bytes", tensor.dtype, tensor.shape, data.len());
            return Err(Error::failed(message));
        }
        None if values > MOST_VALUES => {
            return Err(Error::failed(format!("{values} values are more than the {MOST_VALUES} that are computed")));
        }
        _ => {}
    }
    match &tensor.quantization {
        Some(quantization) => check_quantization(quantization, tensor.dtype),
        None => Ok(()),
    }
}

fn check_quantization(quantization: &Quantization, dtype: DType) -> Result<()> {
    let Quantization { scales, zero_points, .. } = quantization;
    if scales.len() != zero_points.len() {
        return Err(Error::failed(format!("it has {} scales and {} zero points", scales.len(), zero_points.len())));
    }
    if let Some(scale) = scales.iter().find(|scale| !scale.is_normal() || **scale < 0.0) {
        return Err(Error::failed(format!("its scale {scale} is not a positive number")));
    }
    let range = match dtype {
        DType::Int8 => -128..=127,
        DType::Uint8 => 0..=255,
        DType::Float32 | DType::Int32 | DType::Int64 => i64::from(i32::MIN)..=i64::from(i32::MAX),
    };
    match zero_points.iter().find(|zero_point| !range.contains(zero_point)) {
        Some(zero_point) => Err(Error::failed(format!("its zero point {zero_point} is no code of {dtype:?}"))),
        None => Ok(()),
    }
}
