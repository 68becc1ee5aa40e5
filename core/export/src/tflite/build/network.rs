//! A network as operators: int8 as today's converters make them, uint8 as TensorFlow's first
//! quantized MobileNets are built, float32 where it is float.

use super::builder::{Builder, Sweep};
use super::layout::{Layout, to_filter};
use super::pixels;
use crate::deployed::{self, DeployedNet, FloatWeights, Grid, Layer, Value, Weights};
use crate::tflite::model::{Activation, DType, Kind, Padding, Quantization, TfliteModel};
use pocketflow::error::{Error, Result};
use pocketflow::integer::Target;

/// Of probabilities as uint8: 0 to 255/256.
const SOFTMAX_SCALE: f32 = 1.0 / 256.0;

/// The network as operators. Its input takes pixels, 0 to 255 (int8: less 128), named after the
/// input value. int8: the output holds the logits. uint8: the output holds probabilities, code
/// / 256.
///
/// What is float in the network is so in the file: an input that takes the normalised image, an
/// output of logits, and operators on floats with QUANTIZE and DEQUANTIZE around them; their
/// weights, where they are codes, with DEQUANTIZE behind them, which runtimes do once.
///
/// # Errors
/// An operator that the format cannot express (which); a network whose parts do not fit each other.
pub fn from_net(net: &DeployedNet) -> Result<TfliteModel> {
    let unset = vec![None; net.values.len()];
    let mut network = Network {
        net,
        builder: Builder::default(),
        only_flat: only_flat(net),
        tensors: unset.clone(),
        decoded: unset,
        activated: vec![false; net.values.len()],
    };
    let value = network.value(net.input)?;
    let (input, normalised) = pixels::input(&mut network.builder, net, value)?;
    network.tensors[net.input] = Some(normalised);
    for operator in &net.operators {
        network.operator(operator).map_err(|error| error.context(format!("cannot express `{}`", operator.name)))?;
    }
    let mut output = network.input(net.output)?;
    if net.target == Target::Uint8 && network.value(net.output)?.grid.is_some() {
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

pub(super) fn quantization(grid: Grid) -> Quantization {
    let (scales, zero_points) = (vec![grid.scale], vec![i64::from(grid.zero_point)]);
    Quantization { scales, zero_points, ..Quantization::default() }
}

struct Network<'a> {
    net: &'a DeployedNet,
    builder: Builder,
    /// By value: whether nothing but fully connected layers reads it.
    only_flat: Vec<bool>,
    /// By value.
    tensors: Vec<Option<usize>>,
    /// By value, where it has codes that an operator on floats reads.
    decoded: Vec<Option<usize>>,
    /// By value, as far as computed: whether an activation function, or what only moves and
    /// averages its values, ends the operator that makes it.
    activated: Vec<bool>,
}

/// By value: whether nothing but fully connected layers reads it.
fn only_flat(net: &DeployedNet) -> Vec<bool> {
    let mut only = vec![true; net.values.len()];
    let others = net.operators.iter().filter(|operator| !matches!(operator.kind, deployed::Kind::Linear { .. }));
    for input in others.flat_map(|operator| &operator.inputs) {
        if let Some(only) = only.get_mut(*input) {
            *only = false;
        }
    }
    only
}

impl<'a> Network<'a> {
    fn operator(&mut self, operator: &deployed::Operator) -> Result<()> {
        let net = self.net;
        let float = net.computes_in_float(operator)?;
        let first = *operator.inputs.first().ok_or_else(|| Error::failed("it has no input"))?;
        let from = self.read(first, float)?;
        let (source, result) = (self.value(first)?, self.value(operator.output)?);
        let activation = activation(operator.activation);
        let output = match &operator.kind {
            deployed::Kind::Conv { layer, stride, padding, depthwise } => {
                let [out, per_group, height, width] = layer.shape();
                let groups = source.shape[2] / per_group.max(1);
                if groups > 1 && !depthwise {
                    return Err(Error::failed(format!(
                        "convolution `{}` has {groups} groups; .tflite can express one, or one per input channel",
                        operator.name
                    )));
                }
                let multiplier = depthwise.then_some(out / source.shape[2].max(1));
                let constants = self.constants(&operator.name, layer, source, Layout::of(*depthwise))?;
                let output = self.output(operator.output, 4, float)?;
                let sweep = Sweep { kernel: [height, width], stride: *stride, padding: *padding };
                self.builder.conv(from, constants, sweep, multiplier, activation, output)?;
                output
            }
            deployed::Kind::Linear { .. } if source.shape[..2] != [1, 1] && !float => {
                return Err(Error::failed(format!(
                    "it is fully connected to an image of the shape {:?}",
                    source.shape
                )));
            }
            // As TensorFlow's first quantized models have it.
            deployed::Kind::Linear { layer } if net.target == Target::Uint8 && !float => {
                let constants = self.constants(&operator.name, layer, source, Layout::Conv)?;
                let output = self.output(operator.output, 4, float)?;
                let sweep = Sweep { kernel: [1; 2], stride: [1; 2], padding: [0; 4] };
                self.builder.conv(from, constants, sweep, None, activation, output)?;
                output
            }
            deployed::Kind::Linear { layer } => {
                let constants = self.constants(&operator.name, layer, source, Layout::Linear)?;
                let output = self.output(operator.output, 2, float)?;
                self.builder.linear(from, constants, activation, output)?;
                output
            }
            deployed::Kind::Add => {
                let second = *operator.inputs.get(1).ok_or_else(|| Error::failed("it has one input"))?;
                let inputs = [from, self.read(second, float)?];
                let output = self.output(operator.output, self.builder.shape(from).len(), float)?;
                self.builder.add(inputs, activation, output)?;
                output
            }
            deployed::Kind::MaxPool { kernel, stride, padding } => {
                let output = self.output(operator.output, 4, float)?;
                let sweep = Sweep { kernel: [*kernel; 2], stride: [*stride; 2], padding: [*padding; 4] };
                // Every code is at least the zero point, or an activation function made it so.
                let from_zero = source.grid.is_some_and(|grid| grid.zero_point == lowest(net.target));
                self.builder.max_pool(from, sweep, from_zero || self.activated[first], output)?;
                output
            }
            deployed::Kind::GlobalAvgPool if source.grid == result.grid && !float => {
                let [height, width, _] = source.shape;
                let output = self.output(operator.output, 4, float)?;
                let kind = Kind::AveragePool2d {
                    filter: [height, width],
                    // Of no effect on one window; TensorFlow's own file says so.
                    stride: [height.min(2), width.min(2)],
                    padding: Padding::Valid,
                    activation,
                };
                self.builder.operator(kind, &[from], output);
                output
            }
            deployed::Kind::GlobalAvgPool => {
                let flat = self.only_flat[operator.output] && net.target == Target::Int8;
                let rank = if flat { 2 } else { 4 };
                let output = self.output(operator.output, rank, float)?;
                self.builder.mean(from, output)?;
                output
            }
            deployed::Kind::PadShortcut { before, after, stride } => {
                let output = self.output(operator.output, 4, float)?;
                self.builder.shortcut(from, *stride, [*before, *after], output)?;
                output
            }
            deployed::Kind::Activation => {
                let output = self.output(operator.output, self.builder.shape(from).len(), float)?;
                let kind = match activation {
                    Activation::None => Kind::Quantize,
                    Activation::Relu => Kind::Relu,
                    Activation::Relu6 => Kind::Relu6,
                };
                self.builder.operator(kind, &[from], output);
                output
            }
        };
        self.activated[operator.output] = match operator.kind {
            _ if operator.activation != deployed::Activation::None => true,
            deployed::Kind::MaxPool { .. } | deployed::Kind::PadShortcut { .. } | deployed::Kind::GlobalAvgPool => {
                self.activated[first]
            }
            _ => false,
        };
        self.store(operator.output, output)
    }

    fn value(&self, index: usize) -> Result<&'a Value> {
        let count = self.net.values.len();
        self.net.values.get(index).ok_or_else(|| Error::failed(format!("there is no value {index} of {count}")))
    }

    fn input(&self, value: usize) -> Result<usize> {
        let name = &self.value(value)?.name;
        self.tensors[value].ok_or_else(|| Error::failed(format!("`{name}` is read before it is computed")))
    }

    /// The tensor of a value, in float if so wished.
    fn read(&mut self, index: usize, float: bool) -> Result<usize> {
        let codes = self.input(index)?;
        if !float || self.value(index)?.grid.is_none() {
            return Ok(codes);
        }
        if let Some(decoded) = self.decoded[index] {
            return Ok(decoded);
        }
        let (name, shape) = (format!("{}/decoded", self.value(index)?.name), self.builder.shape(codes).to_vec());
        let decoded = self.builder.value(name, shape, DType::Float32, None);
        self.builder.operator(Kind::Dequantize, &[codes], decoded);
        self.decoded[index] = Some(decoded);
        Ok(decoded)
    }

    /// A tensor for the operator that computes a value, with 2 or 4 dimensions.
    fn output(&mut self, index: usize, rank: usize, float: bool) -> Result<usize> {
        let value = self.value(index)?;
        let [height, width, channels] = value.shape;
        let shape = if rank == 2 { vec![1, channels] } else { vec![1, height, width, channels] };
        Ok(match value.grid {
            Some(grid) if !float => {
                self.builder.value(&value.name, shape, dtype(self.net.target), Some(quantization(grid)))
            }
            Some(_) => self.builder.value(format!("{}/float", value.name), shape, DType::Float32, None),
            None => self.builder.value(&value.name, shape, DType::Float32, None),
        })
    }

    /// Keeps what was computed: encoded, where floats belong on a grid.
    fn store(&mut self, index: usize, computed: usize) -> Result<()> {
        let value = self.value(index)?;
        let float = self.builder.model.tensors[computed].dtype == DType::Float32;
        let stored = match value.grid.filter(|_| float) {
            None => computed,
            Some(grid) => {
                let shape = self.builder.shape(computed).to_vec();
                let codes = self.builder.value(&value.name, shape, dtype(self.net.target), Some(quantization(grid)));
                self.builder.operator(Kind::Quantize, &[computed], codes);
                codes
            }
        };
        self.tensors[index] = Some(stored);
        Ok(())
    }

    /// The weights in the format's order, and the bias: on the grid of the products where they are
    /// integers.
    fn constants(&mut self, name: &str, layer: &Layer, source: &Value, layout: Layout) -> Result<[usize; 2]> {
        let [out, depth, ..] = layer.shape();
        let (held, biases) = match layer {
            Layer::Integer { weights, bias } => (weights.codes.len(), bias.len()),
            Layer::Float { weights: FloatWeights::Codes(weights), bias } => (weights.codes.len(), bias.len()),
            Layer::Float { weights: FloatWeights::Values { values, .. }, bias } => (values.len(), bias.len()),
        };
        let count = layer.shape().iter().try_fold(1usize, |count, size| count.checked_mul(*size));
        if count != Some(held) || biases != out {
            let shape = layer.shape();
            return Err(Error::failed(format!("{held} weights and {biases} biases do not make the shape {shape:?}")));
        }
        if layout == Layout::Depthwise && depth != 1 {
            return Err(Error::failed(format!("a depth-wise filter over {depth} channels")));
        }
        let floats = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let weights_name = format!("{name}.weight");
        let filter = match layer {
            Layer::Integer { weights, .. } => self.codes(weights_name, weights, layout)?,
            Layer::Float { weights: FloatWeights::Codes(weights), .. } => {
                let codes = self.codes(format!("{weights_name}/codes"), weights, layout)?;
                let decoded = self.builder.value(weights_name, layout.shape(weights.shape), DType::Float32, None);
                self.builder.operator(Kind::Dequantize, &[codes], decoded);
                decoded
            }
            Layer::Float { weights: FloatWeights::Values { shape, values }, .. } => {
                let filter = to_filter(values, *shape, layout == Layout::Depthwise);
                self.builder.constant(weights_name, layout.shape(*shape), DType::Float32, None, floats(&filter))
            }
        };
        let (dtype, grid, data) = match layer {
            Layer::Float { bias, .. } => (DType::Float32, None, floats(bias)),
            Layer::Integer { weights, bias } => {
                let Some(Grid { scale, .. }) = source.grid else {
                    return Err(Error::failed(format!("`{}` has no grid", source.name)));
                };
                let of_bias = Quantization {
                    scales: weights.scales.iter().map(|of_weights| scale * of_weights).collect(),
                    zero_points: vec![0; weights.scales.len()],
                    ..Quantization::default()
                };
                (DType::Int32, Some(of_bias), bias.iter().flat_map(|bias| bias.to_le_bytes()).collect())
            }
        };
        Ok([filter, self.builder.constant(format!("{name}.bias"), vec![out], dtype, grid, data)])
    }

    /// Codes of weights as a constant.
    fn codes(&mut self, name: String, weights: &Weights, layout: Layout) -> Result<usize> {
        let Weights { shape, codes, scales, zero_points } = weights;
        if ![1, shape[0]].contains(&scales.len()) {
            let (count, out) = (scales.len(), shape[0]);
            return Err(Error::failed(format!("{count} scales for weights of {out} outputs")));
        }
        let target = self.net.target;
        let byte = |code: i32| match target {
            Target::Int8 => i8::try_from(code).ok().filter(|code| *code > i8::MIN).map(|code| code as u8),
            Target::Uint8 => u8::try_from(code).ok(),
        };
        let bytes = codes.iter().map(|code| {
            byte(*code).ok_or_else(|| Error::failed(format!("{} cannot hold the weight {code}", target.name())))
        });
        let bytes = to_filter(&bytes.collect::<Result<Vec<u8>>>()?, *shape, layout == Layout::Depthwise);
        let grid = Quantization {
            scales: scales.clone(),
            zero_points: zero_points.iter().copied().map(i64::from).collect(),
            axis: if scales.len() > 1 && layout == Layout::Depthwise { 3 } else { 0 },
            ..Quantization::default()
        };
        Ok(self.builder.constant(name, layout.shape(*shape), dtype(target), Some(grid), bytes))
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

fn activation(activation: deployed::Activation) -> Activation {
    match activation {
        deployed::Activation::None => Activation::None,
        deployed::Activation::Relu => Activation::Relu,
        deployed::Activation::Relu6 => Activation::Relu6,
    }
}

#[cfg(test)]
mod tests;
