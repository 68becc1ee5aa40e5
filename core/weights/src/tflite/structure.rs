//! What a .tflite file tells of its network beside the weights: strides, paddings, activation
//! functions, sums, windows, and operators that no net of ours has. An import compares it with the
//! net, since weights alone fit many networks.

use crate::structure::{Activation, Geometry, Structure, Window};
use pocketflow_export::deployed;
use pocketflow_export::tflite::model::{DType, Kind, Operator, Padding, TfliteModel};

/// Operators that move or convert values and compute nothing, by their builtin codes: what
/// converters write around layers (SHAPE, PACK, SQUEEZE, EXPAND_DIMS, TRANSPOSE, CAST).
const MOVING: [i32; 6] = [77, 83, 43, 70, 39, 53];

/// The geometry of the layer that is `operator`.
pub(super) fn geometry(model: &TfliteModel, operator: &Operator) -> Option<Geometry> {
    let (stride, padding) = match operator.kind {
        Kind::Conv2d { stride, padding, .. } | Kind::DepthwiseConv2d { stride, padding, .. } => (stride, padding),
        Kind::FullyConnected { .. } => ([1; 2], Padding::Valid),
        _ => return None,
    };
    let window = window(model, operator, [1; 2], stride, padding)?;
    Some(Geometry { window, activation: activation(model, operator) })
}

/// Everything but the layers.
pub(super) fn structure(model: &TfliteModel) -> Structure {
    let mut found = Structure::default();
    for (index, operator) in model.operators.iter().enumerate() {
        match &operator.kind {
            Kind::Add { .. } if operator.inputs.iter().flatten().all(|input| model.tensors[*input].data.is_none()) => {
                found.sums.push(activation(model, operator));
            }
            Kind::MaxPool2d { filter, stride, padding, .. } => {
                found.max_pools.extend(window(model, operator, *filter, *stride, *padding));
            }
            Kind::Other { code } if !MOVING.contains(code) => found.foreign.push((index, *code)),
            _ => {}
        }
    }
    found
}

/// The window with the padding of a PAD operator in front of it.
fn window(
    model: &TfliteModel,
    operator: &Operator,
    size: [usize; 2],
    stride: [usize; 2],
    padding: Padding,
) -> Option<Window> {
    let input = (*operator.inputs.first()?)?;
    let explicit = padded(model, input).unwrap_or_default();
    Some(Window { size, stride, same: padding == Padding::Same, explicit })
}

/// Top, left, bottom, right of the PAD that makes a tensor.
fn padded(model: &TfliteModel, tensor: usize) -> Option<[usize; 4]> {
    let pad = model.operators.iter().find(|operator| operator.outputs.contains(&tensor))?;
    if pad.kind != Kind::Pad {
        return None;
    }
    let amounts = &model.tensors[(*pad.inputs.get(1)?)?];
    let bytes = amounts.data.as_ref().filter(|_| amounts.dtype == DType::Int32)?;
    let numbers: Vec<usize> =
        bytes.as_chunks().0.iter().map(|bytes| usize::try_from(i32::from_le_bytes(*bytes)).unwrap_or(0)).collect();
    match numbers.as_slice() {
        &[_, _, top, bottom, left, right, _, _] => Some([top, left, bottom, right]),
        _ => None,
    }
}

/// What is applied to an operator's output: within it, or by the one operator that reads it.
fn activation(model: &TfliteModel, operator: &Operator) -> Activation {
    let fused = match &operator.kind {
        Kind::Conv2d { activation, .. }
        | Kind::DepthwiseConv2d { activation, .. }
        | Kind::FullyConnected { activation }
        | Kind::Add { activation } => *activation,
        _ => deployed::Activation::None,
    };
    match fused {
        deployed::Activation::Relu => return Activation::Relu,
        deployed::Activation::Relu6 => return Activation::Relu6,
        deployed::Activation::None => {}
    }
    let Some(output) = operator.outputs.first() else { return Activation::None };
    let mut readers = model.operators.iter().filter(|reader| reader.inputs.contains(&Some(*output)));
    match (readers.next().map(|reader| &reader.kind), readers.next()) {
        (Some(Kind::Relu), None) => Activation::Relu,
        (Some(Kind::Relu6), None) => Activation::Relu6,
        // An integer that cannot go below zero has been through one, whatever the operator says.
        _ if begins_at_zero(model, *output) => Activation::Unknown,
        _ => Activation::None,
    }
}

fn begins_at_zero(model: &TfliteModel, tensor: usize) -> bool {
    let tensor = &model.tensors[tensor];
    let least = match tensor.dtype {
        DType::Int8 => i64::from(i8::MIN),
        DType::Uint8 => 0,
        DType::Float32 | DType::Int32 | DType::Int64 => return false,
    };
    tensor.quantization.as_ref().is_some_and(|quantization| quantization.zero_points == [least])
}
