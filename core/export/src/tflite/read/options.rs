//! An operator's table of options. What it says and [`Kind`] cannot is an error: to leave it out
//! would be to compute something else.

use crate::deployed::Activation;
use crate::tflite::model::{Kind, Padding};
use crate::tflite::schema::table::{self, BuiltinOperator};

/// # Errors
/// What cannot be represented, to be put behind the operator's name.
pub(super) fn kind(code: i32, operator: &table::Operator<'_>) -> Result<Kind, String> {
    let missing = || "has no table of options of its kind".to_owned();
    Ok(match BuiltinOperator(code) {
        BuiltinOperator::CONV_2D => {
            let options = operator.builtin_options_as_conv_2_doptions().ok_or_else(missing)?;
            Kind::Conv2d {
                stride: sizes([options.stride_h(), options.stride_w()])?,
                padding: padding(options.padding())?,
                dilation: sizes([options.dilation_h_factor(), options.dilation_w_factor()])?,
                activation: activation(options.fused_activation_function())?,
            }
        }
        BuiltinOperator::DEPTHWISE_CONV_2D => {
            let options = operator.builtin_options_as_depthwise_conv_2_doptions().ok_or_else(missing)?;
            let [multiplier] = sizes([options.depth_multiplier()])?;
            Kind::DepthwiseConv2d {
                stride: sizes([options.stride_h(), options.stride_w()])?,
                padding: padding(options.padding())?,
                dilation: sizes([options.dilation_h_factor(), options.dilation_w_factor()])?,
                multiplier,
                activation: activation(options.fused_activation_function())?,
            }
        }
        BuiltinOperator::FULLY_CONNECTED => {
            let options = operator.builtin_options_as_fully_connected_options().ok_or_else(missing)?;
            if options.weights_format() != table::FullyConnectedOptionsWeightsFormat::DEFAULT {
                return Err("has shuffled weights, which cannot be read".into());
            }
            if options.keep_num_dims() || options.asymmetric_quantize_inputs() {
                return Err("keeps dimensions or quantizes its inputs, which cannot be read".into());
            }
            Kind::FullyConnected { activation: activation(options.fused_activation_function())? }
        }
        BuiltinOperator::ADD => {
            let options = operator.builtin_options_as_add_options().ok_or_else(missing)?;
            Kind::Add { activation: activation(options.fused_activation_function())? }
        }
        BuiltinOperator::MUL => {
            let options = operator.builtin_options_as_mul_options().ok_or_else(missing)?;
            Kind::Mul { activation: activation(options.fused_activation_function())? }
        }
        BuiltinOperator::CONCATENATION => {
            let options = operator.builtin_options_as_concatenation_options().ok_or_else(missing)?;
            Kind::Concatenation { axis: options.axis(), activation: activation(options.fused_activation_function())? }
        }
        BuiltinOperator::LEAKY_RELU => {
            let alpha = operator.builtin_options_as_leaky_relu_options().ok_or_else(missing)?.alpha();
            if !alpha.is_finite() {
                return Err(format!("has the slope {alpha}"));
            }
            Kind::LeakyRelu { alpha }
        }
        code @ (BuiltinOperator::AVERAGE_POOL_2D | BuiltinOperator::MAX_POOL_2D) => {
            let options = operator.builtin_options_as_pool_2_doptions().ok_or_else(missing)?;
            let filter = sizes([options.filter_height(), options.filter_width()])?;
            let stride = sizes([options.stride_h(), options.stride_w()])?;
            let padding = padding(options.padding())?;
            let activation = activation(options.fused_activation_function())?;
            match code {
                BuiltinOperator::MAX_POOL_2D => Kind::MaxPool2d { filter, stride, padding, activation },
                _ => Kind::AveragePool2d { filter, stride, padding, activation },
            }
        }
        BuiltinOperator::MEAN => {
            let options = operator.builtin_options_as_reducer_options().ok_or_else(missing)?;
            Kind::Mean { keep_dims: options.keep_dims() }
        }
        BuiltinOperator::STRIDED_SLICE => {
            let options = operator.builtin_options_as_strided_slice_options().ok_or_else(missing)?;
            let others = [options.ellipsis_mask(), options.new_axis_mask(), options.shrink_axis_mask()];
            if others != [0; 3] || options.offset() {
                return Err("has an ellipsis, new or dropped dimensions or an offset, which cannot be read".into());
            }
            Kind::StridedSlice { begin_mask: options.begin_mask(), end_mask: options.end_mask() }
        }
        BuiltinOperator::RESHAPE => {
            let shape = operator.builtin_options_as_reshape_options().and_then(|options| options.new_shape());
            Kind::Reshape { shape: shape.into_iter().flatten().collect() }
        }
        BuiltinOperator::SOFTMAX => {
            let beta = operator.builtin_options_as_softmax_options().ok_or_else(missing)?.beta();
            if !beta.is_finite() {
                return Err(format!("has the factor {beta}"));
            }
            Kind::Softmax { beta }
        }
        BuiltinOperator::PAD => Kind::Pad,
        BuiltinOperator::PADV2 => Kind::PadV2,
        BuiltinOperator::TRANSPOSE => Kind::Transpose,
        BuiltinOperator::PRELU => Kind::Prelu,
        BuiltinOperator::RELU => Kind::Relu,
        BuiltinOperator::RELU6 => Kind::Relu6,
        BuiltinOperator::QUANTIZE => Kind::Quantize,
        BuiltinOperator::DEQUANTIZE => Kind::Dequantize,
        BuiltinOperator(code) => Kind::Other { code },
    })
}

fn sizes<const N: usize>(sizes: [i32; N]) -> Result<[usize; N], String> {
    match sizes.iter().find(|size| **size < 1) {
        Some(size) => Err(format!("has a stride, window, dilation or multiplier of {size}")),
        None => Ok(sizes.map(|size| size as usize)),
    }
}

fn padding(padding: table::Padding) -> Result<Padding, String> {
    match padding {
        table::Padding::SAME => Ok(Padding::Same),
        table::Padding::VALID => Ok(Padding::Valid),
        other => Err(format!("has the padding {}, which is unknown", other.0)),
    }
}

fn activation(function: table::ActivationFunctionType) -> Result<Activation, String> {
    match function {
        table::ActivationFunctionType::NONE => Ok(Activation::None),
        table::ActivationFunctionType::RELU => Ok(Activation::Relu),
        table::ActivationFunctionType::RELU6 => Ok(Activation::Relu6),
        other => Err(format!("fuses the activation function {other:?}, which cannot be read")),
    }
}
