//! Global average pooling: an average pool where it keeps the grid of its input, else a mean.

use super::Export;
use crate::deployed::Operator;
use crate::pb::builder::{text, window};
use crate::pb::proto::{DataType, Value};
use crate::pb::writer::VALID;
use crate::tflite::build::network::Network;
use crate::tflite::model::{Kind, Padding};
use crate::{onnx, pb};
use pocketflow::Result;
use pocketflow::graph::{GlobalAvgPool, Node};
use pocketflow::integer::Target;

impl Export for GlobalAvgPool {
    fn tflite(&self, network: &mut Network<'_>, operator: &Operator, from: usize, float: bool) -> Result<usize> {
        let [source, result] = [network.value(operator.inputs[0])?, network.value(operator.output)?];
        if source.grid == result.grid && !float {
            let [height, width, _] = source.shape;
            let output = network.output(operator.output, 4, float)?;
            let kind = Kind::AveragePool2d {
                filter: [height, width],
                // Of no effect on one window; TensorFlow's own file says so.
                stride: [height.min(2), width.min(2)],
                padding: Padding::Valid,
                activation: operator.activation,
            };
            network.builder.operator(kind, &[from], output);
            return Ok(output);
        }
        let flat = network.only_flat[operator.output] && network.net.target == Target::Int8;
        let rank = if flat { 2 } else { 4 };
        let output = network.output(operator.output, rank, float)?;
        network.builder.mean(from, output)?;
        Ok(output)
    }

    fn onnx(&self, writer: &mut onnx::Writer<'_>, operator: &Operator, held: onnx::Held) -> Result<onnx::Held> {
        let name = operator.name.as_str();
        let image = held.as_image(&mut writer.builder, name)?;
        let real = writer.decode(operator.inputs[0], &image, name)?;
        let mean = writer.builder.node(name.into(), "GlobalAveragePool", &[&real], Vec::new());
        let grid = match writer.grid_of(operator.output)? {
            Some((scale, 0)) => Some((rounded_up(writer, operator, scale)?, 0)),
            other => other,
        };
        Ok(onnx::Held::image(writer.encode(operator.output, mean, grid)?))
    }

    /// A mean where it has a grid of its own. In a quantized network that gives it none it is an
    /// average pool, which the converter keeps on the grid of its input.
    fn pb(&self, writer: &mut pb::Writer<'_>, node: &Node) -> Result<pb::Held> {
        let (name, from) = (node.name.as_str(), writer.as_image(node.inputs[0], &node.name)?);
        let [_, height, width] = writer.shape(node.inputs[0]);
        let grids = &writer.model.plan.activations;
        if !grids.is_empty() && !grids.contains_key(name) {
            let attributes = vec![
                ("ksize", window(height, width)),
                ("strides", window(1, 1)),
                ("padding", text(VALID)),
                ("data_format", text("NHWC")),
            ];
            return Ok(pb::Held::image(writer.builder.node(name, "AvgPool", &[&from], attributes)));
        }
        let axes = writer.builder.ints(&format!("{name}/axes"), &[1, 2], &[2])?;
        let attributes = vec![("Tidx", DataType::Int32.attribute()), ("keep_dims", Value::B(false))];
        Ok(pb::Held { node: writer.builder.node(name, "Mean", &[&from, &axes], attributes), row: true })
    }
}

/// The scale that an average is encoded on in .onnx, where the zero point is the lowest code.
/// TensorFlow Lite's average pool of uint8, which keeps the grid of its input, rounds halves up,
/// and ONNX Runtime to even codes; a scale less by a millionth makes it round up too and moves no
/// other average.
fn rounded_up(writer: &onnx::Writer<'_>, operator: &Operator, scale: f32) -> Result<f32> {
    /// Averages of more pixels come nearer to a half than what the scale moves them by.
    const MOST_PIXELS: usize = 1024;
    let [input, output] = [writer.value(operator.inputs[0])?, writer.value(operator.output)?];
    let pixels = input.shape[0].saturating_mul(input.shape[1]);
    let keeps = writer.net.target == Target::Uint8 && input.grid == output.grid;
    Ok(if keeps && pixels <= MOST_PIXELS { scale * (1.0 - 2f32.powi(-20)) } else { scale })
}
