//! What tests of several crates need of a job: a host that keeps what it is told and asks to stop
//! when it is to, a net of one layer, and a few images. Only tests depend on this crate.

mod host;
mod small;

pub use host::TestHost;
pub use small::{CLASSES, Labelled, SHAPE, SmallNet, job, settings};
