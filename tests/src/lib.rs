//! What the tests across crates share.

pub mod place;
pub mod samples;
pub mod wheels;
