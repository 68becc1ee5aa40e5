//! Relu, mostly a part of the operator before it.

use super::Export;
use crate::deployed::{Activation, Operator};
use crate::tflite::build::network::Network;
use crate::tflite::model::Kind;
use crate::{onnx, pb};
use pocketflow::Result;
use pocketflow::graph::{Node, Relu};

impl Export for Relu {
    fn activation(&self) -> Activation {
        Activation::Relu
    }

    fn tflite(&self, network: &mut Network<'_>, operator: &Operator, from: usize, float: bool) -> Result<usize> {
        network.pointwise(Kind::Relu, operator, from, float)
    }

    /// Only brought to its grid: [`onnx::Writer`] cuts values behind every operator.
    fn onnx(&self, writer: &mut onnx::Writer<'_>, operator: &Operator, held: onnx::Held) -> Result<onnx::Held> {
        let onnx::Held { tensor, row } = held;
        Ok(onnx::Held { tensor: writer.moved(operator, tensor)?, row })
    }

    fn pb(&self, writer: &mut pb::Writer<'_>, node: &Node) -> Result<pb::Held> {
        let pb::Held { node: from, row } = writer.held(node.inputs[0]);
        Ok(pb::Held { node: writer.builder.node(&node.name, "Relu", &[&from], Vec::new()), row })
    }
}
