//! Layers with weights: their order of axes is TensorFlow's, their grids those of the plan.

use super::builder::{Named, text, window};
use super::fake_quant::WeightGrid;
use super::operators::{VALID, Writer, i32_of, padding_mode};
use super::proto::Value;
use pocketflow::graph::{Conv2d, Linear, Node, Op, Shape};
use pocketflow::tensors::Stored;
use pocketflow::{Error, Result};

impl Writer<'_> {
    /// A convolution of `from`, an image of this shape.
    ///
    /// # Errors
    /// Groups other than one, or one for each input channel; parameters that are missing or have
    /// another size.
    pub(super) fn convolution(&mut self, node: &Node, from: &str, shape: Shape) -> Result<String> {
        let Op::Conv2d(Conv2d { out, kernel, stride, padding, groups, bias }) = node.op else {
            return Err(Error::failed("it is no convolution"));
        };
        let [channels, height, width] = shape;
        let depthwise = groups > 1;
        if depthwise && groups != channels {
            let problem = format!("TensorFlow's converter has no convolution of {groups} groups");
            let advice = format!("use 1 group or {channels}, or the float .onnx");
            return Err(Error::config(format!("{problem}: {advice}")));
        }
        let name = node.name.as_str();
        let weights = self.kernel(name, [out, channels / groups.max(1)], kernel, depthwise.then_some(channels))?;
        let (from, mode) = match padding_mode([height, width], kernel, stride, padding) {
            Some(mode) => (from.to_owned(), mode),
            None => {
                let [top, left, bottom, right] = padding;
                let sides = [[top, bottom], [left, right], [0; 2]];
                (self.pad(&format!("{name}/pad"), from, sides, None)?, VALID)
            }
        };
        let attributes =
            vec![("strides", window(stride[0], stride[1])), ("padding", text(mode)), ("data_format", text("NHWC"))];
        let op = if depthwise { "DepthwiseConv2dNative" } else { "Conv2D" };
        self.with_bias(name, op, [&from, &weights], attributes, bias.then_some(out))
    }

    /// A fully connected layer of `from`, the row of an image of this shape.
    ///
    /// # Errors
    /// Parameters that are missing or have another size.
    pub(super) fn linear(&mut self, node: &Node, from: &str, shape: Shape) -> Result<String> {
        let Op::Linear(Linear { out, bias }) = node.op else {
            return Err(Error::failed("it is no fully connected layer"));
        };
        let name = node.name.as_str();
        let [channels, height, width] = shape;
        let values =
            last_axis_out(&self.weights(name, &[out, channels, height, width])?, [out, channels, height, width]);
        let constant = self.builder.floats(&format!("{name}/weight"), &values, &[values.len() / out.max(1), out])?;
        // By channel the converter fails on a MatMul; of the bare constant it makes a grid by
        // channel itself.
        let weights = match self.grid(name, out) {
            Some(grid @ WeightGrid::Tensor(_)) => grid.apply(&mut self.builder, &constant)?,
            _ => constant,
        };
        let attributes = vec![("transpose_a", Value::B(false)), ("transpose_b", Value::B(false))];
        self.with_bias(name, "MatMul", [from, &weights], attributes, bias.then_some(out))
    }

    /// The kernel `[height, width, in, out]`, or of a depth-wise convolution of so many channels
    /// `[height, width, channels, multiplier]`, in which the same weights lie in the same order.
    fn kernel(
        &mut self,
        name: &str,
        [out, per_group]: [usize; 2],
        [height, width]: [usize; 2],
        depthwise: Option<usize>,
    ) -> Result<String> {
        let shape = [out, per_group, height, width];
        let values = last_axis_out(&self.weights(name, &shape)?, shape);
        let constant = format!("{name}/weight");
        let grid = self.grid(name, out);
        let sizes = match depthwise {
            None => [height, width, per_group, out],
            Some(channels) => [height, width, channels, out / channels.max(1)],
        };
        // The operator by channel takes the last axis, which a depth-wise kernel's output channel
        // is only before it is reshaped.
        let flat = depthwise.is_some() && matches!(grid, Some(WeightGrid::Channels { .. }));
        let constant = match flat {
            true => self.builder.floats(&constant, &values, &[height, width, out])?,
            false => self.builder.floats(&constant, &values, &sizes)?,
        };
        let quantized = match grid {
            Some(grid) => grid.apply(&mut self.builder, &constant)?,
            None => return Ok(constant),
        };
        if !flat {
            return Ok(quantized);
        }
        let sizes: Result<Vec<i32>> = sizes.into_iter().map(i32_of).collect();
        self.reshape(&format!("{name}/kernel"), &quantized, &sizes?)
    }

    fn with_bias(
        &mut self,
        name: &str,
        op: &str,
        inputs: [&str; 2],
        attributes: Vec<Named>,
        bias: Option<usize>,
    ) -> Result<String> {
        let Some(out) = bias else {
            return Ok(self.builder.node(name, op, &inputs, attributes));
        };
        let product = self.builder.node(&format!("{name}/{op}"), op, &inputs, attributes);
        let values = self.model.values(&format!("{name}.bias"))?;
        let bias = self.builder.floats(&format!("{name}/bias"), &values, &[out])?;
        Ok(self.builder.node(name, "BiasAdd", &[&product, &bias], vec![("data_format", text("NHWC"))]))
    }

    fn weights(&self, layer: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let values = self.model.values(&format!("{layer}.weight"))?;
        match shape.iter().try_fold(1usize, |count, size| count.checked_mul(*size)) == Some(values.len()) {
            true => Ok(values),
            false => Err(Error::failed(format!("{} weights do not make the shape {shape:?}", values.len()))),
        }
    }

    fn grid(&self, layer: &str, out: usize) -> Option<WeightGrid> {
        match self.model.tensors.get(&format!("{layer}.weight")) {
            Some(Stored::Packed { quantized, .. }) => WeightGrid::of(quantized, out),
            _ => None,
        }
    }
}

/// `[out, in, height, width]` to `[height, width, in, out]`; there are as many values as the shape
/// says.
fn last_axis_out(values: &[f32], [out, per_group, height, width]: [usize; 4]) -> Vec<f32> {
    let pixels = height * width;
    let pixel = |at: usize| {
        (0..per_group).flat_map(move |input| (0..out).map(move |output| (output * per_group + input) * pixels + at))
    };
    (0..pixels).flat_map(pixel).filter_map(|index| values.get(index).copied()).collect()
}
