//! Batch normalisation: a part of the fused pass.

use super::{Forward, Part};
use pocketflow::graph::BatchNorm;

impl Forward for BatchNorm {
    fn part(&self) -> Part {
        Part::Norm
    }
}
