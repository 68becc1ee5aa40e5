//! The .tflite format.
//!
//! | module | what it holds |
//! |---|---|
//! | [`model`] | a file's contents as plain data |
//! | [`read`](fn@read), [`write`](fn@write) | from and to bytes; what is read is checked, whatever it is |
//! | [`build`] | networks as operators: float, int8, uint8 |
//! | [`metadata`] | what the Task Library wants to know: normalisation, size, labels |
//! | [`part`] | one operator as a model of its own |

mod archive;
pub mod build;
mod check;
pub mod metadata;
pub mod model;
pub mod part;
mod read;
mod schema;
mod write;

pub use read::read;
pub use write::write;
