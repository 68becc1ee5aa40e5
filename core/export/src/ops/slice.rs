//! Some channels.

use super::Export;
use crate::deployed::Operator;
use crate::onnx::builder::Values;
use crate::pb::proto::{DataType, Value};
use crate::pb::writer::i32_of;
use crate::tflite::build::network::Network;
use crate::{onnx, pb};
use pocketflow::Result;
use pocketflow::graph::{Node, Slice};

/// A bit for each axis that is taken whole: all but the channels, which come last.
const WHOLE: i32 = 0b0111;

impl Export for Slice {
    fn tflite(&self, network: &mut Network<'_>, operator: &Operator, from: usize, float: bool) -> Result<usize> {
        let output = network.output(operator.output, 4, float)?;
        network.builder.channels(from, [self.start, self.end], WHOLE, output)?;
        Ok(output)
    }

    fn onnx(&self, writer: &mut onnx::Writer<'_>, operator: &Operator, held: onnx::Held) -> Result<onnx::Held> {
        let name = operator.name.as_str();
        let image = held.as_image(&mut writer.builder, name)?;
        let mut list = |suffix: &str, value: usize| {
            writer.builder.constant(format!("{name}/{suffix}"), Values::Int64(&[value as i64]), &[1])
        };
        let (starts, ends, axes) = (list("starts", self.start)?, list("ends", self.end)?, list("axes", 1)?);
        let part = writer.builder.node(name.into(), "Slice", &[&image, &starts, &ends, &axes], Vec::new());
        Ok(onnx::Held::image(writer.moved(operator, part)?))
    }

    fn pb(&self, writer: &mut pb::Writer<'_>, node: &Node) -> Result<pb::Held> {
        let (name, from) = (node.name.as_str(), writer.as_image(node.inputs[0], &node.name)?);
        let (start, end) = (i32_of(self.start)?, i32_of(self.end)?);
        let mut list = |suffix: &str, values: [i32; 4]| writer.builder.ints(&format!("{name}/{suffix}"), &values, &[4]);
        let (begin, end, strides) =
            (list("begin", [0, 0, 0, start])?, list("end", [0, 0, 0, end])?, list("strides", [1; 4])?);
        let masks = [("begin_mask", WHOLE), ("end_mask", WHOLE)].into_iter();
        let unused = ["ellipsis_mask", "new_axis_mask", "shrink_axis_mask"].map(|mask| (mask, 0));
        let masks = masks.chain(unused).map(|(mask, bits)| (mask, Value::I(i64::from(bits))));
        let attributes = masks.chain([("Index", DataType::Int32.attribute())]).collect();
        let node = writer.builder.node(name, "StridedSlice", &[&from, &begin, &end, &strides], attributes);
        Ok(pb::Held::image(node))
    }
}
