//! The hard sigmoid: one operator in .onnx, written out in the other formats, which have none.

use super::Export;
use crate::deployed::{Activation, Operator};
use crate::onnx::builder::float;
use crate::tflite::build::network::Network;
use crate::tflite::model::Kind;
use crate::{onnx, pb};
use pocketflow::Result;
use pocketflow::graph::{HardSigmoid, Node};

impl Export for HardSigmoid {
    fn tflite(&self, network: &mut Network<'_>, operator: &Operator, from: usize, float: bool) -> Result<usize> {
        let name = &operator.name;
        let three = network.numbers(format!("{name}/three"), &[3.0], vec![1], float)?;
        let sixth = network.numbers(format!("{name}/sixth"), &[1.0 / 6.0], vec![1], float)?;
        let cut = network.between(operator, "cut", from, Some([0.0, 6.0]), float)?;
        network.builder.operator(Kind::Add { activation: Activation::Relu6 }, &[from, three], cut);
        let output = network.output(operator.output, network.builder.shape(from).len(), float)?;
        network.builder.operator(Kind::Mul { activation: Activation::None }, &[cut, sixth], output);
        Ok(output)
    }

    fn onnx(&self, writer: &mut onnx::Writer<'_>, operator: &Operator, held: onnx::Held) -> Result<onnx::Held> {
        let name = operator.name.as_str();
        let real = writer.decode(operator.inputs[0], &held.tensor, name)?;
        let attributes = vec![float("alpha", 1.0 / 6.0), float("beta", 0.5)];
        let result = writer.builder.node(name.into(), "HardSigmoid", &[&real], attributes);
        Ok(onnx::Held { tensor: writer.store(operator.output, result)?, row: held.row })
    }

    fn pb(&self, writer: &mut pb::Writer<'_>, node: &Node) -> Result<pb::Held> {
        let (name, pb::Held { node: from, row }) = (&node.name, writer.held(node.inputs[0]));
        let file = &mut writer.builder;
        let three = file.floats(&format!("{name}/three"), &[3.0], &[])?;
        let sixth = file.floats(&format!("{name}/sixth"), &[1.0 / 6.0], &[])?;
        let shifted = file.node(&format!("{name}/shifted"), "AddV2", &[&from, &three], Vec::new());
        let cut = file.node(&format!("{name}/cut"), "Relu6", &[&shifted], Vec::new());
        Ok(pb::Held { node: file.node(name, "Mul", &[&cut, &sixth], Vec::new()), row })
    }
}
