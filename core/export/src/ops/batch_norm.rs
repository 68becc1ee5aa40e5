//! Batch normalisation, which folding has made part of a layer or a convolution.

use super::Export;
use crate::deployed::Grid;
use crate::deployed::lowering::{Lowering, Weighed};
use pocketflow::Result;
use pocketflow::graph::{BatchNorm, NodeId, Op};

impl Export for BatchNorm {
    fn lower(&self, lowering: &Lowering<'_>, id: NodeId, _: Option<Grid>) -> Result<(Op, Option<Weighed>)> {
        Err(lowering.fail(id, "it cannot stand here in a folded network"))
    }
}
