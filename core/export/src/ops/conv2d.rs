//! Convolutions: one group, or one for each input channel (depth-wise).

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
        let channels = lowering.input_shape(id)[0];
        if groups > 1 && (groups != channels || out != channels) && !lowering.all_in_float() {
            let problem = format!("a convolution of {groups} groups has no integer kernel");
            return Err(lowering.fail(id, &format!("{problem}: use 1 group, or one for each channel")));
        }
        let shape = [out, channels / groups, kernel[0], kernel[1]];
        Ok((self.clone().into(), Some(lowering.layer(id, shape, input)?)))
    }

    fn tflite(&self, network: &mut Network<'_>, operator: &Operator, from: usize, float: bool) -> Result<usize> {
        let layer = operator.layer()?;
        let source = network.value(operator.inputs[0])?;
        let [out, per_group, height, width] = layer.shape();
        let channels = source.shape[2];
        let groups = channels / per_group.max(1);
        let depthwise = self.groups > 1 && self.groups == channels;
        if groups > 1 && !depthwise {
            return Err(Error::failed(format!(
                "convolution `{}` has {groups} groups; .tflite can express one, or one per input channel",
                operator.name
            )));
        }
        let multiplier = depthwise.then_some(out / channels.max(1));
        let constants = network.constants(&operator.name, layer, source, Layout::of(depthwise))?;
        let output = network.output(operator.output, 4, float)?;
        let sweep = Sweep { kernel: [height, width], stride: self.stride, padding: self.padding };
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
        Ok(onnx::Held::image(writer.layer(operator, "Conv", &image, &shape, attributes)?))
    }

    /// # Errors
    /// Groups other than one, or one for each input channel; parameters that are missing or have
    /// another size.
    fn pb(&self, writer: &mut pb::Writer<'_>, node: &Node) -> Result<pb::Held> {
        let Self { out, kernel, stride, padding, groups, bias } = *self;
        let (name, from) = (node.name.as_str(), writer.as_image(node.inputs[0], &node.name)?);
        let [channels, height, width] = writer.shape(node.inputs[0]);
        let depthwise = groups > 1;
        if depthwise && groups != channels {
            let problem = format!("TensorFlow's converter has no convolution of {groups} groups");
            let advice = format!("use 1 group or {channels}, or the float .onnx");
            return Err(Error::config(format!("{problem}: {advice}")));
        }
        let weights = kernel_of(writer, name, [out, channels / groups.max(1)], kernel, depthwise.then_some(channels))?;
        let (from, mode) = match padding_mode([height, width], kernel, stride, padding) {
            Some(mode) => (from, mode),
            None => {
                let [top, left, bottom, right] = padding;
                let sides = [[top, bottom], [left, right], [0; 2]];
                (writer.pad(&format!("{name}/pad"), &from, sides, None)?, VALID)
            }
        };
        let attributes =
            vec![("strides", window(stride[0], stride[1])), ("padding", text(mode)), ("data_format", text("NHWC"))];
        let op = if depthwise { "DepthwiseConv2dNative" } else { "Conv2D" };
        Ok(pb::Held::image(writer.with_bias(name, op, [&from, &weights], attributes, bias.then_some(out))?))
    }
}

/// The kernel `[height, width, in, out]`, or of a depth-wise convolution of so many channels
/// `[height, width, channels, multiplier]`, in which the same weights lie in the same order.
fn kernel_of(
    writer: &mut pb::Writer<'_>,
    name: &str,
    [out, per_group]: [usize; 2],
    [height, width]: [usize; 2],
    depthwise: Option<usize>,
) -> Result<String> {
    let values = writer.weights(name, [out, per_group, height, width])?;
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
