//! An exported file and the runtime for it.

use std::fs;
use std::path::Path;
use std::str::FromStr;

use pocketflow::error::Context;
use pocketflow::{Error, Result};

use crate::Runtime;
use crate::find::{Library, LibraryPaths, find};
use crate::io::Normalisation;
use crate::litert::Litert;
use crate::onnxruntime::Onnxruntime;
use crate::precision::Precision;
use crate::reference::Reference;

/// Which runtime the user wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Choice {
    /// LiteRT for .tflite where it is found, else the reference interpreter; ONNX Runtime for
    /// .onnx.
    #[default]
    Auto,
    /// LiteRT, of .tflite files.
    Litert,
    /// ONNX Runtime with exact sums of integer products ([`Precision::Exact`]).
    Onnxruntime,
    /// ONNX Runtime with its default options, as most programs run it ([`Precision::Default`]).
    OnnxruntimeDefault,
    /// The interpreter of this program, of .tflite files.
    Reference,
}

impl FromStr for Choice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "auto" => Self::Auto,
            "litert" => Self::Litert,
            "onnxruntime" => Self::Onnxruntime,
            "onnxruntime-default" => Self::OnnxruntimeDefault,
            "reference" => Self::Reference,
            _ => {
                let names = Self::NAMES.join(", ");
                return Err(Error::config(format!("unknown runtime {text:?}; the runtimes are {names}")));
            }
        })
    }
}

impl Choice {
    /// What [`Choice::from_str`] reads.
    pub const NAMES: [&'static str; 5] = ["auto", "litert", "onnxruntime", "onnxruntime-default", "reference"];
}

/// A file in its runtime.
pub struct Opened {
    /// Ready to run.
    pub runtime: Box<dyn Runtime>,
    /// What the user should know: that another runtime runs than the one people deploy with.
    pub note: Option<String>,
}

/// What kind of file a name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Tflite,
    Onnx,
}

impl Format {
    fn of(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "tflite" => Some(Self::Tflite),
            "onnx" => Some(Self::Onnx),
            _ => None,
        }
    }
}

/// Opens a .tflite or .onnx file on `threads` threads (0: one for each processor). `fallback`
/// normalises pixels for float files that do not say how. ONNX Runtime adds exactly but for
/// [`Choice::OnnxruntimeDefault`].
///
/// # Errors
/// A name of another kind; a runtime that cannot run such files, is not found or cannot be used; a
/// file that is not a model.
pub fn open(
    path: &Path,
    choice: Choice,
    libraries: &LibraryPaths,
    threads: usize,
    fallback: &Normalisation,
) -> Result<Opened> {
    let format = Format::of(path).ok_or_else(|| {
        Error::config(format!("{}: neither .tflite nor .onnx, the files that runtimes run", path.display()))
    })?;
    let threads = match threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let wrong = |runtime: &str, files: &str| {
        Err(Error::config(format!("{}: {runtime} runs {files} files only; `--runtime auto` chooses", path.display())))
    };
    match (format, choice) {
        (Format::Tflite, Choice::Onnxruntime | Choice::OnnxruntimeDefault) => return wrong("ONNX Runtime", ".onnx"),
        (Format::Onnx, Choice::Litert) => return wrong("LiteRT", ".tflite"),
        (Format::Onnx, Choice::Reference) => return wrong("the reference interpreter", ".tflite"),
        _ => {}
    }
    // Looked at before a library gets it, so that a missing file is said as such.
    let file = fs::read(path)
        .map_err(|error| Error::config(format!("cannot read the model file {}: {error}", path.display())))?;
    let opened = match format {
        Format::Onnx => {
            let precision = match choice {
                Choice::OnnxruntimeDefault => Precision::Default,
                _ => Precision::Exact,
            };
            onnx(path, libraries, threads, fallback, precision)
        }
        Format::Tflite => tflite_file(&file, choice, libraries, threads, fallback),
    };
    opened.with_context(|| format!("cannot open {}", path.display()))
}

fn onnx(
    path: &Path,
    libraries: &LibraryPaths,
    threads: usize,
    fallback: &Normalisation,
    precision: Precision,
) -> Result<Opened> {
    let library = find(Library::Onnxruntime, libraries.of(Library::Onnxruntime))?;
    let runtime = Onnxruntime::open(&library, path, threads, fallback, precision)?;
    Ok(Opened { runtime: Box::new(runtime), note: None })
}

fn tflite_file(
    file: &[u8],
    choice: Choice,
    libraries: &LibraryPaths,
    threads: usize,
    fallback: &Normalisation,
) -> Result<Opened> {
    let model = pocketflow_export::tflite::read(file)?;
    if choice != Choice::Reference {
        match find(Library::Litert, libraries.of(Library::Litert)) {
            Ok(library) => {
                let runtime = Litert::open(&library, file, &model, threads, fallback)?;
                return Ok(Opened { runtime: Box::new(runtime), note: None });
            }
            Err(missing) if choice == Choice::Litert || missing.named => return Err(missing.into()),
            Err(missing) => {
                let runtime = Reference::new(&model, fallback)?;
                let note = format!("run by the reference interpreter, which is exact and slow: {missing}");
                return Ok(Opened { runtime: Box::new(runtime), note: Some(note) });
            }
        }
    }
    Ok(Opened { runtime: Box::new(Reference::new(&model, fallback)?), note: None })
}
