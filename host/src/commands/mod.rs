//! The commands beside `run`. Each returns its text, which the program prints; only `eval` is a run
//! itself.

pub mod bench;
pub mod completions;
pub mod config;
pub mod data;
pub mod eval;
pub mod export;
pub mod import;
pub mod plugins;
pub mod stats;
