//! Products, also with a factor for each channel.

use super::Export;
use crate::deployed::Operator;
use crate::tflite::build::network::Network;
use crate::tflite::model::Kind;
use crate::{onnx, pb};
use pocketflow::graph::{Mul, Node};
use pocketflow::{Error, Result};

impl Export for Mul {
    fn tflite(&self, network: &mut Network<'_>, operator: &Operator, from: usize, float: bool) -> Result<usize> {
        let second = *operator.inputs.get(1).ok_or_else(|| Error::failed("it has one input"))?;
        let output = network.output(operator.output, 4, float)?;
        let second = network.read(second, float)?;
        let inputs = [network.builder.image(from, output)?, network.builder.image(second, output)?];
        network.builder.operator(Kind::Mul { activation: operator.activation }, &inputs, output);
        Ok(output)
    }

    fn onnx(&self, writer: &mut onnx::Writer<'_>, operator: &Operator, held: onnx::Held) -> Result<onnx::Held> {
        let name = operator.name.as_str();
        let row = held.row && writer.held(operator.inputs[1])?.row;
        let mut operands = Vec::with_capacity(2);
        for index in &operator.inputs {
            let held = writer.held(*index)?.shaped(row, &mut writer.builder, name)?;
            operands.push(writer.decode(*index, &held, name)?);
        }
        let product = writer.builder.node(name.into(), "Mul", &[&operands[0], &operands[1]], Vec::new());
        Ok(onnx::Held { tensor: writer.store(operator.output, product)?, row })
    }

    fn pb(&self, writer: &mut pb::Writer<'_>, node: &Node) -> Result<pb::Held> {
        let row = node.inputs.iter().all(|input| writer.held(*input).row);
        let mut read = |id| if row { writer.as_row(id, &node.name) } else { writer.as_image(id, &node.name) };
        let [left, right] = [read(node.inputs[0])?, read(node.inputs[1])?];
        Ok(pb::Held { node: writer.builder.node(&node.name, "Mul", &[&left, &right], Vec::new()), row })
    }
}
