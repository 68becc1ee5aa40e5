//! `.safetensors`: a JSON table and the bytes behind it (<https://github.com/huggingface/safetensors>). The crate of the
//! format checks that the table fits the file, byte for byte.

use crate::element::Element;
use crate::error::WeightsError;
use crate::{LoadedTensor, Tensors};
use ::safetensors::{Dtype, SafeTensors};
use std::io::Read;

/// Reads a whole file.
///
/// # Errors
/// A table that does not fit the file; a type of number that no weights are stored in.
pub fn read(mut file: impl Read) -> Result<Tensors, WeightsError> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let stored = SafeTensors::deserialize(&bytes).map_err(|error| WeightsError::Malformed(error.to_string()))?;
    stored
        .iter()
        .map(|(name, view)| {
            let element = element(view.dtype()).ok_or_else(|| WeightsError::Tensor {
                name: name.into(),
                problem: format!("holds numbers of type {:?}, which no weights are imported from", view.dtype()),
            })?;
            let values = element.numbers(view.data());
            Ok((name.to_owned(), LoadedTensor { shape: view.shape().to_vec(), values, element }))
        })
        .collect()
}

fn element(dtype: Dtype) -> Option<Element> {
    Some(match dtype {
        Dtype::F64 => Element::F64,
        Dtype::F32 => Element::F32,
        Dtype::F16 => Element::F16,
        Dtype::BF16 => Element::Bf16,
        Dtype::I64 => Element::I64,
        Dtype::I32 => Element::I32,
        Dtype::I16 => Element::I16,
        Dtype::I8 => Element::I8,
        Dtype::U8 => Element::U8,
        Dtype::BOOL => Element::Bool,
        _ => return None,
    })
}
