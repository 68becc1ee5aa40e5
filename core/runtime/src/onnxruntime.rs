//! .onnx files in ONNX Runtime, on the processor. The library is that of the PyPI package
//! `onnxruntime`; no Python takes part.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::{DynValue, Outlet, PrimitiveTensorElementType, Tensor, TensorElementType};
use pocketflow::{Error, ErrorKind, Result};
use pocketflow_export::tflite::model::DType;

use crate::Runtime;
use crate::ffi;
use crate::find::Library;
use crate::io::{Io, Layout, Normalisation, TensorInfo};
use crate::precision::{EXACT_OPTION, Precision};

/// An .onnx model in ONNX Runtime.
pub struct Onnxruntime {
    name: String,
    io: Io,
    session: Session,
}

impl Onnxruntime {
    /// Loads `path` with all of ONNX Runtime's optimizations. At least one thread. Normalisation is
    /// that of the file's metadata `mean` and `std`: numbers with commas between them. `precision`
    /// says how products of integers are added.
    ///
    /// # Errors
    /// A library that is not ONNX Runtime or too old; another than the one in use already, which
    /// serves a whole process; a file that is not a model, or whose tensors are of other types than
    /// floats, bytes and integers.
    pub fn open(
        library: &Path,
        path: &Path,
        threads: usize,
        fallback: &Normalisation,
        precision: Precision,
    ) -> Result<Self> {
        let environment = environment(library)?;
        let session = session(&environment, path, threads.max(1), precision).map_err(|error| failed(&error))?;
        let inputs = tensors(session.inputs())?;
        let outputs = tensors(session.outputs())?;
        let stated = stated(&session)?;
        let layout = layout(&inputs);
        let io = Io::new(inputs, outputs, layout, stated, fallback)?;
        Ok(Self { name: name(version(library), precision), io, session })
    }
}

impl Runtime for Onnxruntime {
    fn name(&self) -> &str {
        &self.name
    }

    fn io(&self) -> &Io {
        &self.io
    }

    fn run_raw(&mut self, inputs: &[&[u8]]) -> Result<Vec<Vec<u8>>> {
        self.io.check_inputs(inputs)?;
        self.run(inputs).map_err(|error| failed(&error))
    }
}

impl Onnxruntime {
    fn run(&mut self, inputs: &[&[u8]]) -> ort::Result<Vec<Vec<u8>>> {
        let given = inputs.iter().zip(&self.io.inputs);
        let values = given
            .map(|(bytes, info)| Ok((info.name.clone(), value(bytes, info)?)))
            .collect::<ort::Result<Vec<(String, DynValue)>>>()?;
        let outputs = self.session.run(values)?;
        self.io.outputs.iter().map(|info| bytes(&outputs[info.name.as_str()], info.dtype)).collect()
    }
}

fn value(bytes: &[u8], info: &TensorInfo) -> ort::Result<DynValue> {
    fn tensor<T, const N: usize>(bytes: &[u8], shape: &[usize], read: impl Fn([u8; N]) -> T) -> ort::Result<DynValue>
    where
        T: PrimitiveTensorElementType + std::fmt::Debug + Clone + 'static,
    {
        let numbers: Vec<T> = bytes.as_chunks::<N>().0.iter().map(|&chunk| read(chunk)).collect();
        Ok(Tensor::from_array((shape.to_vec(), numbers))?.into_dyn())
    }
    match info.dtype {
        DType::Float32 => tensor(bytes, &info.shape, f32::from_le_bytes),
        DType::Int8 => tensor(bytes, &info.shape, i8::from_le_bytes),
        DType::Uint8 => tensor(bytes, &info.shape, u8::from_le_bytes),
        DType::Int32 => tensor(bytes, &info.shape, i32::from_le_bytes),
        DType::Int64 => tensor(bytes, &info.shape, i64::from_le_bytes),
    }
}

fn bytes(value: &DynValue, dtype: DType) -> ort::Result<Vec<u8>> {
    fn of<T: PrimitiveTensorElementType + Copy, const N: usize>(
        value: &DynValue,
        write: impl Fn(T) -> [u8; N],
    ) -> ort::Result<Vec<u8>> {
        Ok(value.try_extract_tensor::<T>()?.1.iter().flat_map(|&number| write(number)).collect())
    }
    match dtype {
        DType::Float32 => of(value, f32::to_le_bytes),
        DType::Int8 => of(value, i8::to_le_bytes),
        DType::Uint8 => of(value, u8::to_le_bytes),
        DType::Int32 => of(value, i32::to_le_bytes),
        DType::Int64 => of(value, i64::to_le_bytes),
    }
}

