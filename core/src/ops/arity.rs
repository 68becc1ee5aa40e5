//! How many values operators read.

use std::fmt;

/// How many values an operator reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arity {
    /// As many.
    Exactly(usize),
    /// As many, or more.
    AtLeast(usize),
}

impl Arity {
    /// Whether it reads that many.
    pub fn takes(self, count: usize) -> bool {
        match self {
            Self::Exactly(wanted) => count == wanted,
            Self::AtLeast(least) => count >= least,
        }
    }

    /// The fewest.
    pub fn least(self) -> usize {
        match self {
            Self::Exactly(least) | Self::AtLeast(least) => least,
        }
    }
}

impl fmt::Display for Arity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(wanted) => write!(f, "{wanted}"),
            Self::AtLeast(least) => write!(f, "{least} or more"),
        }
    }
}
