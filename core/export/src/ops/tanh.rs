//! The hyperbolic tangent: .tflite has one grid for its codes, from which they are brought to any
//! other.

use super::{Builtin, Export};
use crate::deployed::Operator;
use crate::interpret::kernel::Kernel;
use crate::interpret::pointwise::table;
use crate::interpret::site::Site;
use crate::tflite::build::network::Network;
use crate::tflite::model::Kind;
use crate::{onnx, pb};
use pocketflow::Result;
use pocketflow::graph::{Node, Operator as _, Tanh};

/// `BuiltinOperator.TANH`
const CODE: i32 = 28;

impl Export for Tanh {
    fn builtin() -> Option<Builtin> {
        Some(Builtin { code: CODE, version_for_codes: 2, compile })
    }

    fn tflite(&self, network: &mut Network<'_>, operator: &Operator, from: usize, float: bool) -> Result<usize> {
        network.on_known_grid(Kind::Other { code: CODE }, self.range(), operator, from, float)
    }

    fn onnx(&self, writer: &mut onnx::Writer<'_>, operator: &Operator, held: onnx::Held) -> Result<onnx::Held> {
        writer.function("Tanh", operator, &held)
    }

    fn pb(&self, writer: &mut pb::Writer<'_>, node: &Node) -> Result<pb::Held> {
        let pb::Held { node: from, row } = writer.held(node.inputs[0]);
        Ok(pb::Held { node: writer.builder.node(&node.name, "Tanh", &[&from], Vec::new()), row })
    }
}

fn compile(site: &Site) -> Result<Box<dyn Kernel>> {
    table(site, f32::tanh, Tanh.range())
}
