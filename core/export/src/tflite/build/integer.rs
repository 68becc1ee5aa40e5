//! An integer network as operators: int8 as today's converters make them, uint8 as TensorFlow's first quantized
//! MobileNets are built.

use super::builder::{Builder, Sweep};
use super::float::to_filter;
use super::pixels;
use crate::integer::{self, IntegerNet, Value, Weights};
use crate::tflite::model::{Activation, DType, Kind, Padding, Quantization, TfliteModel};
use pocketflow::error::{Error, Result};
use pocketflow::integer::Target;

/// Of probabilities as uint8: 0 to 255/256.
const SOFTMAX_SCALE: f32 = 1.0 / 256.0;

/// The network as operators on integers. Its input takes pixels, 0 to 255 (int8: less 128), named after the input
/// value. int8: the output holds the logits. uint8: the output holds probabilities, code / 256.
///
/// # Errors
/// An operator that the format cannot express (which); a network whose parts do not fit each other.
pub fn from_integer(net: &IntegerNet) -> Result<TfliteModel> {
    let mut network = Network { net, builder: Builder::default(), tensors: vec![None; net.values.len()] };
    let value = network.value(net.input)?;
    let (input, normalised) = pixels::input(&mut network.builder, net, value)?;
    network.tensors[net.input] = Some(normalised);
    for operator in &net.operators {
        network.operator(operator).map_err(|error| error.context(format!("cannot express `{}`", operator.name)))?;
    }
    let mut output = network.input(net.output)?;
    if net.target == Target::Uint8 {
        output = network.probabilities(output)?;
    }
    let Network { builder: Builder { model: mut result }, .. } = network;
    result.description.clone_from(&net.name);
    result.inputs = vec![input];
    result.outputs = vec![output];
    Ok(result)
}

pub(super) fn dtype(target: Target) -> DType {
    match target {
        Target::Int8 => DType::Int8,
        Target::Uint8 => DType::Uint8,
    }
}

/// The lowest code: that of the pixel 0.
pub(super) fn lowest(target: Target) -> i32 {
    match target {
        Target::Int8 => i32::from(i8::MIN),
        Target::Uint8 => 0,
    }
}

pub(super) fn grid(value: &Value) -> Quantization {
    let (scales, zero_points) = (vec![value.scale], vec![i64::from(value.zero_point)]);
    Quantization { scales, zero_points, ..Quantization::default() }
}

struct Network<'a> {
    net: &'a IntegerNet,
    builder: Builder,
    /// By value.
    tensors: Vec<Option<usize>>,
}

