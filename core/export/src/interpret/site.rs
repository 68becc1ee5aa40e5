//! An operator seen from where it stands in its model: its tensors, constants and grids, with
//! errors that name it.

use super::Rounding;
use super::data::Data;
use crate::tflite::model::{Kind, Operator, Tensor, TfliteModel};
use pocketflow::{Error, Result};

/// value = scale · (code − zero point) of a whole tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Grid {
    pub scale: f32,
    pub zero_point: i32,
}

/// An operator that is being compiled.
pub(crate) struct Site<'a> {
    model: &'a TfliteModel,
    index: usize,
    pub operator: &'a Operator,
    pub rounding: Rounding,
}

impl<'a> Site<'a> {
    /// The operator's indices must be within the model.
    pub fn new(model: &'a TfliteModel, index: usize, operator: &'a Operator, rounding: Rounding) -> Self {
        Self { model, index, operator, rounding }
    }

    /// An error that says where.
    pub fn error(&self, message: impl std::fmt::Display) -> Error {
        let output = self.operator.outputs.first().and_then(|output| self.model.tensors.get(*output));
        let output = output.map_or("", |tensor| &tensor.name);
        Error::failed(format!("operator {} ({}, output {output:?}): {message}", self.index, name(&self.operator.kind)))
    }

    pub fn optional(&self, input: usize) -> Option<&'a Tensor> {
        let index = (*self.operator.inputs.get(input)?)?;
        self.model.tensors.get(index)
    }

    pub fn input(&self, input: usize) -> Result<&'a Tensor> {
        self.optional(input).ok_or_else(|| self.error(format!("input {input} is missing")))
    }

    pub fn output(&self) -> Result<&'a Tensor> {
        match self.operator.outputs[..] {
            [output] => Ok(&self.model.tensors[output]),
            _ => Err(self.error(format!("it has {} outputs, one is expected", self.operator.outputs.len()))),
        }
    }

    /// Checks the output's shape against what the inputs give.
    pub fn expect_output(&self, shape: &[usize]) -> Result<()> {
        let output = self.output()?;
        if output.shape == shape {
            return Ok(());
        }
        Err(self.error(format!("its output has the shape {:?}, its inputs give {shape:?}", output.shape)))
    }

    /// Checks that input 0 and the output have one type.
    pub fn expect_one_type(&self) -> Result<()> {
        let (input, output) = (self.input(0)?, self.output()?);
        if input.dtype == output.dtype {
            return Ok(());
        }
        Err(self.error(format!("it reads {:?} and writes {:?}, one type is expected", input.dtype, output.dtype)))
    }

    /// Checks that input 0 and the output, if quantized, have one grid: for operators that only
    /// move codes.
    pub fn expect_one_grid(&self) -> Result<()> {
        self.expect_one_type()?;
        let (input, output) = (self.input(0)?, self.output()?);
        if input.quantization.is_none() && output.quantization.is_none() {
            return Ok(());
        }
        let (before, after) = (self.grid(input)?, self.grid(output)?);
        if before == after {
            return Ok(());
        }
        Err(self
            .error(format!("input and output must have one scale and zero point, they have {before:?} and {after:?}")))
    }

    /// A constant's values.
    pub fn constant(&self, tensor: &Tensor) -> Result<Data> {
        let bytes = tensor
            .data
            .as_ref()
            .ok_or_else(|| self.error(format!("{:?} must be a constant, it is computed", tensor.name)))?;
        Data::from_bytes(tensor.dtype, bytes)
    }

    /// The int32 constant at an input: axes, paddings, shapes.
    pub fn integers(&self, input: usize) -> Result<Vec<i32>> {
        match self.constant(self.input(input)?)? {
            Data::Int32(values) => Ok(values),
            other => Err(self.error(format!("input {input} must be int32, it is {:?}", other.dtype()))),
        }
    }

    /// The one scale and zero point of a tensor of codes. The model's check has looked at the
    /// numbers themselves.
    pub fn grid(&self, tensor: &Tensor) -> Result<Grid> {
        let quantization = tensor.quantization.as_ref();
        let pair = quantization.and_then(|q| Some((*q.scales.first()?, *q.zero_points.first()?)));
        match (pair, quantization.map_or(0, |q| q.scales.len())) {
            (Some((scale, zero_point)), 1) => Ok(Grid { scale, zero_point: zero_point as i32 }),
            (_, count) => {
                Err(self.error(format!("{:?} of {:?} needs one scale, it has {count}", tensor.name, tensor.dtype)))
            }
        }
    }
}

/// The schema's name of an operator.
pub(crate) fn name(kind: &Kind) -> String {
    match kind {
        Kind::Conv2d { .. } => "CONV_2D",
        Kind::DepthwiseConv2d { .. } => "DEPTHWISE_CONV_2D",
        Kind::FullyConnected { .. } => "FULLY_CONNECTED",
        Kind::Add { .. } => "ADD",
        Kind::Mul { .. } => "MUL",
        Kind::Concatenation { .. } => "CONCATENATION",
        Kind::PadV2 => "PADV2",
        Kind::Transpose => "TRANSPOSE",
        Kind::LeakyRelu { .. } => "LEAKY_RELU",
        Kind::Prelu => "PRELU",
        Kind::AveragePool2d { .. } => "AVERAGE_POOL_2D",
        Kind::MaxPool2d { .. } => "MAX_POOL_2D",
        Kind::Mean { .. } => "MEAN",
        Kind::Pad => "PAD",
        Kind::StridedSlice { .. } => "STRIDED_SLICE",
        Kind::Reshape { .. } => "RESHAPE",
        Kind::Softmax { .. } => "SOFTMAX",
        Kind::Relu => "RELU",
        Kind::Relu6 => "RELU6",
        Kind::Quantize => "QUANTIZE",
        Kind::Dequantize => "DEQUANTIZE",
        Kind::Other { code } => return format!("builtin operator {code}"),
    }
    .to_owned()
}
