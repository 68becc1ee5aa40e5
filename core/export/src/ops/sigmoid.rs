//! The logistic function: .tflite has one grid for its codes, from which they are brought to any
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
use pocketflow::graph::{Node, Operator as _, Sigmoid};

/// `BuiltinOperator.LOGISTIC`
const CODE: i32 = 14;
pub(super) const LOGISTIC: Kind = Kind::Other { code: CODE };

impl Export for Sigmoid {
    fn builtin() -> Option<Builtin> {
        Some(Builtin { code: CODE, version_for_codes: 2, compile })
    }

    fn tflite(&self, network: &mut Network<'_>, operator: &Operator, from: usize, float: bool) -> Result<usize> {
        network.on_known_grid(LOGISTIC, self.range(), operator, from, float)
    }

    fn onnx(&self, writer: &mut onnx::Writer<'_>, operator: &Operator, held: onnx::Held) -> Result<onnx::Held> {
        writer.function("Sigmoid", operator, &held)
    }

    fn pb(&self, writer: &mut pb::Writer<'_>, node: &Node) -> Result<pb::Held> {
        let pb::Held { node: from, row } = writer.held(node.inputs[0]);
        Ok(pb::Held { node: writer.builder.node(&node.name, "Sigmoid", &[&from], Vec::new()), row })
    }
}

fn compile(site: &Site) -> Result<Box<dyn Kernel>> {
    table(site, |x| 1.0 / (1.0 + (-x).exp()), Sigmoid.range())
}
