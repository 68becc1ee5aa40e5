//! Global maximum pooling: a pool with one window.

use super::Export;
use crate::deployed::Operator;
use crate::onnx::builder::ints;
use crate::pb::builder::{text, window};
use crate::pb::writer::VALID;
use crate::tflite::build::builder::Sweep;
use crate::tflite::build::network::Network;
use crate::{onnx, pb};
use pocketflow::Result;
use pocketflow::graph::{GlobalMaxPool, Node};

impl Export for GlobalMaxPool {
    fn tflite(&self, network: &mut Network<'_>, operator: &Operator, from: usize, float: bool) -> Result<usize> {
        let [height, width, _] = network.value(operator.inputs[0])?.shape;
        let output = network.output(operator.output, 4, float)?;
        let sweep = Sweep { kernel: [height, width], stride: [1; 2], padding: [0; 4], dilation: [1; 2] };
        network.builder.max_pool(from, sweep, true, output)?;
        Ok(output)
    }

    /// Not as GlobalMaxPool, which takes no codes.
    fn onnx(&self, writer: &mut onnx::Writer<'_>, operator: &Operator, held: onnx::Held) -> Result<onnx::Held> {
        let [height, width, _] = writer.value(operator.inputs[0])?.shape;
        let image = held.as_image(&mut writer.builder, &operator.name)?;
        let attributes = vec![ints("kernel_shape", &[height, width])];
        let pooled = writer.builder.node(operator.name.clone(), "MaxPool", &[&image], attributes);
        Ok(onnx::Held::image(writer.moved(operator, pooled)?))
    }

    fn pb(&self, writer: &mut pb::Writer<'_>, node: &Node) -> Result<pb::Held> {
        let (name, from) = (node.name.as_str(), writer.as_image(node.inputs[0], &node.name)?);
        let [_, height, width] = writer.shape(node.inputs[0]);
        let attributes = vec![
            ("ksize", window(height, width)),
            ("strides", window(1, 1)),
            ("padding", text(VALID)),
            ("data_format", text("NHWC")),
        ];
        Ok(pb::Held::image(writer.builder.node(name, "MaxPool", &[&from], attributes)))
    }
}
