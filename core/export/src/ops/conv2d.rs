//! Convolutions. .tflite has an operator for one group for each input channel (depth-wise), and one
//! for all others; .pb has no groups but those, so its kernel of other groups holds zeros between
//! them.

use super::Export;
use crate::deployed::lowering::{Lowering, Weighed};
use crate::deployed::{Grid, Operator};
use crate::onnx::builder::{int, ints};
use crate::pb::builder::{text, window};
use crate::pb::fake_quant::WeightGrid;
use crate::pb::writer::{VALID, i32_of, padding_mode};
use crate::tflite::build::builder::Sweep;
use crate::tflite::build::layout::Layout;
use crate::tflite::build::network::Network;
use crate::{onnx, pb};
use pocketflow::graph::{Conv2d, Node, NodeId, Op};
use pocketflow::{Error, Result};

impl Export for Conv2d {
    fn lower(&self, lowering: &Lowering<'_>, id: NodeId, input: Option<Grid>) -> Result<(Op, Option<Weighed>)> {
        let Self { out, kernel, groups, .. } = *self;
        let shape = [out, lowering.input_shape(id)[0] / groups, kernel[0], kernel[1]];
        Ok((self.clone().into(), Some(lowering.layer(id, shape, input)?)))
    }

    fn tflite(&self, network: &mut Network<'_>, operator: &Operator, from: usize, float: bool) -> Result<usize> {
        let layer = operator.layer()?;
        let source = network.value(operator.inputs[0])?;
        let [out, per_group, height, width] = layer.shape();
        let channels = source.shape[2];
        let depthwise = self.groups > 1 && self.groups == channels && per_group == 1;
        let multiplier = depthwise.then_some(out / channels.max(1));
        let constants = network.constants(&operator.name, layer, source, Layout::of(depthwise))?;
        let output = network.output(operator.output, 4, float)?;
        let Self { stride, padding, dilation, .. } = *self;
        let sweep = Sweep { kernel: [height, width], stride, padding, dilation };
        network.builder.conv(from, constants, sweep, multiplier, operator.activation, output)?;
        Ok(output)
    }

    fn onnx(&self, writer: &mut onnx::Writer<'_>, operator: &Operator, held: onnx::Held) -> Result<onnx::Held> {
        let shape = operator.layer()?.shape();
        let [_, per_group, height, width] = shape;
        let groups = writer.value(operator.inputs[0])?.shape[2].checked_div(per_group).unwrap_or_default();
        let image = held.as_image(&mut writer.builder, &operator.name)?;
        let attributes = vec![
            ints("kernel_shape", &[height, width]),
            ints("strides", &self.stride),
            ints("pads", &self.padding),
            int("group", groups),
        ];
        let attributes = match self.dilation {
            [1, 1] => attributes,
            dilation => [attributes, vec![ints("dilations", &dilation)]].concat(),
        };
        Ok(onnx::Held::image(writer.layer(operator, "Conv", &image, &shape, attributes)?))
    }

    /// # Errors
    /// Parameters that are missing or have another size.
    fn pb(&self, writer: &mut pb::Writer<'_>, node: &Node) -> Result<pb::Held> {
        let Self { out, kernel, stride, padding, dilation, groups, bias } = *self;
        let (name, from) = (node.name.as_str(), writer.as_image(node.inputs[0], &node.name)?);
        let [channels, height, width] = writer.shape(node.inputs[0]);
        let depthwise = groups > 1 && groups == channels;
        // TensorFlow takes a dilation where nothing else is out of the ordinary; a kernel with
        // zeros between its pixels computes the same.
        let stretched = depthwise || stride != [1; 2];
        let spread =
            Spread { groups: if depthwise { 1 } else { groups }, dilation: if stretched { dilation } else { [1; 2] } };
        let of_group = [out, channels / groups.max(1)];
        let weights = kernel_of(writer, name, of_group, kernel, spread, depthwise.then_some(channels))?;
        let reach = [0, 1].map(|side| extent(kernel[side], dilation[side]));
        let (from, mode) = match padding_mode([height, width], reach, stride, padding) {
            Some(mode) => (from, mode),
            None => {
                let [top, left, bottom, right] = padding;
                let sides = [[top, bottom], [left, right], [0; 2]];
                (writer.pad(&format!("{name}/pad"), &from, sides, None)?, VALID)
            }
        };
        let mut attributes =
            vec![("strides", window(stride[0], stride[1])), ("padding", text(mode)), ("data_format", text("NHWC"))];
        if !stretched && dilation != [1; 2] {
            attributes.push(("dilations", window(dilation[0], dilation[1])));
        }
        let op = if depthwise { "DepthwiseConv2dNative" } else { "Conv2D" };
        Ok(pb::Held::image(writer.with_bias(name, op, [&from, &weights], attributes, bias.then_some(out))?))
    }
}

