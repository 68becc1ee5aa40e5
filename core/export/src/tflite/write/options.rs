//! An operator's code and its table of options.

use crate::deployed::Activation;
use crate::ops::builtin;
use crate::tflite::model::{Kind, Padding};
use crate::tflite::schema::table::{self, BuiltinOperator, BuiltinOptions};
use flatbuffers::{FlatBufferBuilder, UnionWIPOffset, WIPOffset};
use pocketflow::error::{Error, Result};

pub(super) struct Options {
    pub code: BuiltinOperator,
    pub kind: BuiltinOptions,
    pub table: Option<WIPOffset<UnionWIPOffset>>,
}

/// # Errors
/// An operator that is only known by its code; a size beyond 31 bits.
pub(super) fn create(flat: &mut FlatBufferBuilder<'_>, operator: &Kind) -> Result<Options> {
    let (code, kind, table) = match operator {
        Kind::Conv2d { stride, padding, dilation, activation } => {
            let [stride_h, stride_w] = sizes(*stride)?;
            let [dilation_h_factor, dilation_w_factor] = sizes(*dilation)?;
            let args = table::Conv2DOptionsArgs {
                padding: pad(*padding),
                stride_w,
                stride_h,
                fused_activation_function: fused(*activation),
                dilation_h_factor,
                dilation_w_factor,
            };
            let table = table::Conv2DOptions::create(flat, &args).as_union_value();
            (BuiltinOperator::CONV_2D, BuiltinOptions::Conv2DOptions, Some(table))
        }
        Kind::DepthwiseConv2d { stride, padding, dilation, multiplier, activation } => {
            let [stride_h, stride_w] = sizes(*stride)?;
            let [dilation_h_factor, dilation_w_factor] = sizes(*dilation)?;
            let [depth_multiplier] = sizes([*multiplier])?;
            let args = table::DepthwiseConv2DOptionsArgs {
                padding: pad(*padding),
                stride_w,
                stride_h,
                depth_multiplier,
                fused_activation_function: fused(*activation),
                dilation_h_factor,
                dilation_w_factor,
            };
            let table = table::DepthwiseConv2DOptions::create(flat, &args).as_union_value();
            (BuiltinOperator::DEPTHWISE_CONV_2D, BuiltinOptions::DepthwiseConv2DOptions, Some(table))
        }
        Kind::FullyConnected { activation } => {
            let args = table::FullyConnectedOptionsArgs {
                fused_activation_function: fused(*activation),
                ..table::FullyConnectedOptionsArgs::default()
            };
            let table = table::FullyConnectedOptions::create(flat, &args).as_union_value();
            (BuiltinOperator::FULLY_CONNECTED, BuiltinOptions::FullyConnectedOptions, Some(table))
        }
        Kind::Add { activation } => {
            let args = table::AddOptionsArgs { fused_activation_function: fused(*activation) };
            let table = table::AddOptions::create(flat, &args).as_union_value();
            (BuiltinOperator::ADD, BuiltinOptions::AddOptions, Some(table))
        }
        Kind::Mul { activation } => {
            let args = table::MulOptionsArgs { fused_activation_function: fused(*activation) };
            let table = table::MulOptions::create(flat, &args).as_union_value();
            (BuiltinOperator::MUL, BuiltinOptions::MulOptions, Some(table))
        }
        Kind::Concatenation { axis, activation } => {
            let (axis, fused_activation_function) = (*axis, fused(*activation));
            let args = table::ConcatenationOptionsArgs { axis, fused_activation_function };
            let table = table::ConcatenationOptions::create(flat, &args).as_union_value();
            (BuiltinOperator::CONCATENATION, BuiltinOptions::ConcatenationOptions, Some(table))
        }
        Kind::AveragePool2d { filter, stride, padding, activation } => {
            let table = pool(flat, *filter, *stride, *padding, *activation)?;
            (BuiltinOperator::AVERAGE_POOL_2D, BuiltinOptions::Pool2DOptions, Some(table))
        }
        Kind::MaxPool2d { filter, stride, padding, activation } => {
            let table = pool(flat, *filter, *stride, *padding, *activation)?;
            (BuiltinOperator::MAX_POOL_2D, BuiltinOptions::Pool2DOptions, Some(table))
        }
        Kind::Mean { keep_dims } => {
            let args = table::ReducerOptionsArgs { keep_dims: *keep_dims };
            let table = table::ReducerOptions::create(flat, &args).as_union_value();
            (BuiltinOperator::MEAN, BuiltinOptions::ReducerOptions, Some(table))
        }
        Kind::Pad => {
            let table = table::PadOptions::create(flat, &table::PadOptionsArgs {}).as_union_value();
            (BuiltinOperator::PAD, BuiltinOptions::PadOptions, Some(table))
        }
        Kind::PadV2 => {
            let table = table::PadV2Options::create(flat, &table::PadV2OptionsArgs {}).as_union_value();
            (BuiltinOperator::PADV2, BuiltinOptions::PadV2Options, Some(table))
        }
        Kind::Transpose => {
            let table = table::TransposeOptions::create(flat, &table::TransposeOptionsArgs {}).as_union_value();
            (BuiltinOperator::TRANSPOSE, BuiltinOptions::TransposeOptions, Some(table))
        }
        Kind::LeakyRelu { alpha } => {
            let args = table::LeakyReluOptionsArgs { alpha: *alpha };
            let table = table::LeakyReluOptions::create(flat, &args).as_union_value();
            (BuiltinOperator::LEAKY_RELU, BuiltinOptions::LeakyReluOptions, Some(table))
        }
        Kind::Prelu => (BuiltinOperator::PRELU, BuiltinOptions::NONE, None),
        Kind::StridedSlice { begin_mask, end_mask } => {
            let (begin_mask, end_mask) = (*begin_mask, *end_mask);
            let args =
                table::StridedSliceOptionsArgs { begin_mask, end_mask, ..table::StridedSliceOptionsArgs::default() };
            let table = table::StridedSliceOptions::create(flat, &args).as_union_value();
            (BuiltinOperator::STRIDED_SLICE, BuiltinOptions::StridedSliceOptions, Some(table))
        }
        // The shape is then in a tensor.
        Kind::Reshape { shape } if shape.is_empty() => (BuiltinOperator::RESHAPE, BuiltinOptions::NONE, None),
        Kind::Reshape { shape } => {
            let new_shape = Some(flat.create_vector(shape));
            let table = table::ReshapeOptions::create(flat, &table::ReshapeOptionsArgs { new_shape }).as_union_value();
            (BuiltinOperator::RESHAPE, BuiltinOptions::ReshapeOptions, Some(table))
        }
        Kind::Softmax { beta } => {
            let table =
                table::SoftmaxOptions::create(flat, &table::SoftmaxOptionsArgs { beta: *beta }).as_union_value();
            (BuiltinOperator::SOFTMAX, BuiltinOptions::SoftmaxOptions, Some(table))
        }
        Kind::Relu => (BuiltinOperator::RELU, BuiltinOptions::NONE, None),
        Kind::Relu6 => (BuiltinOperator::RELU6, BuiltinOptions::NONE, None),
        Kind::Quantize => {
            let table = table::QuantizeOptions::create(flat, &table::QuantizeOptionsArgs {}).as_union_value();
            (BuiltinOperator::QUANTIZE, BuiltinOptions::QuantizeOptions, Some(table))
        }
        Kind::Dequantize => {
            let table = table::DequantizeOptions::create(flat, &table::DequantizeOptionsArgs {}).as_union_value();
            (BuiltinOperator::DEQUANTIZE, BuiltinOptions::DequantizeOptions, Some(table))
        }
        Kind::Other { code } if builtin(*code).is_some() => (BuiltinOperator(*code), BuiltinOptions::NONE, None),
        Kind::Other { code } => {
            return Err(Error::failed(format!("the operator with the builtin code {code} can be read, not written")));
        }
    };
    Ok(Options { code, kind, table })
}

