//! The images.

use super::Export;
use crate::deployed::Grid;
use crate::deployed::lowering::{Lowering, Weighed};
use crate::pb;
use pocketflow::Result;
use pocketflow::graph::{Input, Node, NodeId, Op};

impl Export for Input {
    fn lower(&self, lowering: &Lowering<'_>, id: NodeId, _: Option<Grid>) -> Result<(Op, Option<Weighed>)> {
        Err(lowering.fail(id, "only the first node may be an input"))
    }

    fn pb(&self, writer: &mut pb::Writer<'_>, _: &Node) -> Result<pb::Held> {
        let [channels, height, width] = self.shape;
        Ok(pb::Held::image(writer.builder.placeholder([height, width, channels])))
    }
}
