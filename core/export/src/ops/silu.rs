//! The sigmoid linear unit, which no format has a word for: the logistic function, in .tflite on
//! the grid that it has there, and a product.

use super::Export;
use super::sigmoid::LOGISTIC;
use crate::deployed::{Activation, Operator};
use crate::tflite::build::network::Network;
use crate::tflite::model::Kind;
use crate::{onnx, pb};
use pocketflow::Result;
use pocketflow::graph::{Node, Operator as _, Sigmoid, Silu};

impl Export for Silu {
    fn tflite(&self, network: &mut Network<'_>, operator: &Operator, from: usize, float: bool) -> Result<usize> {
        let gate = network.between(operator, "gate", from, Sigmoid.range(), float)?;
        network.builder.operator(LOGISTIC, &[from], gate);
        let output = network.output(operator.output, network.builder.shape(from).len(), float)?;
        network.builder.operator(Kind::Mul { activation: Activation::None }, &[from, gate], output);
        Ok(output)
    }

    fn onnx(&self, writer: &mut onnx::Writer<'_>, operator: &Operator, held: onnx::Held) -> Result<onnx::Held> {
        let name = operator.name.as_str();
        let real = writer.decode(operator.inputs[0], &held.tensor, name)?;
        let gate = writer.builder.node(format!("{name}/gate"), "Sigmoid", &[&real], Vec::new());
        let product = writer.builder.node(name.into(), "Mul", &[&real, &gate], Vec::new());
        Ok(onnx::Held { tensor: writer.store(operator.output, product)?, row: held.row })
    }

    fn pb(&self, writer: &mut pb::Writer<'_>, node: &Node) -> Result<pb::Held> {
        let (name, pb::Held { node: from, row }) = (&node.name, writer.held(node.inputs[0]));
        let gate = writer.builder.node(&format!("{name}/gate"), "Sigmoid", &[&from], Vec::new());
        Ok(pb::Held { node: writer.builder.node(name, "Mul", &[&from, &gate], Vec::new()), row })
    }
}
