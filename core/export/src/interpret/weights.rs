//! The weights of a layer as numbers, their zero points taken off.

use super::arithmetic::Rescale;
use super::data::{Code, Data};
use super::site::Site;
use crate::tflite::model::{DType, Quantization, Tensor};
use pocketflow::Result;

/// The filter of an operator in float32.
pub(super) fn floats(site: &Site, filter: &Tensor) -> Result<Vec<f32>> {
    match site.constant(filter)? {
        Data::Float(values) => Ok(values),
        other => Err(site.error(format!("its weights must be float32 as its input is, they are {:?}", other.dtype()))),
    }
}

/// The filter of an operator as code − zero point, and its scales: one, or one for each slice of
/// `axis`.
pub(super) fn integers<T: Code>(site: &Site, filter: &Tensor, axis: usize) -> Result<(Vec<i32>, Vec<f32>)> {
    let Some(Quantization { scales, zero_points, axis: along, .. }) = &filter.quantization else {
        return Err(site.error(format!("its weights {:?} have no scale", filter.name)));
    };
    let slices = filter.shape.get(axis).copied().unwrap_or_default();
    if scales.len() != 1 && (T::DTYPE == DType::Uint8 || *along != axis || scales.len() != slices) {
        let message = format!("its weights have {} scales along dimension {along}, 1 is expected", scales.len());
        let or = if T::DTYPE == DType::Int8 { format!(" or {slices} along {axis}") } else { String::new() };
        return Err(site.error(message + &or));
    }
    let zero_point = zero_points.first().copied().unwrap_or_default();
    if T::DTYPE == DType::Int8 && zero_points.iter().any(|zero_point| *zero_point != 0) {
        return Err(site.error("its int8 weights must have the zero point 0"));
    }
    let data = site.constant(filter)?;
    let Some(codes) = T::slice(&data) else {
        return Err(site.error(format!(
            "its weights must be {:?} as its input is, they are {:?}",
            T::DTYPE,
            data.dtype()
        )));
    };
    Ok((codes.iter().map(|code| code.widen() - zero_point as i32).collect(), scales.clone()))
}

/// How convolutions and depthwise convolutions of codes T rescale.
pub(super) fn rescale<T: Code>() -> Rescale {
    match T::DTYPE {
        DType::Uint8 => Rescale::SingleProduct,
        _ => Rescale::DoubleProduct,
    }
}
