//! What operators write an .onnx file with: values as codes or floats, grids, layers.

use super::builder::{Builder, Values, int};
use super::proto::Attribute;
use crate::deployed::{DeployedNet, FloatWeights, Grid, Layer, Operator, Value, Weights};
use pocketflow::integer::Target;
use pocketflow::{Error, Result};

/// What holds a value in the graph: a tensor's name, and whether it is `[N, features]` or `[N,
/// channels, height, width]`.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub tensor: String,
    pub row: bool,
}

impl Held {
    /// Of an image.
    pub fn image(tensor: String) -> Self {
        Self { tensor, row: false }
    }

    /// Its tensor as a row of features, for the node `reader`.
    pub fn as_row(&self, builder: &mut Builder, reader: &str) -> String {
        match self.row {
            true => self.tensor.clone(),
            false => builder.node(format!("{reader}/row"), "Flatten", &[&self.tensor], vec![int("axis", 1)]),
        }
    }

    /// Its tensor as an image, for the node `reader`.
    ///
    /// # Errors
    /// None but those of constants.
    pub fn as_image(&self, builder: &mut Builder, reader: &str) -> Result<String> {
        if !self.row {
            return Ok(self.tensor.clone());
        }
        // 0 keeps the number of samples, −1 takes what there is.
        let shape = builder.constant(format!("{reader}/shape"), Values::Int64(&[0, -1, 1, 1]), &[4])?;
        Ok(builder.node(format!("{reader}/image"), "Reshape", &[&self.tensor, &shape], Vec::new()))
    }

    /// Its tensor as a row or as an image, for the node `reader`.
    ///
    /// # Errors
    /// None but those of constants.
    pub fn shaped(&self, row: bool, builder: &mut Builder, reader: &str) -> Result<String> {
        if row { Ok(self.as_row(builder, reader)) } else { self.as_image(builder, reader) }
    }
}

/// How many values a tensor of these sizes has; the largest number where that is beyond it.
pub(crate) fn value_count(sizes: &[usize]) -> usize {
    sizes.iter().fold(1, |count, size| count.saturating_mul(*size))
}

/// A file on its way, and what each operator needs to write itself.
pub(crate) struct Writer<'a> {
    pub net: &'a DeployedNet,
    pub builder: Builder,
    /// By value: its codes (or floats, where it has no grid), once something has written them.
    held: Vec<Option<Held>>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(net: &'a DeployedNet) -> Self {
        Self { net, builder: Builder::new(&net.name), held: vec![None; net.values.len()] }
    }

    pub(crate) fn value(&self, index: usize) -> Result<&Value> {
        self.net.values.get(index).ok_or_else(|| Error::failed(format!("there is no value {index}")))
    }

    /// The value's grid, with the zero point that the file has. `None`: it is float.
    pub(crate) fn grid_of(&self, index: usize) -> Result<Option<(f32, u8)>> {
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

    pub(super) fn hold(&mut self, index: usize, tensor: String, row: bool) {
        if let Some(held) = self.held.get_mut(index) {
            *held = Some(Held { tensor, row });
        }
    }

    pub(crate) fn held(&self, index: usize) -> Result<Held> {
        let value = self.value(index)?;
        let held = self.held.get(index).cloned().flatten();
        held.ok_or_else(|| Error::failed(format!("value `{}` is read before it is written", value.name)))
    }

    /// Scale and zero point as constants, for the node of that name.
    pub(super) fn grid(&mut self, (scale, zero): (f32, u8), node: &str) -> Result<[String; 2]> {
        let scale = self.builder.constant(format!("{node}.scale"), Values::Floats(&[scale]), &[])?;
        let zero = self.builder.constant(format!("{node}.zero_point"), Values::Uint8(vec![zero]), &[])?;
        Ok([scale, zero])
    }

    /// What holds a value that was computed in float: codes where it has a grid.
    pub(crate) fn store(&mut self, index: usize, real: String) -> Result<String> {
        let grid = self.grid_of(index)?;
        self.encode(index, real, grid)
    }

    /// The codes of real values on a grid; without one, the values.
    pub(crate) fn encode(&mut self, index: usize, real: String, grid: Option<(f32, u8)>) -> Result<String> {
        let Some(grid) = grid else { return Ok(real) };
        let name = format!("{}/codes", self.value(index)?.name);
        let [scale, zero] = self.grid(grid, &name)?;
        Ok(self.builder.node(name, "QuantizeLinear", &[&real, &scale, &zero], Vec::new()))
    }

    /// The float tensor of what holds a value, for the operator that reads it.
    pub(crate) fn decode(&mut self, index: usize, held: &str, reader: &str) -> Result<String> {
        let Some(grid) = self.grid_of(index)? else { return Ok(held.into()) };
        let name = format!("{reader}/{}", self.value(index)?.name);
        let [scale, zero] = self.grid(grid, &name)?;
        Ok(self.builder.node(name, "DequantizeLinear", &[held, &scale, &zero], Vec::new()))
    }

    /// A function of each value alone that ONNX has a word for.
    pub(crate) fn function(&mut self, op: &str, operator: &Operator, held: &Held) -> Result<Held> {
        let real = self.decode(operator.inputs[0], &held.tensor, &operator.name)?;
        let result = self.builder.node(operator.name.clone(), op, &[&real], Vec::new());
        Ok(Held { tensor: self.store(operator.output, result)?, row: held.row })
    }

    /// A convolution or fully connected layer, its weights written in that shape.
    pub(crate) fn layer(
        &mut self,
        operator: &Operator,
        op: &str,
        held: &str,
        shape: &[usize],
        attributes: Vec<Attribute>,
    ) -> Result<String> {
        let (name, input, layer) = (operator.name.as_str(), operator.inputs[0], operator.layer()?);
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
    pub(crate) fn moved(&mut self, operator: &Operator, held: String) -> Result<String> {
        let [from, to] = [self.value(operator.inputs[0])?.grid, self.value(operator.output)?.grid];
        if from == to {
            return Ok(held);
        }
        let real = self.decode(operator.inputs[0], &held, &operator.name)?;
        self.store(operator.output, real)
    }
}

/// The shape of scales: a scalar for the tensor, or a list by channel.
fn dims(scales: &[f32]) -> Vec<usize> {
    if scales.len() == 1 { Vec::new() } else { vec![scales.len()] }
}
