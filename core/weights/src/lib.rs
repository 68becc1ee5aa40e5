//! Weights as other programs leave them: `.safetensors`, PyTorch's `.pth` and `.tflite` read into
//! plain `f32` tensors, and matched by name or by order to the parameters of a graph. Nothing in a
//! file is ever executed, and no file makes the reader take more memory than a small multiple of
//! its own size.

mod element;
mod error;
pub mod map;
mod parametrized;
mod pickle;
mod pth;
mod safetensors;
mod sharded;
pub mod structure;
mod tflite;
mod unlike;

use pocketflow::graph::Shape;
use pocketflow::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

pub use element::Element;
pub use error::WeightsError;
use structure::{Geometry, Structure};

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

/// What a file of weights holds.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WeightsFile {
    /// By the names of the file.
    pub tensors: Tensors,
    /// Their names in the order in which the file has them.
    pub order: Vec<String>,
    /// Tensors of which the numbers are not read, each with what it is: `holds numbers of type …`.
    pub unread: BTreeMap<String, String>,
    /// Keys under which the file has other state dictionaries.
    pub others: Vec<String>,
    /// The layers in execution order, in a file that has one; names then say little.
    pub layers: Option<Vec<FileLayer>>,
    /// `[channels, height, width]` of the images that the network takes, where the file says so.
    pub image: Option<Shape>,
    /// The parts without weights, in a file that has them.
    pub structure: Option<Structure>,
}

/// A layer of a file, with names of [`WeightsFile::tensors`]. Batch normalisations are folded into
/// it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileLayer {
    /// Which of the layers with weights.
    pub kind: LayerKind,
    /// Name of the weights' tensor.
    pub weight: String,
    /// Name of the bias' tensor; `None`: it has none.
    pub bias: Option<String>,
    /// How the file applies it.
    pub geometry: Option<Geometry>,
}

/// What a layer of a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerKind {
    /// Of all input channels, or of groups of them.
    Convolution,
    /// Of one input channel for each output channel.
    Depthwise,
    /// Of all inputs.
    FullyConnected,
}

impl WeightsFile {
    /// Names and shapes of what can be a layer's weights, in execution order where the file has
    /// one.
    pub fn weights(&self) -> Vec<(String, Vec<usize>)> {
        let of = |name: &String| Some((name.clone(), self.tensors.get(name)?.shape.clone()));
        match &self.layers {
            Some(layers) => layers.iter().filter_map(|layer| of(&layer.weight)).collect(),
            None => {
                let shaped = || self.tensors.keys().filter_map(of).filter(|(_, shape)| matches!(shape.len(), 2 | 4));
                // Others beside them, as the mean of a normalisation, are no layer's.
                let named: Vec<_> = shaped().filter(|(name, _)| name.rsplit('.').next() == Some("weight")).collect();
                if named.is_empty() { shaped().collect() } else { named }
            }
        }
    }
}

/// Reads a file of weights. Its contents tell the format, not its name. `key` names the state
/// dictionary of a PyTorch file that holds several, `ema.model` for one within another. An index of
/// `.safetensors` or `.bin` shards is read with the files beside it.
///
/// # Errors
/// A file that is missing, is of no known format, is damaged, or (a pickle) has code in the place
/// of its tensors; several state dictionaries, or none under `key`. The message names the file, the
/// place in it and what to do.
pub fn read(path: &Path, key: Option<&str>) -> Result<WeightsFile> {
    let mut file = open(path)?;
    match sharded::parts(&mut file).map_err(|error| refused(path, &error))? {
        Some(index) => sharded::read(path, index, key),
        None => read_file(file, key).map_err(|error| refused(path, &error)),
    }
}

/// As [`read`], of a file that is no index.
fn read_one(path: &Path, key: Option<&str>) -> Result<WeightsFile> {
    read_file(open(path)?, key).map_err(|error| refused(path, &error))
}

fn open(path: &Path) -> Result<File> {
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
    File::open(path).map_err(unreadable)
}

fn refused(path: &Path, error: &WeightsError) -> Error {
    let (kind, advice) = (error.kind(), error.advice());
    Error::from_error(kind, error).context(format!("cannot use {}; {advice}", path.display()))
}

/// As [`read`], from an open file or bytes in memory (`std::io::Cursor`).
///
/// # Errors
/// As there, without the file's name.
pub fn read_file(mut file: impl Read + Seek, key: Option<&str>) -> Result<WeightsFile, WeightsError> {
    let mut front = Vec::new();
    file.by_ref().take(512).read_to_end(&mut front)?;
    file.rewind()?;
    let keyed = |read: Result<WeightsFile, WeightsError>| match (read?, key) {
        (_, Some(key)) => Err(WeightsError::Key { key: key.into(), keys: Vec::new() }),
        (file, None) => Ok(file),
    };
    let mut read = if front.starts_with(b"PK\x03\x04") {
        pth::read_archive(file, key)
    } else if pth::is_legacy(&front) {
        pth::read_legacy(file, key)
    } else if tflite::is_one(&front) {
        keyed(tflite::read(file))
    } else if let Some(what) = unlike::what(&front) {
        Err(WeightsError::Other(what.into()))
    } else if front.get(8) == Some(&b'{') {
        keyed(safetensors::read(file))
    } else if front.first() == Some(&0x80) {
        Err(WeightsError::Malformed("it is a pickle, but not one that torch.save writes".into()))
    } else {
        Err(WeightsError::Unknown)
    }?;
    parametrized::resolve(&mut read);
    Ok(read)
}
