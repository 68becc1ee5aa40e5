//! .tflite files in LiteRT (TensorFlow Lite's successor), on the processor by XNNPACK. The library
//! is that of the PyPI package `ai-edge-litert`; no Python takes part.

pub(crate) mod status;

use std::path::Path;

use pocketflow::{Error, ErrorKind, Result};
use pocketflow_export::tflite::model::TfliteModel;

use crate::ffi::{self, CallError, CompiledModel, LoadError};
use crate::find::Library;
use crate::io::{Io, Normalisation};
use crate::{Runtime, tflite};

/// A .tflite model in LiteRT.
pub struct Litert {
    name: String,
    io: Io,
    model: CompiledModel,
}

impl Litert {
    /// `file` are the bytes that `model` was read from, so that no damaged file reaches the C
    /// library. At least one thread.
    ///
    /// # Errors
    /// A library that is not LiteRT 2.2 or 2.3; what LiteRT cannot run.
    pub fn open(
        library: &Path,
        file: &[u8],
        model: &TfliteModel,
        threads: usize,
        fallback: &Normalisation,
    ) -> Result<Self> {
        let version = version_beside(library);
        if let Some(version) = version.as_deref().filter(|version| !known(version)) {
            return Err(Error::config(format!(
                "{} is LiteRT {version}; PocketFlow speaks with 2.2 and 2.3. {}",
                library.display(),
                Library::Litert.advice()
            )));
        }
        let api = ffi::litert(library).map_err(|error| unusable(&error))?;
        let io = tflite::io(model, fallback)?;
        let compiled = CompiledModel::new(api, file, threads.max(1), &io.inputs, &io.outputs).map_err(failed)?;
        tracing::debug!(library = %library.display(), threads, "LiteRT opened");
        let name = format!("LiteRT{} (XNNPACK)", version.map(|v| format!(" {v}")).unwrap_or_default());
        Ok(Self { name, io, model: compiled })
    }
}

impl Runtime for Litert {
    fn name(&self) -> &str {
        &self.name
    }

    fn io(&self) -> &Io {
        &self.io
    }

    fn run_raw(&mut self, inputs: &[&[u8]]) -> Result<Vec<Vec<u8>>> {
        self.io.check_inputs(inputs)?;
        self.model.run(inputs).map_err(failed)
    }
}

fn failed(error: CallError) -> Error {
    Error::from_error(ErrorKind::Failed, &error)
}

fn unusable(error: &LoadError) -> Error {
    let advice = Library::Litert.advice();
    Error::from_error(ErrorKind::Config, error).context(format!("not a LiteRT library that can be used. {advice}"))
}

/// Whether the C interface is the one that [`ffi`] declares.
fn known(version: &str) -> bool {
    ["2.2.", "2.3."].iter().any(|series| version.starts_with(series))
}

/// The version that Python's package says, where the library lies in one:
/// `ai_edge_litert-2.3.0.dist-info` beside the folder.
fn version_beside(library: &Path) -> Option<String> {
    let packages = library.parent()?.parent()?;
    let names = std::fs::read_dir(packages).ok()?.flatten().map(|entry| entry.file_name());
    names.filter_map(|name| name.into_string().ok()).find_map(|name| {
        let version = name.strip_prefix("ai_edge_litert-")?.strip_suffix(".dist-info")?;
        Some(version.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_package_around_the_library() {
        let site = tempfile::tempdir().unwrap();
        let library = site.path().join("ai_edge_litert").join("libLiteRt.so");
        assert_eq!(version_beside(&library), None);
        std::fs::create_dir(site.path().join("ai_edge_litert-2.9.1.dist-info")).unwrap();
        assert_eq!(version_beside(&library).as_deref(), Some("2.9.1"));
        assert!(known("2.3.0") && known("2.2.0") && !known("2.1.6") && !known("2.30.0"));
    }
}
