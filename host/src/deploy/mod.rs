//! Exported files and the host: the images they are made and checked with, and how they compare
//! with the learner that trained them.
//!
//! | module | what it does |
//! |---|---|
//! | [`files`] | the files that `export` writes, as bytes |
//! | [`verify`] | those files against the learner; what is said of it |
//! | [`exported`] | an exported file with the data set that belongs to it |
//! | [`origin`] | what an exported file says of where it comes from |
//! | [`own_graph`] | the net of a saved model, also where its plugin is not here |
//! | [`images`] | pixels and labels from the data set of a model |
//! | [`measure`] | accuracy and decisions of a file in a runtime |
//! | [`learner`] | the learner's own evaluation, image by image |
//! | [`precision`] | ONNX Runtime's session option: where it matters, what users are told |
//! | [`ranges`] | ranges of values from training images |

pub mod calibration_folder;
pub mod exported;
pub mod files;
pub mod images;
pub mod learner;
pub mod measure;
pub mod origin;
pub mod own_graph;
pub mod precision;
pub mod ranges;
pub mod verify;

/// What `export` can write.
pub const FORMATS: [&str; 3] = ["tflite", "onnx", "pb"];
