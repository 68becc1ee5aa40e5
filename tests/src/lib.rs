//! What the tests across crates share.

pub mod pictures;
pub mod place;
pub mod samples;
pub mod wheels;

/// The Rust examples of the READMEs are tests of this crate: `cargo test --doc` compiles and runs
/// them. Code that is no Rust has a fence with its language.
#[cfg(doctest)]
mod readmes {
    #[doc = include_str!("../../README.md")]
    struct Root;
    #[doc = include_str!("../../core/README.md")]
    struct Core;
    #[doc = include_str!("../../plugins/README.md")]
    struct Plugins;
    #[doc = include_str!("../../nets/README.md")]
    struct Nets;
    #[doc = include_str!("../../datasets/README.md")]
    struct Datasets;
    #[doc = include_str!("../../host/README.md")]
    struct Host;
    #[doc = include_str!("../README.md")]
    struct Tests;
    #[doc = include_str!("../fuzz/README.md")]
    struct Fuzz;
    #[doc = include_str!("../samples/README.md")]
    struct Samples;
}
