//! What operators write a .tflite file with: int8 as today's converters make them, uint8 as
//! TensorFlow's first quantized MobileNets are built, float32 where the network is float.

use super::builder::Builder;
use super::layout::{Layout, to_filter};
use crate::deployed::{Activation, DeployedNet, FloatWeights, Grid, Layer, Operator, Value, Weights};
use crate::tflite::model::{DType, Kind, Quantization};
use pocketflow::affine::Affine;
use pocketflow::error::{Error, Result};
use pocketflow::graph::{Op, Placement};
use pocketflow::integer::Target;

/// Of the codes of all targets.
const BITS: u32 = 8;

/// Of probabilities as uint8: 0 to 255/256.
const SOFTMAX_SCALE: f32 = 1.0 / 256.0;

pub(crate) fn dtype(target: Target) -> DType {
    match target {
        Target::Int8 => DType::Int8,
        Target::Uint8 => DType::Uint8,
    }
}

/// The lowest code: that of the pixel 0.
pub(crate) fn lowest(target: Target) -> i32 {
    match target {
        Target::Int8 => i32::from(i8::MIN),
        Target::Uint8 => 0,
    }
}

pub(crate) fn quantization(grid: Grid) -> Quantization {
    let (scales, zero_points) = (vec![grid.scale], vec![i64::from(grid.zero_point)]);
    Quantization { scales, zero_points, ..Quantization::default() }
}

/// A file on its way, and what each operator needs to write itself.
pub(crate) struct Network<'a> {
    pub net: &'a DeployedNet,
    pub builder: Builder,
    /// By value: whether nothing but fully connected layers reads it.
    pub only_flat: Vec<bool>,
    /// By value.
    pub(super) tensors: Vec<Option<usize>>,
    /// By value, where it has codes that an operator on floats reads.
    decoded: Vec<Option<usize>>,
    /// By value, as far as computed: whether an activation function, or what only moves and
    /// averages its values, ends the operator that makes it.
    pub activated: Vec<bool>,
}

/// By value: whether nothing but fully connected layers reads it.
fn only_flat(net: &DeployedNet) -> Vec<bool> {
    let mut only = vec![true; net.values.len()];
    let others = net.operators.iter().filter(|operator| !matches!(operator.op, Op::Linear(_)));
    for input in others.flat_map(|operator| &operator.inputs) {
        if let Some(only) = only.get_mut(*input) {
            *only = false;
        }
    }
    only
}

impl<'a> Network<'a> {
    pub(super) fn new(net: &'a DeployedNet) -> Self {
        let count = net.values.len();
        let (only_flat, activated) = (only_flat(net), vec![false; count]);
        Self {
            net,
            builder: Builder::default(),
            only_flat,
            tensors: vec![None; count],
            decoded: vec![None; count],
            activated,
        }
    }

    /// Writes an operator on each value alone; gives the tensor that it computes.
    pub fn pointwise(&mut self, kind: Kind, operator: &Operator, from: usize, float: bool) -> Result<usize> {
        let output = self.output(operator.output, self.builder.shape(from).len(), float)?;
        self.builder.operator(kind, &[from], output);
        Ok(output)
    }

    /// Writes an operator whose codes lie on the one grid of a range, and brings them to the grid
    /// of its value where that is another; gives the tensor that it computes.
    pub fn on_known_grid(
        &mut self,
        kind: Kind,
        range: Option<[f32; 2]>,
        operator: &Operator,
        from: usize,
        float: bool,
    ) -> Result<usize> {
        let output = self.output(operator.output, self.builder.shape(from).len(), float)?;
        let on_grid = (!float).then(|| range.map(|range| quantization(self.grid_of(range)))).flatten();
        if on_grid.is_none() || self.builder.model.tensors[output].quantization == on_grid {
            self.builder.operator(kind, &[from], output);
            return Ok(output);
        }
        let shape = self.builder.shape(output).to_vec();
        let computed = self.builder.value(format!("{}/exact", operator.name), shape, dtype(self.net.target), on_grid);
        self.builder.operator(kind, &[from], computed);
        self.builder.operator(Kind::Quantize, &[computed], output);
        Ok(output)
    }

