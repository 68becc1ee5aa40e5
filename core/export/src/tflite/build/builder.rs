//! Tensors by name, and the operators that a node takes, whatever its values are held in.

use super::window::{Window, window};
use crate::deployed::Activation;
use crate::tflite::model::{DType, Kind, Operator, Padding, Quantization, Tensor, TfliteModel};
use pocketflow::error::{Error, Result};

/// A window of a convolution or pooling; `padding` is top, left, bottom, right; the pixels under it
/// lie `dilation` apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sweep {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub padding: [usize; 4],
    pub dilation: [usize; 2],
}

impl Sweep {
    /// Pixels from the first to the last under the window.
    fn extent(&self) -> [usize; 2] {
        [0, 1].map(|side| (self.kernel[side].saturating_sub(1)).saturating_mul(self.dilation[side]).saturating_add(1))
    }
}

#[derive(Default)]
pub(crate) struct Builder {
    pub model: TfliteModel,
}

impl Builder {
    /// A computed tensor.
    pub(crate) fn value(
        &mut self,
        name: impl Into<String>,
        shape: Vec<usize>,
        dtype: DType,
        quantization: Option<Quantization>,
    ) -> usize {
        self.push(Tensor { name: name.into(), shape, dtype, quantization, data: None })
    }

    /// A constant; `data` in the type's bytes.
    pub(crate) fn constant(
        &mut self,
        name: impl Into<String>,
        shape: Vec<usize>,
        dtype: DType,
        quantization: Option<Quantization>,
        data: Vec<u8>,
    ) -> usize {
        self.push(Tensor { name: name.into(), shape, dtype, quantization, data: Some(data) })
    }

    fn push(&mut self, tensor: Tensor) -> usize {
        self.model.tensors.push(tensor);
        self.model.tensors.len() - 1
    }

    /// Sizes as a constant of int32.
    fn sizes(&mut self, name: String, shape: Vec<usize>, sizes: &[usize]) -> Result<usize> {
        let mut data = Vec::with_capacity(4 * sizes.len());
        for size in sizes {
            let size = i32::try_from(*size).map_err(|_| Error::failed(format!("`{name}` holds {size}: too large")))?;
            data.extend(size.to_le_bytes());
        }
        Ok(self.constant(name, shape, DType::Int32, None, data))
    }

    pub(crate) fn shape(&self, tensor: usize) -> &[usize] {
        &self.model.tensors[tensor].shape
    }

    fn name(&self, tensor: usize) -> String {
        self.model.tensors[tensor].name.clone()
    }

    /// A computed tensor of another shape, on the grid of `like`.
    pub(crate) fn like(&mut self, like: usize, name: impl Into<String>, shape: Vec<usize>) -> usize {
        let Tensor { dtype, quantization, .. } = self.model.tensors[like].clone();
        self.value(name, shape, dtype, quantization)
    }

    pub(crate) fn operator(&mut self, kind: Kind, inputs: &[usize], output: usize) {
        let inputs = inputs.iter().copied().map(Some).collect();
        self.model.operators.push(Operator { kind, inputs, outputs: vec![output] });
    }

    /// Layers: filter and bias are constants of the layer's kind.
    pub(crate) fn conv(
        &mut self,
        from: usize,
        [filter, bias]: [usize; 2],
        sweep: Sweep,
        multiplier: Option<usize>,
        activation: Activation,
        output: usize,
    ) -> Result<()> {
        let from = self.image(from, output)?;
        let (from, padding) = self.padded(from, sweep, output)?;
        let Sweep { stride, dilation, .. } = sweep;
        let kind = match multiplier {
            Some(multiplier) => Kind::DepthwiseConv2d { stride, padding, dilation, multiplier, activation },
            None => Kind::Conv2d { stride, padding, dilation, activation },
        };
        self.operator(kind, &[from, filter, bias], output);
        Ok(())
    }

    pub(crate) fn linear(
        &mut self,
        from: usize,
        [filter, bias]: [usize; 2],
        activation: Activation,
        output: usize,
    ) -> Result<()> {
        let from = self.flat(from, output)?;
        self.operator(Kind::FullyConnected { activation }, &[from, filter, bias], output);
        Ok(())
    }

    pub(crate) fn add(&mut self, inputs: [usize; 2], activation: Activation, output: usize) -> Result<()> {
        let shape = self.shape(output).to_vec();
        let mut reshaped = [0; 2];
        for (input, reshaped) in inputs.into_iter().zip(&mut reshaped) {
            *reshaped = self.reshaped(input, shape.clone(), output)?;
        }
        self.operator(Kind::Add { activation }, &reshaped, output);
        Ok(())
    }

