//! Networks as operators of TensorFlow Lite.

mod builder;
mod finish;
mod float;
mod integer;
mod pixels;
mod window;

pub use finish::finish;
pub use float::from_model;
pub use integer::from_integer;
pub use pixels::normalisation;
