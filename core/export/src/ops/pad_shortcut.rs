//! The shortcut without parameters: every `stride`-th pixel, zero channels before and after.

use super::Export;
use crate::deployed::Operator;
use crate::onnx::builder::Values;
use crate::pb::proto::{DataType, Value};
use crate::pb::writer::i32_of;
use crate::tflite::build::network::Network;
use crate::{onnx, pb};
use pocketflow::Result;
use pocketflow::graph::{Node, PadShortcut};

/// How many of the channels that are added come before and after the others.
fn around(shortcut: &PadShortcut, channels: usize) -> [usize; 2] {
    let extra = shortcut.out.saturating_sub(channels);
    [extra / 2, extra - extra / 2]
}

impl Export for PadShortcut {
    fn tflite(&self, network: &mut Network<'_>, operator: &Operator, from: usize, float: bool) -> Result<usize> {
        let channels = network.value(operator.inputs[0])?.shape[2];
        let output = network.output(operator.output, 4, float)?;
        network.builder.shortcut(from, self.stride, around(self, channels), output)?;
        Ok(output)
    }

    fn onnx(&self, writer: &mut onnx::Writer<'_>, operator: &Operator, held: onnx::Held) -> Result<onnx::Held> {
        let (name, first) = (operator.name.as_str(), operator.inputs[0]);
        let image = held.as_image(&mut writer.builder, name)?;
        let [before, after] = around(self, writer.value(first)?.shape[2]);
        // Of the input's type.
        let zero = match writer.grid_of(first)? {
            Some((_, zero)) => Values::Uint8(vec![zero]),
            None => Values::Floats(&[0.0]),
        };
        let mut list = |suffix: &str, values: &[i64]| {
            writer.builder.constant(format!("{name}/{suffix}"), Values::Int64(values), &[values.len()])
        };
        let starts = list("starts", &[0, 0])?;
        let ends = list("ends", &[i64::MAX; 2])?;
        let axes = list("axes", &[2, 3])?;
        let steps = list("steps", &[self.stride as i64; 2])?;
        let pads = list("pads", &[0, before as i64, 0, 0, 0, after as i64, 0, 0])?;
        let zero = writer.builder.constant(format!("{name}/zero"), zero, &[])?;
        let inputs = [image.as_str(), &starts, &ends, &axes, &steps];
        let slice = writer.builder.node(format!("{name}/pixels"), "Slice", &inputs, Vec::new());
        let padded = writer.builder.node(name.into(), "Pad", &[&slice, &pads, &zero], Vec::new());
        Ok(onnx::Held::image(writer.moved(operator, padded)?))
    }

    fn pb(&self, writer: &mut pb::Writer<'_>, node: &Node) -> Result<pb::Held> {
        let (name, from) = (node.name.as_str(), writer.as_image(node.inputs[0], &node.name)?);
        let pixels = format!("{name}/pixels");
        let mut list =
            |suffix: &str, values: [i32; 4]| writer.builder.ints(&format!("{pixels}/{suffix}"), &values, &[4]);
        let step = i32_of(self.stride)?;
        let (begin, end) = (list("begin", [0; 4])?, list("end", [0; 4])?);
        let strides = list("strides", [1, step, step, 1])?;
        // A bit for each axis: it is taken whole, whatever begin and end say.
        let masks = [("begin_mask", 0b1111), ("end_mask", 0b1111)];
        let unused = ["ellipsis_mask", "new_axis_mask", "shrink_axis_mask"].map(|mask| (mask, 0));
        let masks = masks.into_iter().chain(unused).map(|(mask, bits)| (mask, Value::I(bits)));
        let attributes = masks.chain([("Index", DataType::Int32.attribute())]).collect();
        let slice = writer.builder.node(&pixels, "StridedSlice", &[&from, &begin, &end, &strides], attributes);
        let around = around(self, writer.shape(node.inputs[0])[0]);
        Ok(pb::Held::image(writer.pad(name, &slice, [[0; 2], [0; 2], around], None)?))
    }
}
