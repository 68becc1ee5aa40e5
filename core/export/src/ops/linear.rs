//! Fully connected layers.

use super::Export;
use crate::deployed::lowering::{Lowering, Weighed};
use crate::deployed::{Grid, Layer, Operator};
use crate::onnx::builder::int;
use crate::onnx::writer::value_count;
use crate::pb::fake_quant::WeightGrid;
use crate::pb::proto::Value;
use crate::tflite::build::builder::Sweep;
use crate::tflite::build::layout::Layout;
use crate::tflite::build::network::Network;
use crate::{onnx, pb};
use pocketflow::graph::{Conv2d, Linear, Node, NodeId, Op};
use pocketflow::integer::Target;
use pocketflow::{Error, Result};

impl Export for Linear {
    fn lower(&self, lowering: &Lowering<'_>, id: NodeId, input: Option<Grid>) -> Result<(Op, Option<Weighed>)> {
        let [channels, height, width] = lowering.input_shape(id);
        let weighed = lowering.layer(id, [self.out, channels, height, width], input)?;
        let op = match (&weighed.0, [height, width]) {
            (Layer::Float { .. }, _) | (_, [1, 1]) => self.clone().into(),
            // On an image it is a convolution with a kernel of the image's size: the weights lie in
            // its order.
            (_, kernel) => {
                let Self { out, bias } = *self;
                Conv2d { out, kernel, stride: [1; 2], padding: [0; 4], dilation: [1; 2], groups: 1, bias }.into()
            }
        };
        Ok((op, Some(weighed)))
    }

    fn tflite(&self, network: &mut Network<'_>, operator: &Operator, from: usize, float: bool) -> Result<usize> {
        let (name, layer) = (&operator.name, operator.layer()?);
        let source = network.value(operator.inputs[0])?;
        if source.shape[..2] != [1, 1] && !float {
            let shape = source.shape;
            return Err(Error::failed(format!("it is fully connected to an image of the shape {shape:?}")));
        }
        // As TensorFlow's first quantized models have it.
        if network.net.target == Target::Uint8 && !float {
            let constants = network.constants(name, layer, source, Layout::Conv)?;
            let output = network.output(operator.output, 4, float)?;
            let sweep = Sweep { kernel: [1; 2], stride: [1; 2], padding: [0; 4], dilation: [1; 2] };
            network.builder.conv(from, constants, sweep, None, operator.activation, output)?;
            return Ok(output);
        }
        let constants = network.constants(name, layer, source, Layout::Linear)?;
        let output = network.output(operator.output, 2, float)?;
        network.builder.linear(from, constants, operator.activation, output)?;
        Ok(output)
    }

    fn onnx(&self, writer: &mut onnx::Writer<'_>, operator: &Operator, held: onnx::Held) -> Result<onnx::Held> {
        let [out, inputs @ ..] = operator.layer()?.shape();
        let row = held.as_row(&mut writer.builder, &operator.name);
        let tensor = writer.layer(operator, "Gemm", &row, &[out, value_count(&inputs)], vec![int("transB", 1)])?;
        Ok(onnx::Held { tensor, row: true })
    }

    /// # Errors
    /// Parameters that are missing or have another size.
    fn pb(&self, writer: &mut pb::Writer<'_>, node: &Node) -> Result<pb::Held> {
        let Self { out, bias } = *self;
        let (name, from) = (node.name.as_str(), writer.as_row(node.inputs[0], &node.name)?);
        let [channels, height, width] = writer.shape(node.inputs[0]);
        let values = writer.weights(name, [out, channels, height, width])?;
        let sizes = [values.len() / out.max(1), out];
        let constant = writer.builder.floats(&format!("{name}/weight"), &values, &sizes)?;
        // By channel the converter fails on a MatMul; of the bare constant it makes a grid by
        // channel itself.
        let weights = match writer.grid(name, out) {
            Some(grid @ WeightGrid::Tensor(_)) => grid.apply(&mut writer.builder, &constant)?,
            _ => constant,
        };
        let attributes = vec![("transpose_a", Value::B(false)), ("transpose_b", Value::B(false))];
        let node = writer.with_bias(name, "MatMul", [&from, &weights], attributes, bias.then_some(out))?;
        Ok(pb::Held { node, row: true })
    }
}
