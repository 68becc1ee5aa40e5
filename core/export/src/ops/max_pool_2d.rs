//! Maximum pooling over windows of any kind.

use super::Export;
use crate::deployed::Operator;
use crate::onnx::builder::ints;
use crate::pb::builder::{text, window};
use crate::pb::writer::{VALID, padding_mode};
use crate::tflite::build::builder::Sweep;
use crate::tflite::build::network::Network;
use crate::{onnx, pb};
use pocketflow::graph::{MaxPool2d, Node, Windows};
use pocketflow::{Error, Result};

impl Export for MaxPool2d {
    fn tflite(&self, network: &mut Network<'_>, operator: &Operator, from: usize, float: bool) -> Result<usize> {
        let windows = windows_of(self, network.value(operator.inputs[0])?.shape)?;
        let output = network.output(operator.output, 4, float)?;
        let sweep = Sweep { kernel: self.kernel, stride: self.stride, padding: windows.padding, dilation: [1; 2] };
        network.builder.max_pool(from, sweep, network.is_nonnegative(operator.inputs[0])?, output)?;
        Ok(output)
    }

    fn onnx(&self, writer: &mut onnx::Writer<'_>, operator: &Operator, held: onnx::Held) -> Result<onnx::Held> {
        let windows = windows_of(self, writer.value(operator.inputs[0])?.shape)?;
        let image = held.as_image(&mut writer.builder, &operator.name)?;
        let attributes =
            vec![ints("kernel_shape", &self.kernel), ints("strides", &self.stride), ints("pads", &windows.padding)];
        let pooled = writer.builder.node(operator.name.clone(), "MaxPool", &[&image], attributes);
        Ok(onnx::Held::image(writer.moved(operator, pooled)?))
    }

    fn pb(&self, writer: &mut pb::Writer<'_>, node: &Node) -> Result<pb::Held> {
        let Self { kernel, stride, .. } = *self;
        let (name, from) = (node.name.as_str(), writer.as_image(node.inputs[0], &node.name)?);
        let [channels, height, width] = writer.shape(node.inputs[0]);
        let Windows { padding, .. } = windows_of(self, [height, width, channels])?;
        let (from, mode) = match padding_mode([height, width], kernel, stride, padding) {
            Some(mode) => (from, mode),
            // The least of all floats, which the converter makes the lowest code.
            None => {
                let sides = [[padding[0], padding[2]], [padding[1], padding[3]], [0; 2]];
                (writer.pad(&format!("{name}/pad"), &from, sides, Some(f32::MIN))?, VALID)
            }
        };
        let attributes = vec![
            ("ksize", window(kernel[0], kernel[1])),
            ("strides", window(stride[0], stride[1])),
            ("padding", text(mode)),
            ("data_format", text("NHWC")),
        ];
        Ok(pb::Held::image(writer.builder.node(name, "MaxPool", &[&from], attributes)))
    }
}

/// How the windows lie on an image `[height, width, channels]`.
fn windows_of(pool: &MaxPool2d, [height, width, channels]: [usize; 3]) -> Result<Windows> {
    pool.windows([channels, height, width]).map_err(Error::failed)
}
