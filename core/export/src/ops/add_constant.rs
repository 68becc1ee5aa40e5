//! Sums with a constant, which is codes where the value is: on a grid of its own.

use super::Export;
use crate::deployed::Operator;
use crate::onnx::builder::Values;
use crate::tflite::build::network::Network;
use crate::tflite::model::Kind;
use crate::{onnx, pb};
use pocketflow::Result;
use pocketflow::graph::{AddConstant, Node};

impl Export for AddConstant {
    fn tflite(&self, network: &mut Network<'_>, operator: &Operator, from: usize, float: bool) -> Result<usize> {
        let (name, count) = (format!("{}.values", operator.name), self.values.len());
        let values = network.numbers(name, &self.values, vec![count], float)?;
        let output = network.output(operator.output, network.builder.shape(from).len(), float)?;
        network.builder.operator(Kind::Add { activation: operator.activation }, &[from, values], output);
        Ok(output)
    }

    fn onnx(&self, writer: &mut onnx::Writer<'_>, operator: &Operator, held: onnx::Held) -> Result<onnx::Held> {
        let name = operator.name.as_str();
        let image = held.as_image(&mut writer.builder, name)?;
        let real = writer.decode(operator.inputs[0], &image, name)?;
        let shape = [self.values.len(), 1, 1];
        let values = writer.builder.constant(format!("{name}.values"), Values::Floats(&self.values), &shape)?;
        let sum = writer.builder.node(name.into(), "Add", &[&real, &values], Vec::new());
        Ok(onnx::Held::image(writer.store(operator.output, sum)?))
    }

    fn pb(&self, writer: &mut pb::Writer<'_>, node: &Node) -> Result<pb::Held> {
        let (name, pb::Held { node: from, row }) = (&node.name, writer.held(node.inputs[0]));
        let values = writer.builder.floats(&format!("{name}/values"), &self.values, &[self.values.len()])?;
        Ok(pb::Held { node: writer.builder.node(name, "AddV2", &[&from, &values], Vec::new()), row })
    }
}
