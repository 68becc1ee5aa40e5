//! Weights as other programs leave them: `.safetensors`, PyTorch's `.pth` and `.tflite` read into
//! plain `f32` tensors, and matched by name or by order to the parameters of a graph. Nothing in a
//! file is ever executed, and no file makes the reader take more memory than a small multiple of
//! its own size.

mod element;
mod error;
mod foreign;
pub mod map;
mod pickle;
mod pruned;
mod pth;
mod safetensors;
mod sharded;
pub mod structure;
mod tflite;

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
    /// Row by row, as many as `shape` makes; none of [`Element::Other`].
    pub values: Vec<f32>,
    /// What the file stored; wider types were rounded to `f32`.
    pub element: Element,
}

/// The tensors of a file by name.
pub type Tensors = BTreeMap<String, LoadedTensor>;

/// What a file of weights holds.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WeightsFile {
    pub tensors: Tensors,
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
    pub kind: LayerKind,
    pub weight: String,
    pub bias: Option<String>,
    /// How the file applies it.
    pub geometry: Option<Geometry>,
}

/// What a layer of a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerKind {
    Convolution,
    Depthwise,
    FullyConnected,
}

impl WeightsFile {
    /// Names and shapes of what can be a layer's weights, in execution order where the file has
    /// one.
    pub fn weights(&self) -> Vec<(String, Vec<usize>)> {
        let of = |name: &String| Some((name.clone(), self.tensors.get(name)?.shape.clone()));
        match &self.layers {
            Some(layers) => layers.iter().filter_map(|layer| of(&layer.weight)).collect(),
            None => self.tensors.keys().filter_map(of).filter(|(_, shape)| matches!(shape.len(), 2 | 4)).collect(),
        }
    }
}

impl From<Tensors> for WeightsFile {
    fn from(tensors: Tensors) -> Self {
        Self { tensors, ..Self::default() }
    }
}

/// Bytes that tell the format of a file.
const FRONT: u64 = 64;

/// Reads a file of weights, or the index of several. Its contents tell the format, not its name.
/// `key` chooses among several dictionaries of tensors in a checkpoint of PyTorch.
///
/// # Errors
/// A file that is missing, is of no known format, is damaged, or (a pickle) holds no tensors in
/// dictionaries. The message names the file, the place in it and what to do.
pub fn read(path: &Path, key: Option<&str>) -> Result<WeightsFile> {
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
    let mut file = File::open(path).map_err(unreadable)?;
    let read = match index(&mut file).map_err(unreadable)? {
        Some(text) => sharded::read(&text, path.parent().unwrap_or(Path::new(""))).map(WeightsFile::from),
        None => read_file(file, key),
    };
    read.map_err(|error| {
        let advice = error.advice();
        Error::from_error(ErrorKind::Failed, &error).context(format!("cannot use {shown}; {advice}"))
    })
}

/// The text of an index of several files; `None` where the file is none.
fn index(file: &mut File) -> std::io::Result<Option<Vec<u8>>> {
    let mut front = [0; 1];
    let is_text = file.read(&mut front)? == 1 && front[0] == b'{';
    file.rewind()?;
    if !is_text || file.metadata()?.len() > sharded::LONGEST {
        return Ok(None);
    }
    let mut text = Vec::new();
    file.by_ref().take(sharded::LONGEST).read_to_end(&mut text)?;
    file.rewind()?;
    Ok(text.windows(12).any(|part| part == b"\"weight_map\"").then_some(text))
}

/// As [`read`], from an open file or bytes in memory (`std::io::Cursor`).
///
/// # Errors
/// As there, without the file's name.
pub fn read_file(mut file: impl Read + Seek, key: Option<&str>) -> Result<WeightsFile, WeightsError> {
    let mut front = Vec::new();
    file.by_ref().take(FRONT).read_to_end(&mut front)?;
    file.rewind()?;
    let mut read = if front.starts_with(b"PK\x03\x04") {
        pth::read_archive(file, key).map(WeightsFile::from)
    } else if pth::is_legacy(&front) {
        pth::read_legacy(file, key).map(WeightsFile::from)
    } else if let Some(key) = key {
        Err(WeightsError::Key { key: key.into(), there: Vec::new() })
    } else if tflite::is_one(&front) {
        tflite::read(file)
    } else if front.get(8) == Some(&b'{') {
        safetensors::read(file).map(WeightsFile::from)
    } else if front.first() == Some(&0x80) {
        Err(WeightsError::Malformed("it is a pickle, but not one that torch.save writes".into()))
    } else {
        Err(foreign::known(&front).unwrap_or(WeightsError::Unknown))
    }?;
    pruned::multiply(&mut read.tensors);
    Ok(read)
}