fn pool(
    flat: &mut FlatBufferBuilder<'_>,
    filter: [usize; 2],
    stride: [usize; 2],
    padding: Padding,
    activation: Activation,
) -> Result<WIPOffset<UnionWIPOffset>> {
    let ([filter_height, filter_width], [stride_h, stride_w]) = (sizes(filter)?, sizes(stride)?);
    let args = table::Pool2DOptionsArgs {
        padding: pad(padding),
        stride_w,
        stride_h,
        filter_width,
        filter_height,
        fused_activation_function: fused(activation),
    };
    Ok(table::Pool2DOptions::create(flat, &args).as_union_value())
}

fn pad(padding: Padding) -> table::Padding {
    match padding {
        Padding::Same => table::Padding::SAME,
        Padding::Valid => table::Padding::VALID,
    }
}

fn fused(activation: Activation) -> table::ActivationFunctionType {
    match activation {
        Activation::None => table::ActivationFunctionType::NONE,
        Activation::Relu => table::ActivationFunctionType::RELU,
        Activation::Relu6 => table::ActivationFunctionType::RELU6,
    }
}

/// Positive, in 31 bits.
fn sizes<const N: usize>(sizes: [usize; N]) -> Result<[i32; N]> {
    let mut written = [0; N];
    for (size, written) in sizes.into_iter().zip(&mut written) {
        *written = i32::try_from(size).ok().filter(|size| *size > 0).ok_or_else(|| {
            Error::failed(format!(
                "a stride, window, dilation or multiplier of {size}: it must be from 1 to {}",
                i32::MAX
            ))
        })?;
    }
    Ok(written)
}
