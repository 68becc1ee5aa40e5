//! Dropout: nothing, in files.

use super::Export;
use crate::deployed::Operator;
use crate::tflite::build::network::Network;
use crate::{onnx, pb};
use pocketflow::Result;
use pocketflow::graph::{Dropout, Node};

impl Export for Dropout {
    fn tflite(&self, _: &mut Network<'_>, _: &Operator, from: usize, _: bool) -> Result<usize> {
        Ok(from)
    }

    fn onnx(&self, _: &mut onnx::Writer<'_>, _: &Operator, held: onnx::Held) -> Result<onnx::Held> {
        Ok(held)
    }

    fn pb(&self, writer: &mut pb::Writer<'_>, node: &Node) -> Result<pb::Held> {
        Ok(writer.held(node.inputs[0]))
    }
}
