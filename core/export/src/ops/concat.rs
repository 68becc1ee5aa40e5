//! Concatenation. .tflite's takes codes on one grid: what lies on another is brought to the
//! output's first.

use super::Export;
use crate::deployed::Operator;
use crate::onnx::builder::int;
use crate::pb::proto::DataType;
use crate::tflite::build::network::Network;
use crate::tflite::model::Kind;
use crate::{onnx, pb};
use pocketflow::Result;
use pocketflow::graph::{Concat, Node};

impl Export for Concat {
    fn tflite(&self, network: &mut Network<'_>, operator: &Operator, _: usize, float: bool) -> Result<usize> {
        let output = network.output(operator.output, 4, float)?;
        let mut inputs = Vec::with_capacity(operator.inputs.len());
        for index in &operator.inputs {
            let read = network.read(*index, float)?;
            let image = network.builder.image(read, output)?;
            inputs.push(network.builder.requantized(image, output));
        }
        network.builder.operator(Kind::Concatenation { axis: 3, activation: operator.activation }, &inputs, output);
        Ok(output)
    }

    /// Codes where all lie on the output's grid, else floats.
    fn onnx(&self, writer: &mut onnx::Writer<'_>, operator: &Operator, _: onnx::Held) -> Result<onnx::Held> {
        let name = operator.name.as_str();
        let grid = writer.value(operator.output)?.grid;
        let mut one_grid = true;
        for index in &operator.inputs {
            one_grid &= writer.value(*index)?.grid == grid;
        }
        let mut inputs = Vec::with_capacity(operator.inputs.len());
        for index in &operator.inputs {
            let image = writer.held(*index)?.as_image(&mut writer.builder, name)?;
            inputs.push(if one_grid { image } else { writer.decode(*index, &image, name)? });
        }
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let joined = writer.builder.node(name.into(), "Concat", &inputs, vec![int("axis", 1)]);
        Ok(onnx::Held::image(if one_grid { joined } else { writer.store(operator.output, joined)? }))
    }

    fn pb(&self, writer: &mut pb::Writer<'_>, node: &Node) -> Result<pb::Held> {
        let name = node.name.as_str();
        let mut inputs = Vec::with_capacity(node.inputs.len() + 1);
        for (index, input) in node.inputs.iter().enumerate() {
            inputs.push(writer.as_image(*input, &format!("{name}/{index}"))?);
        }
        inputs.push(writer.builder.ints(&format!("{name}/axis"), &[3], &[])?);
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let attributes =
            vec![("N", pb::proto::Value::I(node.inputs.len() as i64)), ("Tidx", DataType::Int32.attribute())];
        Ok(pb::Held::image(writer.builder.node(name, "ConcatV2", &inputs, attributes)))
    }
}
