//! Elementwise sum: a part of the fused pass.

use super::{Forward, Part};
use pocketflow::graph::Add;

impl Forward for Add {
    fn part(&self) -> Part {
        Part::Sum
    }
}