    /// `nonnegative`: no value of the input is below zero, so that zeros around it change no
    /// maximum. Else it is the least of all values that is put around.
    pub(crate) fn max_pool(&mut self, from: usize, sweep: Sweep, nonnegative: bool, output: usize) -> Result<()> {
        let from = self.image(from, output)?;
        let [_, height, width, _] = self.image_shape(from)?;
        let is_explicit = window([height, width], sweep.extent(), sweep.stride, sweep.padding) == Window::Explicit;
        let (from, padding) = match is_explicit && !nonnegative {
            true => (self.least_around(from, sweep.padding, output)?, Padding::Valid),
            false => self.padded(from, sweep, output)?,
        };
        let Sweep { kernel: filter, stride, .. } = sweep;
        self.operator(Kind::MaxPool2d { filter, stride, padding, activation: Activation::None }, &[from], output);
        Ok(())
    }

    /// The least value of its type around an image, top, left, bottom and right.
    fn least_around(&mut self, from: usize, padding: [usize; 4], reader: usize) -> Result<usize> {
        let [batch, height, width, channels] = self.image_shape(from)?;
        let [top, left, bottom, right] = padding;
        let name = self.name(reader);
        let sides = self.sizes(format!("{name}/paddings"), vec![4, 2], &[0, 0, top, bottom, left, right, 0, 0])?;
        let Tensor { dtype, quantization, .. } = self.model.tensors[from].clone();
        let least = match dtype {
            DType::Int8 => vec![i8::MIN.cast_unsigned()],
            DType::Uint8 => vec![0],
            _ => f32::MIN.to_le_bytes().to_vec(),
        };
        let least = self.constant(format!("{name}/least"), vec![1], dtype, quantization, least);
        let grown = |size: usize, by: [usize; 2]| size.saturating_add(by[0]).saturating_add(by[1]);
        let shape = vec![batch, grown(height, [top, bottom]), grown(width, [left, right]), channels];
        let padded = self.like(from, format!("{name}/padded"), shape);
        self.operator(Kind::PadV2, &[from, sides, least], padded);
        Ok(padded)
    }

    /// Zeros around an image, top, left, bottom and right.
    pub(crate) fn zeros_around(&mut self, from: usize, padding: [usize; 4], output: usize) -> Result<()> {
        let from = self.image(from, output)?;
        let [top, left, bottom, right] = padding;
        let name = format!("{}/paddings", self.name(output));
        let sides = self.sizes(name, vec![4, 2], &[0, 0, top, bottom, left, right, 0, 0])?;
        self.operator(Kind::Pad, &[from, sides], output);
        Ok(())
    }

    /// The dimensions of a tensor in another order, for the operator that makes `reader`.
    pub(crate) fn transposed(&mut self, from: usize, order: &[usize], reader: usize) -> Result<usize> {
        let shape = order.iter().map(|axis| self.shape(from)[*axis]).collect();
        let name = format!("{}/transposed", self.name(reader));
        let order = self.sizes(format!("{name}/order"), vec![order.len()], order)?;
        let transposed = self.like(from, name, shape);
        self.operator(Kind::Transpose, &[from, order], transposed);
        Ok(transposed)
    }

    /// The channels from the first to before the second; `whole` has a bit for each other
    /// dimension.
    pub(crate) fn channels(&mut self, from: usize, ends: [usize; 2], whole: i32, output: usize) -> Result<()> {
        let from = self.image(from, output)?;
        let name = self.name(output);
        let [begin, end] = [("begin", ends[0]), ("end", ends[1])].map(|(suffix, at)| (format!("{name}/{suffix}"), at));
        let begin = self.sizes(begin.0, vec![4], &[0, 0, 0, begin.1])?;
        let end = self.sizes(end.0, vec![4], &[0, 0, 0, end.1])?;
        let strides = self.sizes(format!("{name}/strides"), vec![4], &[1; 4])?;
        self.operator(Kind::StridedSlice { begin_mask: whole, end_mask: whole }, &[from, begin, end, strides], output);
        Ok(())
    }

    /// The mean over height and width; keeps the dimensions if `output` has them.
    pub(crate) fn mean(&mut self, from: usize, output: usize) -> Result<()> {
        let from = self.image(from, output)?;
        let keep_dims = self.shape(output).len() == 4;
        let axes = self.sizes(format!("{}/axes", self.name(output)), vec![2], &[1, 2])?;
        self.operator(Kind::Mean { keep_dims }, &[from, axes], output);
        Ok(())
    }