/// Pixels from the first to the last under a kernel.
fn extent(kernel: usize, dilation: usize) -> usize {
    kernel.saturating_sub(1).saturating_mul(dilation).saturating_add(1)
}

/// What is between the weights of a kernel when it is written: zeros.
#[derive(Debug, Clone, Copy)]
struct Spread {
    /// Each group's weights on the channels that it reads, of all channels.
    groups: usize,
    /// Rows and columns between the kernel's own.
    dilation: [usize; 2],
}

impl Spread {
    /// Weights `[height, width, in, out]` with the zeros, and their shape.
    ///
    /// # Errors
    /// More values than memory addresses.
    fn apply(self, values: Vec<f32>, sizes: [usize; 4]) -> Result<(Vec<f32>, [usize; 4])> {
        let Self { groups, dilation } = self;
        let [height, width, depth, out] = sizes;
        if groups == 1 && dilation == [1; 2] {
            return Ok((values, sizes));
        }
        let spread = [extent(height, dilation[0]), extent(width, dilation[1]), depth * groups, out];
        let count = spread.iter().try_fold(1usize, |count, size| count.checked_mul(*size));
        let count = count.filter(|count| *count <= MOST_WEIGHTS);
        let count = count.ok_or_else(|| Error::failed(format!("a kernel {spread:?} does not fit into a .pb file")))?;
        let mut placed = vec![0.0; count];
        for (index, value) in values.into_iter().enumerate() {
            let (output, rest) = (index % out, index / out);
            let (input, rest) = (rest % depth, rest / depth);
            let (row, column) = (rest / width * dilation[0], rest % width * dilation[1]);
            let input = output / (out / groups) * depth + input;
            placed[((row * spread[1] + column) * spread[2] + input) * out + output] = value;
        }
        Ok((placed, spread))
    }
}

/// A .pb file ends at 2 GiB.
const MOST_WEIGHTS: usize = 1 << 29;

/// The kernel `[height, width, in, out]`, or of a depth-wise convolution of so many channels
/// `[height, width, channels, multiplier]`, in which the same weights lie in the same order.
fn kernel_of(
    writer: &mut pb::Writer<'_>,
    name: &str,
    [out, per_group]: [usize; 2],
    [height, width]: [usize; 2],
    spread: Spread,
    depthwise: Option<usize>,
) -> Result<String> {
    let values = writer.weights(name, [out, per_group, height, width])?;
    let (values, [height, width, per_group, _]) = spread.apply(values, [height, width, per_group, out])?;
    let constant = format!("{name}/weight");
    let grid = writer.grid(name, out);
    let sizes = match depthwise {
        None => [height, width, per_group, out],
        Some(channels) => [height, width, channels, out / channels.max(1)],
    };
    // The operator by channel takes the last axis, which a depth-wise kernel's output channel is
    // only before it is reshaped.
    let flat = depthwise.is_some() && matches!(grid, Some(WeightGrid::Channels { .. }));
    let constant = match flat {
        true => writer.builder.floats(&constant, &values, &[height, width, out])?,
        false => writer.builder.floats(&constant, &values, &sizes)?,
    };
    let quantized = match grid {
        Some(grid) => grid.apply(&mut writer.builder, &constant)?,
        None => return Ok(constant),
    };
    if !flat {
        return Ok(quantized);
    }
    let sizes: Result<Vec<i32>> = sizes.into_iter().map(i32_of).collect();
    writer.reshape(&format!("{name}/kernel"), &quantized, &sizes?)
}
