//! A network as .onnx: quantize–dequantize pairs around float operators, in the one form that ONNX
//! Runtime fuses to integer kernels everywhere.
//!
//! Found by reading what ONNX Runtime 1.32 makes of it (its `optimized_model_filepath`) on x86-64:
//! - Values are uint8 for both targets; int8 codes are written + 128. Around int8 values it keeps most convolutions in float.
//! - Each reader has a DequantizeLinear of its own.
//! - An activation function is never written in float. A grid that starts at zero saturates as ReLU does, and where saturation does
//!   not do it all, a Clip of the codes does; it leaves QuantizeLinear behind its layer.
//! - What only moves or selects codes works on codes: MaxPool, Slice, Pad, Flatten.
//!
//! What the network leaves in float has no pairs around it, and activation functions of its own.

use super::OnnxInfo;
use super::builder::{Builder, Values, int};
use super::operators::{Held, convolution, max_pool, pad_shortcut, relu6, value_count};
use super::proto::Attribute;
use crate::deployed::{Activation, DeployedNet, FloatWeights, Grid, Kind, Layer, Operator, Value, Weights};
use pocketflow::integer::Target;
use pocketflow::{Error, Result};

/// The network such that ONNX Runtime runs in integers what lies on grids. Input and output of the
/// file are float, whatever is within.
///
/// # Errors
/// A network whose parts do not fit each other: indices, shapes, codes beyond the target's (the
/// operator is named); one beyond the 2 GiB of the format.
pub fn from_net(net: &DeployedNet, info: &OnnxInfo) -> Result<Vec<u8>> {
    let mut writer = Writer { net, builder: Builder::new(&net.name), held: vec![None; net.values.len()] };
    let input = writer.store(net.input, super::INPUT.into())?;
    writer.hold(net.input, input, false);
    for operator in &net.operators {
        writer
            .operator(operator)
            .map_err(|error| error.context(format!("cannot write operator `{}` to .onnx", operator.name)))?;
    }
    writer.finish(info)
}

struct Writer<'a> {
    net: &'a DeployedNet,
    builder: Builder,
    /// By value: its codes (or floats, where it has no grid), once something has written them.
    held: Vec<Option<Held>>,
}

