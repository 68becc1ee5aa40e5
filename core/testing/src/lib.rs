//! What tests of several crates need of a job: a host that keeps what it is told and asks to stop
//! when it is to, a net of one layer, a few images, and networks around each operator.
//! Only tests depend on this crate.

mod host;
pub mod operators;
mod small;

pub use host::TestHost;
pub use small::{CLASSES, Labelled, SHAPE, SmallNet, job, settings};