impl<'a> Network<'a> {
    fn operator(&mut self, operator: &integer::Operator) -> Result<()> {
        let net = self.net;
        let first = *operator.inputs.first().ok_or_else(|| Error::failed("it has no input"))?;
        let from = self.input(first)?;
        let (source, result) = (self.value(first)?, self.value(operator.output)?);
        let activation = activation(operator.activation);
        let same_grid = (source.scale, source.zero_point) == (result.scale, result.zero_point);
        match &operator.kind {
            integer::Kind::Conv { weights, bias, stride, padding, depthwise } => {
                let [out, _, height, width] = weights.shape;
                let multiplier = depthwise.then_some(out / source.shape[2].max(1));
                let constants = self.constants(&operator.name, weights, bias, source.scale, Layout::of(*depthwise))?;
                let output = self.output(operator.output, 4)?;
                let sweep = Sweep { kernel: [height, width], stride: *stride, padding: *padding };
                self.builder.conv(from, constants, sweep, multiplier, activation, output)?;
            }
            integer::Kind::Linear { .. } if source.shape[..2] != [1, 1] => {
                return Err(Error::failed(format!(
                    "it is fully connected to an image of the shape {:?}",
                    source.shape
                )));
            }
            // As TensorFlow's first quantized models have it.
            integer::Kind::Linear { weights, bias } if net.target == Target::Uint8 => {
                let constants = self.constants(&operator.name, weights, bias, source.scale, Layout::Conv)?;
                let output = self.output(operator.output, 4)?;
                let sweep = Sweep { kernel: [1; 2], stride: [1; 2], padding: [0; 4] };
                self.builder.conv(from, constants, sweep, None, activation, output)?;
            }
            integer::Kind::Linear { weights, bias } => {
                let constants = self.constants(&operator.name, weights, bias, source.scale, Layout::Linear)?;
                let output = self.output(operator.output, 2)?;
                self.builder.linear(from, constants, activation, output)?;
            }
            integer::Kind::Add => {
                let second = *operator.inputs.get(1).ok_or_else(|| Error::failed("it has one input"))?;
                let inputs = [from, self.input(second)?];
                let output = self.output(operator.output, self.builder.shape(from).len())?;
                self.builder.add(inputs, activation, output)?;
            }
            integer::Kind::MaxPool { kernel, stride, padding } => {
                let output = self.output(operator.output, 4)?;
                let sweep = Sweep { kernel: [*kernel; 2], stride: [*stride; 2], padding: [*padding; 4] };
                // Every code is at least the zero point, or an activation function made it so.
                let nonnegative = source.zero_point == lowest(net.target) || self.activated(first);
                self.builder.max_pool(from, sweep, nonnegative, output)?;
            }
            integer::Kind::GlobalAvgPool if same_grid => {
                let [height, width, _] = source.shape;
                let output = self.output(operator.output, 4)?;
                let kind = Kind::AveragePool2d {
                    filter: [height, width],
                    // Of no effect on one window; TensorFlow's own file says so.
                    stride: [height.min(2), width.min(2)],
                    padding: Padding::Valid,
                    activation,
                };
                self.builder.operator(kind, &[from], output);
            }
            integer::Kind::GlobalAvgPool => {
                let mut readers = net.operators.iter().filter(|reader| reader.inputs.contains(&operator.output));
                let flat = readers.all(|reader| matches!(reader.kind, integer::Kind::Linear { .. }));
                let output = self.output(operator.output, if flat && net.target == Target::Int8 { 2 } else { 4 })?;
                self.builder.mean(from, output)?;
            }
            integer::Kind::PadShortcut { before, after, stride } => {
                let output = self.output(operator.output, 4)?;
                self.builder.shortcut(from, *stride, [*before, *after], output)?;
            }
            integer::Kind::Activation => {
                let output = self.output(operator.output, self.builder.shape(from).len())?;
                let kind = match activation {
                    Activation::None => Kind::Quantize,
                    Activation::Relu => Kind::Relu,
                    Activation::Relu6 => Kind::Relu6,
                };
                self.builder.operator(kind, &[from], output);
            }
        }
        Ok(())
    }

