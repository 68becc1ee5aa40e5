//! The rectified linear unit that leaks.

use super::Export;
use crate::deployed::Operator;
use crate::onnx::builder::float;
use crate::pb::proto::Value;
use crate::tflite::build::network::Network;
use crate::tflite::model::Kind;
use crate::{onnx, pb};
use pocketflow::Result;
use pocketflow::graph::{LeakyRelu, Node};

impl Export for LeakyRelu {
    fn tflite(&self, network: &mut Network<'_>, operator: &Operator, from: usize, float: bool) -> Result<usize> {
        network.pointwise(Kind::LeakyRelu { alpha: self.slope }, operator, from, float)
    }

    fn onnx(&self, writer: &mut onnx::Writer<'_>, operator: &Operator, held: onnx::Held) -> Result<onnx::Held> {
        let name = operator.name.as_str();
        let real = writer.decode(operator.inputs[0], &held.tensor, name)?;
        let result = writer.builder.node(name.into(), "LeakyRelu", &[&real], vec![float("alpha", self.slope)]);
        Ok(onnx::Held { tensor: writer.store(operator.output, result)?, row: held.row })
    }

    fn pb(&self, writer: &mut pb::Writer<'_>, node: &Node) -> Result<pb::Held> {
        let pb::Held { node: from, row } = writer.held(node.inputs[0]);
        let attributes = vec![("alpha", Value::F(self.slope))];
        Ok(pb::Held { node: writer.builder.node(&node.name, "LeakyRelu", &[&from], attributes), row })
    }
}
