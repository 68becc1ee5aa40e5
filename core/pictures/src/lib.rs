//! Photographs in files, for data sets that hold them and for whoever takes images from a folder:
//! where they lie, what they are, which part of one becomes a network's input, and passes over many
//! that are decoded ahead of the consumer. Nothing is kept in memory but where the files lie.
//!
//! | module | what it holds |
//! |---|---|
//! | [`source`] | encoded images by index, what is wrong with one, and reading a part of a file |
//! | [`folders`], [`loose`] | a folder for each class; the images of any folder |
//! | [`decode`] | JPEG, PNG, WebP, BMP and GIF files to RGB pixels |
//! | [`view`] | the part of an image that is used, and its scaling |
//! | [`reader`] | from an index to the network's input |
//! | [`pass`] | a pass over many images, made by threads |
//! | [`check`] | every image decoded, for `data check` |
//! | [`interleave`], [`parallel`] | an order in which any start is balanced; work on many files at once |

pub mod check;
pub mod decode;
pub mod folders;
pub mod interleave;
mod jpeg;
pub mod loose;
mod other;
pub mod parallel;
pub mod pass;
pub mod reader;
pub mod source;
pub mod view;
