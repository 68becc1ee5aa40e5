//! Between real numbers and what tensors hold: how images enter a model and logits leave it,
//! whatever its type.

use super::data::{Code, Data};
use super::{Interpreter, expect};
use crate::tflite::model::{DType, Tensor};
use pocketflow::{Error, Result};

impl Interpreter {
    /// Real values as a tensor holds them: unchanged in float32, else the nearest codes of its
    /// grid.
    ///
    /// # Errors
    /// `Failed` where there is no such tensor, their number differs from its shape's or it has no
    /// scale of its own.
    pub fn encode(&self, tensor: usize, values: &[f32]) -> Result<Data> {
        let info = self.tensor(tensor)?;
        let data = match info.dtype {
            DType::Float32 => Data::Float(values.to_vec()),
            DType::Int8 => Data::Int8(codes(info, values)?),
            DType::Uint8 => Data::Uint8(codes(info, values)?),
            other => return Err(Error::failed(format!("{:?} holds {other:?}, no real values", info.name))),
        };
        expect(info, &data)?;
        Ok(data)
    }

    /// What a tensor's values stand for.
    ///
    /// # Errors
    /// `Failed` where there is no such tensor, the values are not of its type and number or it has
    /// no scale of its own.
    pub fn decode(&self, tensor: usize, data: &Data) -> Result<Vec<f32>> {
        let info = self.tensor(tensor)?;
        expect(info, data)?;
        let real = |code: i32, (scale, zero_point): (f32, i32)| scale * (code - zero_point) as f32;
        Ok(match data {
            Data::Float(values) => values.clone(),
            Data::Int8(codes) => {
                let grid = grid(info)?;
                codes.iter().map(|code| real(code.widen(), grid)).collect()
            }
            Data::Uint8(codes) => {
                let grid = grid(info)?;
                codes.iter().map(|code| real(code.widen(), grid)).collect()
            }
            Data::Int32(_) => return Err(Error::failed(format!("{:?} holds int32, no real values", info.name))),
        })
    }

    fn tensor(&self, index: usize) -> Result<&Tensor> {
        self.tensors().get(index).ok_or_else(|| Error::failed(format!("the model has no tensor {index}")))
    }
}

fn codes<T: Code>(tensor: &Tensor, values: &[f32]) -> Result<Vec<T>> {
    let (scale, zero_point) = grid(tensor)?;
    Ok(values.iter().map(|value| T::encode(*value, scale, zero_point)).collect())
}

/// Scale and zero point.
fn grid(tensor: &Tensor) -> Result<(f32, i32)> {
    match tensor.quantization.as_ref().map(|q| (&q.scales[..], &q.zero_points[..])) {
        Some(([scale], [zero_point])) => Ok((*scale, *zero_point as i32)),
        _ => Err(Error::failed(format!("{:?} of {:?} has no scale of its own", tensor.name, tensor.dtype))),
    }
}
