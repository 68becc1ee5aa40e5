//! `.tflite`: the weights of a network's layers, float or quantized, in execution order. Names say
//! little in such files, and batch normalisations are folded into the layers, so that it is the
//! order that tells which layer is which.

mod structure;

use crate::element::{Element, count};
use crate::error::WeightsError;
use crate::{FileLayer, LayerKind, LoadedTensor, Tensors, WeightsFile};
use pocketflow_export::tflite;
use pocketflow_export::tflite::model::{DType, Kind, Operator, Tensor, TfliteModel};
use std::io::Read;

/// More is no image classifier; its weights are held as `f32`, of which there are four times as
/// many bytes.
const MAX_BYTES: u64 = 1 << 30;

/// Whether these first bytes are those of a .tflite file.
pub fn is_one(front: &[u8]) -> bool {
    front.get(4..8) == Some(b"TFL3")
}

/// Reads a whole file. Filters become PyTorch's: `[out, in / groups, kh, kw]`, `[out, in]`.
///
/// # Errors
/// A file that is damaged, too large, or has weights that are computed, or of a type that holds
/// none.
pub fn read(file: impl Read) -> Result<WeightsFile, WeightsError> {
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(WeightsError::Malformed(format!("it has more than {MAX_BYTES} bytes")));
    }
    let model = tflite::read(&bytes).map_err(|error| WeightsError::Malformed(error.to_string()))?;
    let mut found =
        WeightsFile { image: image(&model), structure: Some(structure::structure(&model)), ..WeightsFile::default() };
    let mut layers = Vec::new();
    for operator in &model.operators {
        let kind = match operator.kind {
            Kind::Conv2d { .. } => LayerKind::Convolution,
            Kind::DepthwiseConv2d { .. } => LayerKind::Depthwise,
            Kind::FullyConnected { .. } => LayerKind::FullyConnected,
            _ => continue,
        };
        let input = |place: usize| {
            let index = operator.inputs.get(place).copied().flatten()?;
            Some((&model.tensors[index], &model.tensors[decoded_from(&model, index)]))
        };
        let Some((filter, codes)) = input(1) else {
            return Err(WeightsError::Malformed("a layer of it has no weights".into()));
        };
        let weight = keep(&mut found.tensors, filter, in_our_order(codes, kind)?);
        let bias = match input(2) {
            Some((bias, codes)) => Some(keep(&mut found.tensors, bias, dequantized(codes)?)),
            None => None,
        };
        layers.push(FileLayer { kind, weight, bias, geometry: structure::geometry(&model, operator) });
    }
    found.layers = Some(layers);
    Ok(found)
}

/// The constant that a tensor is decoded from, as in files whose weights alone are quantized; else
/// the tensor itself. Both by index.
fn decoded_from(model: &TfliteModel, tensor: usize) -> usize {
    let makes = |operator: &&Operator| operator.kind == Kind::Dequantize && operator.outputs.contains(&tensor);
    let source = model.operators.iter().find(makes).and_then(|operator| *operator.inputs.first()?);
    source.filter(|source| model.tensors[*source].data.is_some()).unwrap_or(tensor)
}

/// Of the one input that is an image.
fn image(model: &TfliteModel) -> Option<[usize; 3]> {
    match (model.inputs.as_slice(), model.inputs.first().map(|index| model.tensors.get(*index))) {
        ([_], Some(Some(Tensor { shape, .. }))) => match shape.as_slice() {
            [_, height, width, channels] => Some([*channels, *height, *width]),
            _ => None,
        },
        _ => None,
    }
}

/// Puts a tensor under its name, or another where that is taken.
fn keep(tensors: &mut Tensors, tensor: &Tensor, loaded: LoadedTensor) -> String {
    let mut name = tensor.name.clone();
    while tensors.contains_key(&name) {
        name.push('\'');
    }
    tensors.insert(name.clone(), loaded);
    name
}

/// The numbers of a constant.
fn dequantized(tensor: &Tensor) -> Result<LoadedTensor, WeightsError> {
    let fail = |problem: &str| WeightsError::Tensor { name: tensor.name.clone(), problem: problem.into() };
    let data = tensor.data.as_ref().ok_or_else(|| fail("is computed, and no constant that could be imported"))?;
    let element = match tensor.dtype {
        DType::Float32 => Element::F32,
        DType::Int8 => Element::I8,
        DType::Uint8 => Element::U8,
        DType::Int32 => Element::I32,
        DType::Int64 => return Err(fail("holds 64-bit numbers, which no weights are")),
    };
    let shape = tensor.shape.clone();
    let quantized = match (&tensor.quantization, element) {
        (_, Element::F32) => None,
        (Some(quantization), _) => Some(quantization),
        (None, _) => return Err(fail("holds whole numbers without a scale")),
    };
    let Some(quantization) = quantized else {
        return Ok(LoadedTensor { shape, values: element.numbers(data), element });
    };
    // In integers: a bias of 32 bits has more digits than an f32.
    let codes: Vec<i64> = match element {
        Element::I8 => data.iter().map(|byte| i64::from(*byte as i8)).collect(),
        Element::U8 => data.iter().map(|byte| i64::from(*byte)).collect(),
        _ => data.as_chunks().0.iter().map(|bytes| i64::from(i32::from_le_bytes(*bytes))).collect(),
    };
    let inner = shape.get(quantization.axis + 1..).and_then(count).unwrap_or(1).max(1);
    let scales = quantization.scales.len().max(1);
    let value = |(index, code): (usize, i64)| {
        let slice = index / inner % scales;
        let scale = quantization.scales.get(slice).copied().unwrap_or(1.0);
        let zero = quantization.zero_points.get(slice).copied().unwrap_or(0);
        (f64::from(scale) * code.wrapping_sub(zero) as f64) as f32
    };
    let values = codes.into_iter().enumerate().map(value).collect();
    Ok(LoadedTensor { shape, values, element: Element::F32 })
}

/// A filter with its dimensions in PyTorch's order.
fn in_our_order(filter: &Tensor, kind: LayerKind) -> Result<LoadedTensor, WeightsError> {
    let loaded = dequantized(filter)?;
    // Where each of our dimensions lies in the file's.
    let order: &[usize] = match (kind, loaded.shape.len()) {
        (LayerKind::Convolution, 4) => &[0, 3, 1, 2],
        (LayerKind::Depthwise, 4) => &[3, 0, 1, 2],
        (LayerKind::FullyConnected, 2) => return Ok(loaded),
        _ => {
            let problem = format!("has the shape {:?}, which is that of no filter", loaded.shape);
            return Err(WeightsError::Tensor { name: filter.name.clone(), problem });
        }
    };
    let shape: Vec<usize> = order.iter().map(|dimension| loaded.shape[*dimension]).collect();
    let stride = |dimension: usize| loaded.shape[dimension + 1..].iter().product::<usize>();
    let strides: Vec<usize> = order.iter().map(|dimension| stride(*dimension)).collect();
    let at = |index: usize| {
        let mut left = index;
        let places = shape.iter().zip(&strides).rev().map(|(size, stride)| {
            let place = left % size;
            left /= size;
            place * stride
        });
        loaded.values[places.sum::<usize>()]
    };
    let values = (0..loaded.values.len()).map(at).collect();
    Ok(LoadedTensor { shape, values, element: loaded.element })
}