fn session(environment: &Environment, path: &Path, threads: usize, precision: Precision) -> ort::Result<Session> {
    let (option, value) = EXACT_OPTION;
    let builder = Session::builder(environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(threads)?
        .with_inter_threads(1)?;
    let mut builder = match precision {
        Precision::Exact => builder.with_config_entry(option, value)?,
        Precision::Default => builder,
    };
    builder.commit_from_file(path)
}

/// ONNX Runtime's environment, one for the process.
fn environment(library: &Path) -> Result<Environment> {
    static LOADED: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, environment)) = loaded.as_ref().filter(|(path, _)| path == library) {
        return Ok(environment.clone());
    }
    let unusable = |error: &(dyn std::error::Error + 'static)| {
        let advice = Library::Onnxruntime.advice();
        Error::from_error(ErrorKind::Config, error)
            .context(format!("not an ONNX Runtime library that can be used. {advice}"))
    };
    // Asked before `ort` loads it: the library stays loaded then, also when its version is refused.
    ffi::open_with_symbol(library, "OrtGetApiBase").map_err(|error| unusable(&error))?;
    if let Some((path, _)) = &*loaded {
        return Err(Error::config(format!(
            "ONNX Runtime is loaded from {}; one process cannot use {} besides",
            path.display(),
            library.display()
        )));
    }
    let builder = ort::init_from(library).map_err(|error| unusable(&error))?;
    let environment =
        builder.with_name("pocketflow").with_telemetry(false).build().map_err(|error| unusable(&error))?;
    tracing::debug!(library = %library.display(), "ONNX Runtime opened");
    Ok(loaded.insert((library.to_path_buf(), environment)).1.clone())
}

fn failed(error: &(dyn std::error::Error + 'static)) -> Error {
    Error::from_error(ErrorKind::Failed, error).context("ONNX Runtime failed")
}

/// What the session says of inputs or outputs. Sizes left open are 1: the batch.
fn tensors(outlets: &[Outlet]) -> Result<Vec<TensorInfo>> {
    outlets.iter().map(tensor).collect()
}

fn tensor(outlet: &Outlet) -> Result<TensorInfo> {
    let name = outlet.name().to_owned();
    let dtype = match outlet.dtype().tensor_type() {
        Some(TensorElementType::Float32) => DType::Float32,
        Some(TensorElementType::Int8) => DType::Int8,
        Some(TensorElementType::Uint8) => DType::Uint8,
        Some(TensorElementType::Int32) => DType::Int32,
        Some(TensorElementType::Int64) => DType::Int64,
        _ => {
            return Err(Error::failed(format!(
                "tensor {name} is {:?}; float32, int8, uint8, int32 and int64 tensors can be run",
                outlet.dtype()
            )));
        }
    };
    let dims = outlet.dtype().tensor_shape().map(|shape| shape.to_vec()).unwrap_or_default();
    let shape = dims.iter().map(|&dim| usize::try_from(dim).unwrap_or(1)).collect();
    Ok(TensorInfo { name, shape, dtype, grid: None })
}

/// Images are channels first, but for files made from TensorFlow's.
fn layout(inputs: &[TensorInfo]) -> Layout {
    match inputs.first().map(|input| input.shape.as_slice()) {
        Some(&[_, first, _, last]) if !(1..=4).contains(&first) && (1..=4).contains(&last) => Layout::Nhwc,
        _ => Layout::Nchw,
    }
}

fn stated(session: &Session) -> Result<Option<Normalisation>> {
    let metadata = session.metadata().map_err(|error| failed(&error))?;
    let numbers = |key: &str| metadata.custom(key).map(|text| parse(key, &text)).transpose();
    match (numbers("mean")?, numbers("std")?) {
        (Some(mean), Some(std)) => Ok(Some(Normalisation { mean, std })),
        (None, None) => Ok(None),
        _ => Err(Error::failed("the file's metadata has only one of mean and std")),
    }
}

/// `123.68, 116.78, 103.94`, with or without brackets.
fn parse(key: &str, text: &str) -> Result<Vec<f32>> {
    let inner = text.trim().trim_start_matches('[').trim_end_matches(']');
    let numbers = inner.split(',').map(|number| number.trim().parse().ok().filter(|x: &f32| x.is_finite()));
    numbers.collect::<Option<Vec<f32>>>().ok_or_else(|| {
        Error::failed(format!("the file's metadata {key} is {text:?}: numbers with commas are expected"))
    })
}

/// `ONNX Runtime 1.32.0`, and whether it runs with its default options.
fn name(version: &str, precision: Precision) -> String {
    let name = format!("ONNX Runtime {version}");
    let name = name.trim_end();
    match precision {
        Precision::Exact => name.to_owned(),
        Precision::Default => format!("{name} (default options)"),
    }
}

/// Of the library's file name: `libonnxruntime.so.1.32.0`.
fn version(library: &Path) -> &str {
    let name = library.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.split_once(".so.").map_or("", |(_, version)| version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_numbers() {
        assert_eq!(parse("mean", "127.5").unwrap(), [127.5]);
        assert_eq!(parse("mean", "[1, 2.5,3]").unwrap(), [1.0, 2.5, 3.0]);
        for text in ["", "a,b", "1,,2", "nan"] {
            assert!(parse("std", text).unwrap_err().to_string().contains("std"), "{text}");
        }
    }

    #[test]
    fn layouts() {
        let input = |shape: [usize; 4]| {
            [TensorInfo { name: String::new(), shape: shape.to_vec(), dtype: DType::Float32, grid: None }]
        };
        assert_eq!(layout(&input([1, 3, 32, 32])), Layout::Nchw);
        assert_eq!(layout(&input([1, 32, 32, 3])), Layout::Nhwc);
        assert_eq!(layout(&[]), Layout::Nchw);
    }

    #[test]
    fn the_version_is_in_the_name() {
        assert_eq!(version(Path::new("/x/libonnxruntime.so.1.32.0")), "1.32.0");
        assert_eq!(version(Path::new("/x/libonnxruntime.so")), "");
        assert_eq!(name("1.32.0", Precision::Exact), "ONNX Runtime 1.32.0");
        assert_eq!(name("", Precision::Default), "ONNX Runtime (default options)");
    }
}
