//! Weights as other programs leave them: `.safetensors` and PyTorch's `.pth` read into plain `f32` tensors, and matched by name
//! to the parameters of a graph. Nothing in a file is ever executed, and no file makes the reader take more memory than a
//! small multiple of its own size.

mod element;
mod error;
pub mod map;
mod pickle;
mod pth;
mod safetensors;

use pocketflow::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

pub use element::Element;
pub use error::WeightsError;

/// A tensor of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadedTensor {
    /// Empty for a scalar.
    pub shape: Vec<usize>,
    /// Row by row, as many as `shape` makes.
    pub values: Vec<f32>,
    /// What the file stored; wider types were rounded to `f32`.
    pub element: Element,
}

/// The tensors of a file by name.
pub type Tensors = BTreeMap<String, LoadedTensor>;

/// Reads a file of weights. Its contents tell the format, not its name.
///
/// # Errors
/// A file that is missing, is of no known format, is damaged, or (a pickle) asks for anything but tensors in dictionaries.
/// The message names the file, the place in it and what to do.
pub fn read(path: &Path) -> Result<Tensors> {
    let shown = path.display();
    let unreadable = |error: std::io::Error| {
        let (kind, advice) = match error.kind() {
            std::io::ErrorKind::NotFound => (ErrorKind::Config, "check the path"),
            _ => (ErrorKind::Failed, "check its permissions and the disk"),
        };
        Error::from_error(kind, &error).context(format!("cannot read {shown}; {advice}"))
    };
    // A device or a pipe might never end.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(Error::config(format!(
            "cannot read {shown}: it is not a file; give the path of a file of weights"
        )));
    }
    let file = File::open(path).map_err(unreadable)?;
    read_file(file).map_err(|error| {
        let advice = error.advice();
        Error::from_error(ErrorKind::Failed, &error).context(format!("cannot use {shown}; {advice}"))
    })
}

/// As [`read`], from an open file or bytes in memory (`std::io::Cursor`).
///
/// # Errors
/// As there, without the file's name.
pub fn read_file(mut file: impl Read + Seek) -> Result<Tensors, WeightsError> {
    let mut front = Vec::new();
    file.by_ref().take(16).read_to_end(&mut front)?;
    file.rewind()?;
    if front.starts_with(b"PK\x03\x04") {
        pth::read_archive(file)
    } else if pth::is_legacy(&front) {
        pth::read_legacy(file)
    } else if front.get(8) == Some(&b'{') {
        safetensors::read(file)
    } else if front.first() == Some(&0x80) {
        Err(WeightsError::Malformed("it is a pickle, but not one that torch.save writes".into()))
    } else {
        Err(WeightsError::Unknown)
    }
}
