//! Zeros around an image.

use super::Export;
use crate::deployed::Operator;
use crate::onnx::builder::Values;
use crate::tflite::build::network::Network;
use crate::{onnx, pb};
use pocketflow::Result;
use pocketflow::graph::{Node, Pad};

impl Export for Pad {
    fn tflite(&self, network: &mut Network<'_>, operator: &Operator, from: usize, float: bool) -> Result<usize> {
        let output = network.output(operator.output, 4, float)?;
        network.builder.zeros_around(from, self.padding, output)?;
        Ok(output)
    }

    fn onnx(&self, writer: &mut onnx::Writer<'_>, operator: &Operator, held: onnx::Held) -> Result<onnx::Held> {
        let (name, first) = (operator.name.as_str(), operator.inputs[0]);
        let image = held.as_image(&mut writer.builder, name)?;
        // Of the input's type.
        let zero = match writer.grid_of(first)? {
            Some((_, zero)) => Values::Uint8(vec![zero]),
            None => Values::Floats(&[0.0]),
        };
        let [top, left, bottom, right] = self.padding.map(|size| size as i64);
        let pads = Values::Int64(&[0, 0, top, left, 0, 0, bottom, right]);
        let pads = writer.builder.constant(format!("{name}/pads"), pads, &[8])?;
        let zero = writer.builder.constant(format!("{name}/zero"), zero, &[])?;
        let padded = writer.builder.node(name.into(), "Pad", &[&image, &pads, &zero], Vec::new());
        Ok(onnx::Held::image(writer.moved(operator, padded)?))
    }

    fn pb(&self, writer: &mut pb::Writer<'_>, node: &Node) -> Result<pb::Held> {
        let from = writer.as_image(node.inputs[0], &node.name)?;
        let [top, left, bottom, right] = self.padding;
        Ok(pb::Held::image(writer.pad(&node.name, &from, [[top, bottom], [left, right], [0; 2]], None)?))
    }
}
