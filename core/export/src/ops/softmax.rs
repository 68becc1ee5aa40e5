//! Probabilities of logits: .tflite has one grid for their codes.

use super::Export;
use crate::deployed::Operator;
use crate::onnx::builder::int;
use crate::tflite::build::network::Network;
use crate::tflite::model::Kind;
use crate::{onnx, pb};
use pocketflow::Result;
use pocketflow::graph::{Node, Operator as _, Softmax};

impl Export for Softmax {
    fn tflite(&self, network: &mut Network<'_>, operator: &Operator, from: usize, float: bool) -> Result<usize> {
        let shape = network.builder.shape(from);
        let (flat, count) = (shape.len() == 2, shape.iter().fold(1, |count: usize, size| count.saturating_mul(*size)));
        let row =
            if flat { from } else { network.builder.like(from, format!("{}/row", operator.name), vec![1, count]) };
        if !flat {
            network.builder.reshape(from, row)?;
        }
        network.on_known_grid(Kind::Softmax { beta: 1.0 }, self.range(), operator, row, float)
    }

    fn onnx(&self, writer: &mut onnx::Writer<'_>, operator: &Operator, held: onnx::Held) -> Result<onnx::Held> {
        let name = operator.name.as_str();
        let row = held.as_row(&mut writer.builder, name);
        let real = writer.decode(operator.inputs[0], &row, name)?;
        let result = writer.builder.node(name.into(), "Softmax", &[&real], vec![int("axis", 1)]);
        Ok(onnx::Held { tensor: writer.store(operator.output, result)?, row: true })
    }

    fn pb(&self, writer: &mut pb::Writer<'_>, node: &Node) -> Result<pb::Held> {
        let row = writer.as_row(node.inputs[0], &node.name)?;
        Ok(pb::Held { node: writer.builder.node(&node.name, "Softmax", &[&row], Vec::new()), row: true })
    }
}