    /// Every `stride`-th pixel, zero channels before and after.
    pub(crate) fn shortcut(
        &mut self,
        from: usize,
        stride: usize,
        [before, after]: [usize; 2],
        output: usize,
    ) -> Result<()> {
        let mut from = self.image(from, output)?;
        let name = self.name(output);
        if stride > 1 {
            let [_, height, width, channels] = self.image_shape(from)?;
            let ends = self.sizes(format!("{name}/ends"), vec![4], &[0; 4])?;
            let strides = self.sizes(format!("{name}/strides"), vec![4], &[1, stride, stride, 1])?;
            let shape = vec![1, height.div_ceil(stride), width.div_ceil(stride), channels];
            let strided = if before + after == 0 { output } else { self.like(from, format!("{name}/strided"), shape) };
            // The masks say: from the very start to the very end, of each dimension.
            self.operator(Kind::StridedSlice { begin_mask: 15, end_mask: 15 }, &[from, ends, ends, strides], strided);
            from = strided;
        }
        if from != output {
            let paddings = self.sizes(format!("{name}/paddings"), vec![4, 2], &[0, 0, 0, 0, 0, 0, before, after])?;
            self.operator(Kind::Pad, &[from, paddings], output);
        }
        Ok(())
    }

    /// The input as a window of that padding takes it, and what is left to say of the padding.
    fn padded(&mut self, from: usize, sweep: Sweep, output: usize) -> Result<(usize, Padding)> {
        let [batch, height, width, channels] = self.image_shape(from)?;
        let Sweep { stride, padding, .. } = sweep;
        match window([height, width], sweep.extent(), stride, padding) {
            Window::Same => Ok((from, Padding::Same)),
            Window::Valid => Ok((from, Padding::Valid)),
            Window::Explicit => {
                let [top, left, bottom, right] = padding;
                let name = self.name(output);
                let paddings = [0, 0, top, bottom, left, right, 0, 0];
                let paddings = self.sizes(format!("{name}/paddings"), vec![4, 2], &paddings)?;
                let grown = |size: usize, by: [usize; 2]| size.saturating_add(by[0]).saturating_add(by[1]);
                let shape = vec![batch, grown(height, [top, bottom]), grown(width, [left, right]), channels];
                let padded = self.like(from, format!("{name}/padded"), shape);
                self.operator(Kind::Pad, &[from, paddings], padded);
                Ok((padded, Padding::Valid))
            }
        }
    }

    fn image_shape(&self, tensor: usize) -> Result<[usize; 4]> {
        let shape = self.shape(tensor);
        <[usize; 4]>::try_from(shape)
            .map_err(|_| Error::failed(format!("`{}` has the shape {shape:?}, which is no image", self.name(tensor))))
    }

    /// The tensor's codes on the grid of `like`: itself where it has that, else by an operator in
    /// front of the one that makes `like`.
    pub(crate) fn requantized(&mut self, tensor: usize, like: usize) -> usize {
        let same = |of: &Tensor, other: &Tensor| (of.dtype, &of.quantization) == (other.dtype, &other.quantization);
        if same(&self.model.tensors[tensor], &self.model.tensors[like]) {
            return tensor;
        }
        let (name, shape) = (format!("{}/{}", self.name(like), self.name(tensor)), self.shape(tensor).to_vec());
        let requantized = self.like(like, name, shape);
        self.operator(Kind::Quantize, &[tensor], requantized);
        requantized
    }

    /// The tensor as `[n, h, w, c]`.
    pub(crate) fn image(&mut self, tensor: usize, reader: usize) -> Result<usize> {
        match *self.shape(tensor) {
            [batch, features] => self.reshaped(tensor, vec![batch, 1, 1, features], reader),
            _ => Ok(tensor),
        }
    }

    /// The tensor as `[n, features]`.
    fn flat(&mut self, tensor: usize, reader: usize) -> Result<usize> {
        let features = self.shape(tensor)[1..].iter().fold(1usize, |count, size| count.saturating_mul(*size));
        self.reshaped(tensor, vec![self.shape(tensor)[0], features], reader)
    }

    /// The tensor in that shape: itself where it has it, else by an operator in front of the one
    /// that makes `reader`.
    pub(crate) fn reshaped(&mut self, tensor: usize, shape: Vec<usize>, reader: usize) -> Result<usize> {
        if *self.shape(tensor) == *shape {
            return Ok(tensor);
        }
        let name = format!("{}/{}", self.name(reader), self.name(tensor));
        let reshaped = self.like(tensor, name, shape);
        self.reshape(tensor, reshaped)?;
        Ok(reshaped)
    }

    pub(crate) fn reshape(&mut self, from: usize, to: usize) -> Result<()> {
        let sizes = self.shape(to).to_vec();
        let shape = self.sizes(format!("{}/shape", self.name(to)), vec![sizes.len()], &sizes)?;
        self.operator(Kind::Reshape { shape: Vec::new() }, &[from, shape], to);
        Ok(())
    }
}