    fn value(&self, index: usize) -> Result<&'a Value> {
        let count = self.net.values.len();
        self.net.values.get(index).ok_or_else(|| Error::failed(format!("there is no value {index} of {count}")))
    }

    fn input(&self, value: usize) -> Result<usize> {
        let name = &self.value(value)?.name;
        self.tensors[value].ok_or_else(|| Error::failed(format!("`{name}` is read before it is computed")))
    }

    /// The tensor of a value, with 2 or 4 dimensions.
    fn output(&mut self, index: usize, rank: usize) -> Result<usize> {
        let value = self.value(index)?;
        let [height, width, channels] = value.shape;
        let shape = if rank == 2 { vec![1, channels] } else { vec![1, height, width, channels] };
        let tensor = self.builder.value(&value.name, shape, dtype(self.net.target), Some(grid(value)));
        self.tensors[index] = Some(tensor);
        Ok(tensor)
    }

    /// Whether an activation function ends the operator that makes the value.
    fn activated(&self, value: usize) -> bool {
        let maker = self.net.operators.iter().find(|operator| operator.output == value);
        maker.is_some_and(|maker| maker.activation != integer::Activation::None)
    }

    /// The weights in the format's order, and the bias on the grid of the products.
    fn constants(
        &mut self,
        name: &str,
        weights: &Weights,
        bias: &[i32],
        scale: f32,
        layout: Layout,
    ) -> Result<[usize; 2]> {
        let Weights { shape: [out, depth, height, width], codes, scales, zero_points } = weights;
        let (out, depth, height, width) = (*out, *depth, *height, *width);
        let count = [depth, height, width].iter().try_fold(out, |count, size| count.checked_mul(*size));
        if count != Some(codes.len()) || bias.len() != out || ![1, out].contains(&scales.len()) {
            return Err(Error::failed(format!(
                "{} weights, {} biases and {} scales do not make the shape {:?}",
                codes.len(),
                bias.len(),
                scales.len(),
                weights.shape
            )));
        }
        if layout == Layout::Depthwise && depth != 1 {
            return Err(Error::failed(format!("a depth-wise filter over {depth} channels")));
        }
        let byte = |code: i32| match self.net.target {
            Target::Int8 => i8::try_from(code).ok().filter(|code| *code > i8::MIN).map(|code| code as u8),
            Target::Uint8 => u8::try_from(code).ok(),
        };
        let bytes = codes.iter().map(|code| {
            byte(*code)
                .ok_or_else(|| Error::failed(format!("{} cannot hold the weight {code}", self.net.target.name())))
        });
        let bytes = to_filter(&bytes.collect::<Result<Vec<u8>>>()?, weights.shape, layout == Layout::Depthwise);
        let (shape, axis) = match layout {
            Layout::Conv => (vec![out, height, width, depth], 0),
            Layout::Depthwise => (vec![1, height, width, out], 3),
            Layout::Linear => (vec![out, depth.saturating_mul(height).saturating_mul(width)], 0),
        };
        let filter = Quantization {
            scales: scales.clone(),
            zero_points: zero_points.iter().copied().map(i64::from).collect(),
            axis: if scales.len() > 1 { axis } else { 0 },
            ..Quantization::default()
        };
        let of_bias = Quantization {
            scales: scales.iter().map(|of_weights| scale * of_weights).collect(),
            zero_points: vec![0; scales.len()],
            ..Quantization::default()
        };
        let filter =
            self.builder.constant(format!("{name}.weight"), shape, dtype(self.net.target), Some(filter), bytes);
        let bias = bias.iter().flat_map(|bias| bias.to_le_bytes()).collect();
        Ok([filter, self.builder.constant(format!("{name}.bias"), vec![out], DType::Int32, Some(of_bias), bias)])
    }

    /// Probabilities of the logits.
    fn probabilities(&mut self, logits: usize) -> Result<usize> {
        let name = self.value(self.net.output)?.name.clone();
        let classes = self.builder.shape(logits).iter().product();
        let flat = self.builder.like(logits, format!("{name}/flat"), vec![1, classes]);
        self.builder.reshape(logits, flat)?;
        let grid = Quantization { scales: vec![SOFTMAX_SCALE], zero_points: vec![0], ..Quantization::default() };
        let output = self.builder.value(format!("{name}/softmax"), vec![1, classes], DType::Uint8, Some(grid));
        self.builder.operator(Kind::Softmax { beta: 1.0 }, &[flat], output);
        Ok(output)
    }
}

/// How a layer's weights lie in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    Conv,
    Depthwise,
    Linear,
}

impl Layout {
    fn of(depthwise: bool) -> Self {
        if depthwise { Self::Depthwise } else { Self::Conv }
    }
}

fn activation(activation: integer::Activation) -> Activation {
    match activation {
        integer::Activation::None => Activation::None,
        integer::Activation::Relu => Activation::Relu,
        integer::Activation::Relu6 => Activation::Relu6,
    }
}

#[cfg(test)]
mod tests;