impl Writer<'_> {
    fn value(&self, index: usize) -> Result<&Value> {
        self.net.values.get(index).ok_or_else(|| Error::failed(format!("there is no value {index}")))
    }

    /// The value's grid, with the zero point that the file has. `None`: it is float.
    fn grid_of(&self, index: usize) -> Result<Option<(f32, u8)>> {
        let value = self.value(index)?;
        let Some(Grid { scale, zero_point }) = value.grid else { return Ok(None) };
        let shift = match self.net.target {
            Target::Int8 => 128,
            Target::Uint8 => 0,
        };
        if !(scale > 0.0 && scale.is_finite()) {
            return Err(Error::failed(format!("the scale of value `{}` is {scale}", value.name)));
        }
        match zero_point.checked_add(shift).and_then(|zero| u8::try_from(zero).ok()) {
            Some(zero) => Ok(Some((scale, zero))),
            None => {
                let target = self.net.target.name();
                let name = &value.name;
                Err(Error::failed(format!("the zero point of value `{name}` is {zero_point}, which is no {target}")))
            }
        }
    }

    fn hold(&mut self, index: usize, tensor: String, row: bool) {
        if let Some(held) = self.held.get_mut(index) {
            *held = Some(Held { tensor, row });
        }
    }

    fn held(&self, index: usize) -> Result<Held> {
        let value = self.value(index)?;
        let held = self.held.get(index).cloned().flatten();
        held.ok_or_else(|| Error::failed(format!("value `{}` is read before it is written", value.name)))
    }

    /// Scale and zero point as constants, for the node of that name.
    fn grid(&mut self, (scale, zero): (f32, u8), node: &str) -> Result<[String; 2]> {
        let scale = self.builder.constant(format!("{node}.scale"), Values::Floats(&[scale]), &[])?;
        let zero = self.builder.constant(format!("{node}.zero_point"), Values::Uint8(vec![zero]), &[])?;
        Ok([scale, zero])
    }

    /// What holds a value that was computed in float: codes where it has a grid.
    fn store(&mut self, index: usize, real: String) -> Result<String> {
        let grid = self.grid_of(index)?;
        self.encode(index, real, grid)
    }

    /// The grid that an average is encoded on. TensorFlow Lite's average pool of uint8, which keeps
    /// the grid of its input, rounds halves up, and ONNX Runtime to even codes; a scale less by a
    /// millionth makes it round up too and moves no other average.
    fn rounded_up(&self, operator: &Operator, (scale, zero): (f32, u8)) -> Result<(f32, u8)> {
        /// Averages of more pixels come nearer to a half than what the scale moves them by.
        const MOST_PIXELS: usize = 1024;
        let [input, output] = [self.value(operator.inputs[0])?, self.value(operator.output)?];
        let pixels = input.shape[0].saturating_mul(input.shape[1]);
        let keeps = self.net.target == Target::Uint8 && input.grid == output.grid;
        let scale = if keeps && zero == 0 && pixels <= MOST_PIXELS { scale * (1.0 - 2f32.powi(-20)) } else { scale };
        Ok((scale, zero))
    }

    /// The codes of real values on a grid; without one, the values.
    fn encode(&mut self, index: usize, real: String, grid: Option<(f32, u8)>) -> Result<String> {
        let Some(grid) = grid else { return Ok(real) };
        let name = format!("{}/codes", self.value(index)?.name);
        let [scale, zero] = self.grid(grid, &name)?;
        Ok(self.builder.node(name, "QuantizeLinear", &[&real, &scale, &zero], Vec::new()))
    }

    /// The float tensor of what holds a value, for the operator that reads it.
    fn decode(&mut self, index: usize, held: &str, reader: &str) -> Result<String> {
        let Some(grid) = self.grid_of(index)? else { return Ok(held.into()) };
        let name = format!("{reader}/{}", self.value(index)?.name);
        let [scale, zero] = self.grid(grid, &name)?;
        Ok(self.builder.node(name, "DequantizeLinear", &[held, &scale, &zero], Vec::new()))
    }

    fn operator(&mut self, operator: &Operator) -> Result<()> {
        let name = operator.name.as_str();
        let wanted = if operator.kind == Kind::Add { 2 } else { 1 };
        if operator.inputs.len() != wanted {
            return Err(Error::failed(format!("it takes {wanted} inputs, got {}", operator.inputs.len())));
        }
        // Every operator is written in float between its pairs; only what cannot be is of interest.
        self.net.computes_in_float(operator)?;
        let first = operator.inputs[0];
        let held = self.held(first)?;
        let (codes, row) = match &operator.kind {
            Kind::Conv { layer, stride, padding, .. } => {
                let shape = layer.shape();
                let [_, per_group, height, width] = shape;
                let groups = self.value(first)?.shape[2].checked_div(per_group).unwrap_or_default();
                let image = held.as_image(&mut self.builder, name)?;
                let attributes = convolution([height, width], *stride, *padding, groups);
                (self.layer(operator, "Conv", &image, (layer, &shape), attributes)?, false)
            }
            Kind::Linear { layer } => {
                let shape = [layer.shape()[0], value_count(&layer.shape()[1..])];
                let row = held.as_row(&mut self.builder, name);
                (self.layer(operator, "Gemm", &row, (layer, &shape), vec![int("transB", 1)])?, true)
            }
            Kind::Add => {
                let row = held.row && self.held(operator.inputs[1])?.row;
                let mut operands = Vec::with_capacity(2);
                for index in &operator.inputs {
                    let held = self.held(*index)?.shaped(row, &mut self.builder, name)?;
                    operands.push(self.decode(*index, &held, name)?);
                }
                let sum = self.builder.node(name.into(), "Add", &[&operands[0], &operands[1]], Vec::new());
                (self.store(operator.output, sum)?, row)
            }
            Kind::GlobalAvgPool => {
                let image = held.as_image(&mut self.builder, name)?;
                let real = self.decode(first, &image, name)?;
                let mean = self.builder.node(name.into(), "GlobalAveragePool", &[&real], Vec::new());
                let grid = self.grid_of(operator.output)?.map(|grid| self.rounded_up(operator, grid)).transpose()?;
                (self.encode(operator.output, mean, grid)?, false)
            }
            Kind::MaxPool { kernel, stride, padding } => {
                let image = held.as_image(&mut self.builder, name)?;
                let attributes = max_pool(*kernel, *stride, *padding);
                let pooled = self.builder.node(name.into(), "MaxPool", &[&image], attributes);
                (self.moved(operator, pooled)?, false)
            }
            Kind::PadShortcut { before, after, stride } => {
                let image = held.as_image(&mut self.builder, name)?;
                let zero = match self.grid_of(first)? {
                    Some((_, zero)) => Values::Uint8(vec![zero]),
                    None => Values::Floats(&[0.0]),
                };
                let padded = pad_shortcut(&mut self.builder, name, &image, [*before, *after], *stride, zero)?;
                (self.moved(operator, padded)?, false)
            }
            Kind::Activation => (self.moved(operator, held.tensor)?, held.row),
        };
        let codes = self.activate(operator, codes)?;
        self.hold(operator.output, codes, row);
        Ok(())
    }

    /// A convolution or fully connected layer. `layer`: its parameters, and the shape to write the
    /// weights in.
    fn layer(
        &mut self,
        operator: &Operator,
        op: &str,
        held: &str,
        (layer, shape): (&Layer, &[usize]),
        attributes: Vec<Attribute>,
    ) -> Result<String> {
        let (name, input) = (operator.name.as_str(), operator.inputs[0]);
        let real = self.decode(input, held, name)?;
        let weights_name = format!("{name}.weight");
        let weights = match layer {
            Layer::Integer { weights, .. } | Layer::Float { weights: FloatWeights::Codes(weights), .. } => {
                self.weights(name, weights, shape)?
            }
            Layer::Float { weights: FloatWeights::Values { values, .. }, .. } => {
                self.builder.constant(weights_name, Values::Floats(values), shape)?
            }
        };
        let bias = match (layer, self.grid_of(input)?) {
            (Layer::Integer { weights, bias }, Some((input_scale, _))) => {
                // Rounded in f32, as runtimes do that multiply the two scales themselves.
                let scales: Vec<f32> = weights.scales.iter().map(|scale| input_scale * scale).collect();
                let grid =
                    self.builder.constant(format!("{name}.bias.scale"), Values::Floats(&scales), &dims(&scales))?;
                let bias = self.builder.constant(format!("{name}.bias"), Values::Int32(bias), &shape[..1])?;
                self.dequantize_constant(format!("{name}/bias"), &[&bias, &grid], scales.len())
            }
            (Layer::Integer { .. }, None) => return Err(Error::failed("its input has no grid")),
            (Layer::Float { bias, .. }, _) => {
                self.builder.constant(format!("{name}.bias"), Values::Floats(bias), &shape[..1])?
            }
        };
        let output = self.builder.node(name.into(), op, &[&real, &weights, &bias], attributes);
        self.store(operator.output, output)
    }

    fn weights(&mut self, name: &str, weights: &Weights, shape: &[usize]) -> Result<String> {
        let Weights { codes, scales, zero_points, .. } = weights;
        if ![1, shape[0]].contains(&scales.len()) || zero_points.len() != scales.len() {
            let (scales, zeros) = (scales.len(), zero_points.len());
            let problem = format!("{scales} scales and {zeros} zero points for {} output channels", shape[0]);
            return Err(Error::failed(problem));
        }
        let values = self.codes(codes)?;
        let zeros = self.codes(zero_points)?;
        let codes = self.builder.constant(format!("{name}.weight"), values, shape)?;
        let scale = self.builder.constant(format!("{name}.weight.scale"), Values::Floats(scales), &dims(scales))?;
        let zero = self.builder.constant(format!("{name}.weight.zero_point"), zeros, &dims(scales))?;
        Ok(self.dequantize_constant(format!("{name}/weight"), &[&codes, &scale, &zero], scales.len()))
    }

    /// Codes in the target's type.
    fn codes(&self, codes: &[i32]) -> Result<Values<'static>> {
        let values = match self.net.target {
            Target::Int8 => codes.iter().map(|code| i8::try_from(*code)).collect::<Result<_, _>>().map(Values::Int8),
            Target::Uint8 => codes.iter().map(|code| u8::try_from(*code)).collect::<Result<_, _>>().map(Values::Uint8),
        };
        let target = self.net.target.name();
        values.map_err(|_| Error::failed(format!("its weights hold a code or zero point that is no {target}")))
    }

    fn dequantize_constant(&mut self, name: String, inputs: &[&str], scales: usize) -> String {
        let attributes = if scales == 1 { Vec::new() } else { vec![int("axis", 0)] };
        self.builder.node(name, "DequantizeLinear", inputs, attributes)
    }

    /// What holds the input's values, brought to the output's grid where that is another.
    fn moved(&mut self, operator: &Operator, held: String) -> Result<String> {
        let [from, to] = [self.value(operator.inputs[0])?.grid, self.value(operator.output)?.grid];
        if from == to {
            return Ok(held);
        }
        let real = self.decode(operator.inputs[0], &held, &operator.name)?;
        self.store(operator.output, real)
    }

    /// Cuts values as the activation function does; codes where saturation has not.
    fn activate(&mut self, operator: &Operator, held: String) -> Result<String> {
        let name = self.value(operator.output)?.name.clone();
        let Some((scale, zero)) = self.grid_of(operator.output)? else {
            let name = format!("{name}/activation");
            return match operator.activation {
                Activation::None => Ok(held),
                Activation::Relu => Ok(self.builder.node(name, "Relu", &[&held], Vec::new())),
                Activation::Relu6 => relu6(&mut self.builder, &name, &held),
            };
        };
        let six = f32::from(zero) + (6.0 / scale).round_ties_even();
        let (low, high) = match operator.activation {
            Activation::None => (0, u8::MAX),
            Activation::Relu => (zero, u8::MAX),
            // A float beyond the type's range becomes its end.
            Activation::Relu6 => (zero, six as u8),
        };
        if (low, high) == (0, u8::MAX) {
            return Ok(held);
        }
        let name = format!("{name}/clipped");
        let low = self.builder.constant(format!("{name}.low"), Values::Uint8(vec![low]), &[])?;
        let high = self.builder.constant(format!("{name}.high"), Values::Uint8(vec![high]), &[])?;
        Ok(self.builder.node(name, "Clip", &[&held, &low, &high], Vec::new()))
    }

    fn finish(mut self, info: &OnnxInfo) -> Result<Vec<u8>> {
        let net = self.net;
        let classes = value_count(&self.value(net.output)?.shape);
        let images = self.value(net.input)?.shape;
        let held = self.held(net.output)?;
        match self.grid_of(net.output)? {
            Some(grid) => {
                let row = held.as_row(&mut self.builder, super::LOGITS);
                let [scale, zero] = self.grid(grid, super::LOGITS)?;
                self.builder.logits("DequantizeLinear", &[&row, &scale, &zero], Vec::new());
            }
            None if held.row => self.builder.logits("Identity", &[&held.tensor], Vec::new()),
            None => self.builder.logits("Flatten", &[&held.tensor], vec![int("axis", 1)]),
        }
        let coded = |layer: &Layer| !matches!(layer, Layer::Float { weights: FloatWeights::Values { .. }, .. });
        let quantized = net.values.iter().any(|value| value.grid.is_some())
            || net.operators.iter().filter_map(|operator| operator.kind.layer()).any(coded);
        let quantization = if quantized { net.target.name() } else { "none" };
        let metadata = info.metadata(&net.mean, &net.std, quantization);
        self.builder.finish(images, classes, metadata)
    }
}

/// The shape of scales: a scalar for the tensor, or a list by channel.
fn dims(scales: &[f32]) -> Vec<usize> {
    if scales.len() == 1 { Vec::new() } else { vec![scales.len()] }
}
