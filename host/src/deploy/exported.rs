//! An exported file with the data set that belongs to it.

use super::images::{expect_classes, expect_size};
use super::origin::{self, Origin};
use super::precision;
use super::verify::normalisation;
use crate::layers::Layers;
use crate::run::Program;
use crate::select::{self, Saved, Selected};
use pocketflow::atomic::together::settle;
use pocketflow::error::Context;
use pocketflow::model::ModelMeta;
use pocketflow::{Error, Result};
use pocketflow_export::onnx::proto;
use pocketflow_export::tflite;
use pocketflow_export::tflite::metadata::ImageMetadata;
use pocketflow_runtime::{Choice, LibraryPaths, Opened, Runtime, open};
use prost::Message;
use std::path::{Path, PathBuf};

/// A file, and the images to run it on.
pub struct Exported {
    pub path: PathBuf,
    pub bytes: u64,
    pub selected: Selected,
    /// ONNX Runtime's default options give other answers on this processor.
    pub default_differs: bool,
}

impl Exported {
    /// Whether a name says that it is one.
    pub fn is_one(path: &Path) -> bool {
        Kind::of(path).is_some()
    }

    /// Reads what the file says of itself and selects the data set: what the settings name, else
    /// what it was trained for.
    ///
    /// # Errors
    /// A file that cannot be read or is damaged; no data set named and none known.
    pub fn select(program: &Program, layers: &Layers, path: &Path) -> Result<Self> {
        let shown = path.display();
        let kind = Kind::of(path).ok_or_else(|| Error::config(format!("`{shown}`: neither .tflite nor .onnx")))?;
        if let Some(folder) = path.parent().filter(|folder| *folder != Path::new("")) {
            settle(folder)?;
        }
        let bytes = std::fs::read(path)
            .map_err(|error| Error::config(format!("cannot read the model file `{shown}`: {error}")))?;
        let (origin, labels) = kind.origin(&bytes).with_context(|| format!("cannot use `{shown}`"))?;
        let meta = origin.as_ref().map(|origin| ModelMeta { labels, ..origin.meta() });
        let saved = origin.as_ref().zip(meta.as_ref());
        let saved = saved.map(|(origin, meta)| Saved { meta, image: origin.image, classes: origin.classes });
        let selected = select::select(&program.registry, layers, saved)
            .with_context(|| format!("cannot choose the images for `{shown}`"))?;
        if let Some(warning) = &selected.warning {
            tracing::warn!("{warning}");
        }
        let default_differs = kind == Kind::Onnx && precision::differs_here(precision::needs_option(&bytes));
        Ok(Self { path: path.to_owned(), bytes: bytes.len() as u64, selected, default_differs })
    }

    /// The file in a runtime; notes are logged.
    ///
    /// # Errors
    /// A runtime that is not found or refuses the file; images of another size than it takes, or of
    /// other classes than it tells apart.
    pub fn open(&self, choice: Choice, libraries: &LibraryPaths, threads: usize) -> Result<Box<dyn Runtime>> {
        let info = self.selected.dataset.info();
        let Opened { runtime, note } = open(&self.path, choice, libraries, threads, &normalisation(&info))?;
        if let Some(note) = note {
            tracing::warn!("{}: {note}", self.path.display());
        }
        runtime.io().expect_one_output().with_context(|| format!("cannot use `{}`", self.path.display()))?;
        if let Some(image) = &runtime.io().image {
            let need = [image.height, image.width, image.channels];
            expect_size(info.shape, need, &format!("`{}`", self.path.display()))?;
        }
        if let Some(outputs) = runtime.io().outputs.first().and_then(|output| output.elements()) {
            expect_classes(&info, outputs, &format!("`{}`", self.path.display()))?;
        }
        Ok(runtime)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tflite,
    Onnx,
}

impl Kind {
    fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "tflite" => Some(Self::Tflite),
            "onnx" => Some(Self::Onnx),
            _ => None,
        }
    }

    /// What it says of where it comes from, `None` where another program made it, and the names of
    /// its classes, none where it does not name them.
    fn origin(self, bytes: &[u8]) -> Result<(Option<Origin>, Vec<String>)> {
        match self {
            Self::Tflite => {
                let model = tflite::read(bytes)?;
                let entry = model.metadata.iter().find(|(name, _)| name == origin::KEY);
                // What the Task Library reads may be damaged without harm to the network.
                let image = ImageMetadata::of(&model).unwrap_or_default();
                let labels = image.map(|image| image.labels).unwrap_or_default();
                Ok((entry.and_then(|(_, bytes)| Origin::from_json(bytes)), labels))
            }
            Self::Onnx => {
                let model = proto::Model::decode(bytes)
                    .map_err(|error| Error::failed(format!("it is not an .onnx file: {error}")))?;
                let entry = |key: &str| model.metadata_props.iter().find(|entry| entry.key() == key);
                let origin = entry("source").and_then(|entry| Origin::from_json(entry.value().as_bytes()));
                let labels = entry("labels").and_then(|entry| serde_json::from_str(entry.value()).ok());
                Ok((origin, labels.unwrap_or_default()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_name() {
        assert!(Exported::is_one(Path::new("a/model.TFLITE")) && Exported::is_one(Path::new("m.onnx")));
        assert!(!Exported::is_one(Path::new("model.ckpt")) && !Exported::is_one(Path::new("tflite")));
    }

    #[test]
    fn garbage_is_refused() {
        assert!(Kind::Tflite.origin(b"no such thing").is_err());
        assert!(Kind::Onnx.origin(b"\xff\xff\xff\xff").is_err());
    }
}
