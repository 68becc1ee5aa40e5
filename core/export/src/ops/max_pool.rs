//! Maximum pooling.

use super::Export;
use crate::deployed::Operator;
use crate::onnx::builder::ints;
use crate::pb::builder::{text, window};
use crate::pb::writer::{VALID, padding_mode};
use crate::tflite::build::builder::Sweep;
use crate::tflite::build::network::Network;
use crate::{onnx, pb};
use pocketflow::Result;
use pocketflow::graph::{MaxPool, Node};

impl Export for MaxPool {
    fn tflite(&self, network: &mut Network<'_>, operator: &Operator, from: usize, float: bool) -> Result<usize> {
        let first = operator.inputs[0];
        let output = network.output(operator.output, 4, float)?;
        let (kernel, stride, padding) = ([self.kernel; 2], [self.stride; 2], [self.padding; 4]);
        let sweep = Sweep { kernel, stride, padding, dilation: [1; 2] };
        network.builder.max_pool(from, sweep, network.is_nonnegative(first)?, output)?;
        Ok(output)
    }

    fn onnx(&self, writer: &mut onnx::Writer<'_>, operator: &Operator, held: onnx::Held) -> Result<onnx::Held> {
        let image = held.as_image(&mut writer.builder, &operator.name)?;
        // ONNX never takes padding for the maximum.
        let attributes = vec![
            ints("kernel_shape", &[self.kernel; 2]),
            ints("strides", &[self.stride; 2]),
            ints("pads", &[self.padding; 4]),
        ];
        let pooled = writer.builder.node(operator.name.clone(), "MaxPool", &[&image], attributes);
        Ok(onnx::Held::image(writer.moved(operator, pooled)?))
    }

    fn pb(&self, writer: &mut pb::Writer<'_>, node: &Node) -> Result<pb::Held> {
        let Self { kernel, stride, padding } = *self;
        let (name, from) = (node.name.as_str(), writer.as_image(node.inputs[0], &node.name)?);
        let [_, height, width] = writer.shape(node.inputs[0]);
        let (from, mode) = match padding_mode([height, width], [kernel; 2], [stride; 2], [padding; 4]) {
            Some(mode) => (from, mode),
            // The least of all floats, which the converter makes the lowest code.
            None => {
                let sides = [[padding; 2], [padding; 2], [0; 2]];
                (writer.pad(&format!("{name}/pad"), &from, sides, Some(f32::MIN))?, VALID)
            }
        };
        let attributes = vec![
            ("ksize", window(kernel, kernel)),
            ("strides", window(stride, stride)),
            ("padding", text(mode)),
            ("data_format", text("NHWC")),
        ];
        Ok(pb::Held::image(writer.builder.node(name, "MaxPool", &[&from], attributes)))
    }
}