    /// A tensor of the shape of `like` between the operators that a node becomes: codes on the grid
    /// of that range, or floats.
    pub fn between(
        &mut self,
        operator: &Operator,
        suffix: &str,
        like: usize,
        range: Option<[f32; 2]>,
        float: bool,
    ) -> Result<usize> {
        let (name, shape) = (format!("{}/{suffix}", operator.name), self.builder.shape(like).to_vec());
        if float {
            return Ok(self.builder.value(name, shape, DType::Float32, None));
        }
        let range = range.ok_or_else(|| Error::failed(format!("`{name}` has no range")))?;
        let grid = quantization(self.grid_of(range));
        Ok(self.builder.value(name, shape, dtype(self.net.target), Some(grid)))
    }

    /// Numbers as a constant: floats, or codes on a grid of their own.
    pub fn numbers(&mut self, name: String, values: &[f32], shape: Vec<usize>, float: bool) -> Result<usize> {
        if values.len() != shape.iter().product::<usize>() {
            return Err(Error::failed(format!("`{name}`: {} numbers do not make the shape {shape:?}", values.len())));
        }
        if float {
            let data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            return Ok(self.builder.constant(name, shape, DType::Float32, None, data));
        }
        let ends = values.iter().fold([0.0f32; 2], |[min, max], value| [min.min(*value), max.max(*value)]);
        let grid = Affine::of_range(ends, BITS);
        // int8 is uint8 less 128, whose upper bit is the other then.
        let flipped = if self.net.target == Target::Int8 { 0x80 } else { 0 };
        let data = values.iter().map(|value| grid.encode(*value) as u8 ^ flipped).collect();
        let of = quantization(self.grid_of(ends));
        Ok(self.builder.constant(name, shape, dtype(self.net.target), Some(of), data))
    }

    /// The grid of 8 bits that a range has in the target's codes.
    fn grid_of(&self, range: [f32; 2]) -> Grid {
        let Affine { scale, zero_point, .. } = Affine::of_range(range, BITS);
        Grid { scale, zero_point: zero_point + lowest(self.net.target) }
    }

    /// Whether no value is below zero: every code is at least the zero point, or an activation
    /// function made it so.
    pub fn is_nonnegative(&self, index: usize) -> Result<bool> {
        let from_zero = self.value(index)?.grid.is_some_and(|grid| grid.zero_point == lowest(self.net.target));
        Ok(from_zero || self.activated[index])
    }

    pub fn value(&self, index: usize) -> Result<&'a Value> {
        let count = self.net.values.len();
        self.net.values.get(index).ok_or_else(|| Error::failed(format!("there is no value {index} of {count}")))
    }

    pub(super) fn input(&self, value: usize) -> Result<usize> {
        let name = &self.value(value)?.name;
        self.tensors[value].ok_or_else(|| Error::failed(format!("`{name}` is read before it is computed")))
    }

    /// The tensor of a value, in float if so wished.
    pub fn read(&mut self, index: usize, float: bool) -> Result<usize> {
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
    pub fn output(&mut self, index: usize, rank: usize, float: bool) -> Result<usize> {
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

    /// Keeps what an operator computed: encoded, where floats belong on a grid.
    pub(super) fn store(&mut self, operator: &Operator, computed: usize) -> Result<()> {
        let index = operator.output;
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
        self.activated[index] = match operator.op.placement() {
            _ if operator.activation != Activation::None => true,
            Placement::Input | Placement::Rounded | Placement::Average => self.activated[operator.inputs[0]],
            _ => false,
        };
        Ok(())
    }

    /// The weights in the format's order, and the bias: on the grid of the products where they are
    /// integers.
    pub fn constants(&mut self, name: &str, layer: &Layer, source: &Value, layout: Layout) -> Result<[usize; 2]> {
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

    /// A value as a row, under its name.
    pub(super) fn row(&mut self, index: usize) -> Result<usize> {
        let tensor = self.input(index)?;
        let shape = self.builder.shape(tensor);
        if shape.len() == 2 {
            return Ok(tensor);
        }
        let (name, row) = (self.value(index)?.name.clone(), vec![1, shape.iter().product()]);
        self.builder.model.tensors[tensor].name = format!("{name}/image");
        let row = self.builder.like(tensor, name, row);
        self.builder.reshape(tensor, row)?;
        Ok(row)
    }

    /// Probabilities of the logits.
    pub(super) fn probabilities(&mut self) -> Result<usize> {
        let logits = self.input(self.net.output)?;
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

#[cfg(test)]
mod tests;
