//! Tensors by name, and the operators that a node takes, whatever its values are held in.

use super::window::{Window, window};
use crate::deployed::Activation;
use crate::tflite::model::{DType, Kind, Operator, Padding, Quantization, Tensor, TfliteModel};
use pocketflow::error::{Error, Result};

/// A window of a convolution or pooling; `padding` is top, left, bottom, right.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sweep {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub padding: [usize; 4],
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
        let stride = sweep.stride;
        let kind = match multiplier {
            Some(multiplier) => Kind::DepthwiseConv2d { stride, padding, multiplier, activation },
            None => Kind::Conv2d { stride, padding, activation },
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
    /// maximum.
    pub(crate) fn max_pool(&mut self, from: usize, sweep: Sweep, nonnegative: bool, output: usize) -> Result<()> {
        let from = self.image(from, output)?;
        let [_, height, width, _] = self.image_shape(from)?;
        if window([height, width], sweep.kernel, sweep.stride, sweep.padding) == Window::Explicit && !nonnegative {
            return Err(Error::failed(format!(
                "max pooling `{}` pads values that may be negative on both sides, which .tflite cannot express: \
                 put a ReLU before it, or pad as TensorFlow's SAME does",
                self.name(output)
            )));
        }
        let (from, padding) = self.padded(from, sweep, output)?;
        let Sweep { kernel: filter, stride, .. } = sweep;
        self.operator(Kind::MaxPool2d { filter, stride, padding, activation: Activation::None }, &[from], output);
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
        let Sweep { kernel, stride, padding } = sweep;
        match window([height, width], kernel, stride, padding) {
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

    /// The tensor as `[n, h, w, c]`.
    fn image(&mut self, tensor: usize, reader: usize) -> Result<usize> {
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
    fn reshaped(&mut self, tensor: usize, shape: Vec<usize>, reader: usize) -> Result<usize> {
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
