//! The one place with `unsafe`: shared libraries opened by path, and LiteRT's C interface behind
//! owners that free what they hold. Signatures are those of LiteRT 2.2 and 2.3 (litert/c/*.h):
//! early 2.1 creates models without an environment, so a library is taken only if it has what came
//! with 2.2.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::ptr::null_mut;
use std::sync::Mutex;

use libloading::Library;
use pocketflow_export::tflite::model::DType;

use crate::io::TensorInfo;

/// Why a library cannot serve.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("{} cannot be opened as a shared library", .path.display())]
    Open { path: PathBuf, source: libloading::Error },
    #[error("{} has no symbol {symbol}", .path.display())]
    Symbol { path: PathBuf, symbol: &'static str },
}

/// Opens a library for good: threads and destructors of a runtime do not survive being unloaded.
fn open(path: &Path) -> Result<&'static Library, LoadError> {
    // SAFETY: the library's constructors run; it is a runtime that the user named or installed, or
    // dlopen refuses the file.
    let library =
        unsafe { Library::new(path) }.map_err(|source| LoadError::Open { path: path.to_path_buf(), source })?;
    Ok(Box::leak(Box::new(library)))
}

/// Opens a library and makes sure of one symbol.
pub(crate) fn open_with_symbol(path: &Path, symbol: &'static str) -> Result<&'static Library, LoadError> {
    let library = open(path)?;
    // SAFETY: only whether the symbol is there is asked; its address is not used.
    let found = unsafe { library.get::<*const c_void>(symbol) };
    found.map(|_| library).map_err(|_| LoadError::Symbol { path: path.to_path_buf(), symbol })
}

type Handle = *mut c_void;
type Status = c_int;

/// LiteRtRankedTensorType with its LiteRtLayout.
#[repr(C)]
struct RankedTensorType {
    element: c_int,
    /// Bits 0 to 6 the rank, bit 7 whether strides are given.
    rank: u32,
    dimensions: [i32; 8],
    strides: [u32; 8],
}

/// LiteRtEnvOption.
#[repr(C)]
struct EnvironmentOption {
    tag: c_int,
    value: Any,
}

/// LiteRtAny that holds an integer.
#[repr(C)]
struct Any {
    kind: c_int,
    value: i64,
}

const _: () = assert!(size_of::<RankedTensorType>() == 72 && size_of::<EnvironmentOption>() == 24);

macro_rules! functions {
    ($($field:ident = $symbol:literal: fn($($argument:ty),*) $(-> $result:ty)?;)*) => {
        /// The functions used, with the signatures of LiteRT 2.2 and 2.3.
        pub(crate) struct Api { $($field: unsafe extern "C" fn($($argument),*) $(-> $result)?,)* }

        impl Api {
            fn of(library: &'static Library, path: &Path) -> Result<Self, LoadError> {
                Ok(Self { $(
                    // SAFETY: the signature is the header's; the library is never unloaded, so that
                    // the pointer stays valid.
                    $field: *unsafe { library.get($symbol) }
                        .map_err(|_| LoadError::Symbol { path: path.to_path_buf(), symbol: $symbol })?,
                )* })
            }
        }
    };
}

functions! {
    create_environment = "LiteRtCreateEnvironment": fn(c_int, *const EnvironmentOption, *mut Handle) -> Status;
    destroy_environment = "LiteRtDestroyEnvironment": fn(Handle);
    create_model = "LiteRtCreateModelFromBuffer": fn(Handle, *const c_void, usize, *mut Handle) -> Status;
    destroy_model = "LiteRtDestroyModel": fn(Handle);
    create_options = "LiteRtCreateOptions": fn(*mut Handle) -> Status;
    destroy_options = "LiteRtDestroyOptions": fn(Handle);
    set_accelerators = "LiteRtSetOptionsHardwareAccelerators": fn(Handle, c_int) -> Status;
    create_opaque_options = "LiteRtCreateOpaqueOptions":
        fn(*const c_char, *mut c_void, unsafe extern "C" fn(*mut c_void), *mut Handle) -> Status;
    destroy_opaque_options = "LiteRtDestroyOpaqueOptions": fn(Handle);
    add_opaque_options = "LiteRtAddOpaqueOptions": fn(Handle, Handle) -> Status;
    create_compiled_model = "LiteRtCreateCompiledModel": fn(Handle, Handle, Handle, *mut Handle) -> Status;
    destroy_compiled_model = "LiteRtDestroyCompiledModel": fn(Handle);
    input_requirements = "LiteRtGetCompiledModelInputBufferRequirements": fn(Handle, usize, usize, *mut Handle) -> Status;
    output_requirements = "LiteRtGetCompiledModelOutputBufferRequirements":
        fn(Handle, usize, usize, *mut Handle) -> Status;
    required_bytes = "LiteRtGetTensorBufferRequirementsBufferSize": fn(Handle, *mut usize) -> Status;
    create_buffer = "LiteRtCreateManagedTensorBuffer":
        fn(Handle, c_int, *const RankedTensorType, usize, *mut Handle) -> Status;
    destroy_buffer = "LiteRtDestroyTensorBuffer": fn(Handle);
    lock_buffer = "LiteRtLockTensorBuffer": fn(Handle, *mut *mut c_void, c_int) -> Status;
    unlock_buffer = "LiteRtUnlockTensorBuffer": fn(Handle) -> Status;
    run = "LiteRtRunCompiledModel": fn(Handle, usize, usize, *const Handle, usize, *const Handle) -> Status;
}

/// LiteRT's functions from a library, opened once for each path.
pub(crate) fn litert(path: &Path) -> Result<&'static Api, LoadError> {
    static OPENED: Mutex<Vec<(PathBuf, &'static Api)>> = Mutex::new(Vec::new());
    let mut opened = OPENED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some((_, api)) = opened.iter().find(|(known, _)| known == path) {
        return Ok(api);
    }
    // A table of functions that came with 2.2. 2.1 has all the names below, some with other
    // signatures.
    const SINCE_2_2: &str = "kLiteRtRuntimeBuiltin";
    let library = open_with_symbol(path, SINCE_2_2)?;
    let api: &'static Api = Box::leak(Box::new(Api::of(library, path)?));
    opened.push((path.to_path_buf(), api));
    Ok(api)
}

/// A call that LiteRT refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("LiteRT: {what}: {} (status {status})", crate::litert::status::meaning(*status))]
    Status { what: &'static str, status: i32 },
    #[error("LiteRT holds {held} bytes for {name}, the file says {stated}")]
    Size { name: String, held: usize, stated: usize },
    #[error("LiteRT takes tensors of at most 8 dimensions and 2³¹ numbers in each; {name} has more")]
    Shape { name: String },
}

fn check(status: Status, what: &'static str) -> Result<(), CallError> {
    if status == 0 { Ok(()) } else { Err(CallError::Status { what, status }) }
}

/// An object of LiteRT's and what frees it.
struct Owned {
    handle: Handle,
    destroy: unsafe extern "C" fn(Handle),
}

impl Owned {
    /// What `create` writes, if it succeeds.
    fn new(
        destroy: unsafe extern "C" fn(Handle),
        what: &'static str,
        create: impl FnOnce(*mut Handle) -> Status,
    ) -> Result<Self, CallError> {
        let mut handle = null_mut();
        check(create(&raw mut handle), what)?;
        Ok(Self { handle, destroy })
    }

    /// Gives the object away: whoever took it frees it.
    fn release(mut self) {
        self.handle = null_mut();
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if !self.handle.is_null() {
            // SAFETY: the object was created by the counterpart of `destroy` and is freed once,
            // here.
            unsafe { (self.destroy)(self.handle) }
        }
    }
}

/// Frees a payload made by `CString::into_raw`.
unsafe extern "C" fn free_text(payload: *mut c_void) {
    if !payload.is_null() {
        // SAFETY: LiteRT hands back the pointer that it was given by `options`, once.
        drop(unsafe { CString::from_raw(payload.cast()) });
    }
}

/// A model ready to run, with its tensors. Fields are dropped in this order: what uses before what
/// is used.
pub(crate) struct CompiledModel {
    api: &'static Api,
    inputs: Vec<Buffer>,
    outputs: Vec<Buffer>,
    compiled: Owned,
    _model: Owned,
    _environment: Owned,
    /// The model refers to these bytes.
    _file: Vec<u8>,
}

// SAFETY: nothing of LiteRT's is bound to the thread that made it, and `&mut self` keeps calls one
// after another.
unsafe impl Send for CompiledModel {}

struct Buffer {
    buffer: Owned,
    bytes: usize,
}

impl CompiledModel {
    /// Compiles a file's first signature for the processor, on so many threads. `inputs` and
    /// `outputs` are the graph's, in its order (LiteRT keeps that order, whatever a signature
    /// says).
    pub fn new(
        api: &'static Api,
        file: &[u8],
        threads: usize,
        inputs: &[TensorInfo],
        outputs: &[TensorInfo],
    ) -> Result<Self, CallError> {
        // The processor only, so that no libraries for graphics cards are looked for; warnings and
        // notes stay silent.
        const ACCELERATORS: c_int = 24;
        const MINIMAL_SEVERITY: c_int = 25;
        const ERROR: i64 = 3;
        let setting = |tag, value| EnvironmentOption { tag, value: Any { kind: INTEGER, value } };
        let settings = [setting(ACCELERATORS, PROCESSOR.into()), setting(MINIMAL_SEVERITY, ERROR)];
        // SAFETY: as many options as the array has; LiteRT copies them.
        let environment = Owned::new(api.destroy_environment, "creating an environment", |out| unsafe {
            (api.create_environment)(settings.len() as c_int, settings.as_ptr(), out)
        })?;

        // Copied to where its tables and constants lie aligned.
        const ALIGNMENT: usize = 64;
        let mut aligned = vec![0; file.len() + ALIGNMENT];
        let begin = aligned.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        aligned[begin..begin + file.len()].copy_from_slice(file);
        let bytes = &aligned[begin..begin + file.len()];
        // SAFETY: pointer and length are of one slice, whose memory `_file` keeps until the model
        // is gone.
        let model = Owned::new(api.destroy_model, "reading the model", |out| unsafe {
            (api.create_model)(environment.handle, bytes.as_ptr().cast(), bytes.len(), out)
        })?;

        let options = options(api, threads)?;
        // SAFETY: all three are alive; LiteRT copies from the options what it needs.
        let compiled = Owned::new(api.destroy_compiled_model, "compiling the model", |out| unsafe {
            (api.create_compiled_model)(environment.handle, model.handle, options.handle, out)
        })?;

        let buffers = |tensors: &[TensorInfo], required| {
            let each = tensors.iter().enumerate();
            each.map(|(index, tensor)| Buffer::new(api, &environment, &compiled, required, index, tensor))
                .collect::<Result<Vec<_>, _>>()
        };
        let inputs = buffers(inputs, api.input_requirements)?;
        let outputs = buffers(outputs, api.output_requirements)?;
        Ok(Self { api, inputs, outputs, compiled, _model: model, _environment: environment, _file: aligned })
    }

    /// Inputs as many and as long as the tensors are, else the shorter part is written.
    pub fn run(&mut self, inputs: &[&[u8]]) -> Result<Vec<Vec<u8>>, CallError> {
        for (buffer, bytes) in self.inputs.iter().zip(inputs) {
            buffer.locked(self.api, Access::Write, |memory| {
                let length = bytes.len().min(buffer.bytes);
                // SAFETY: `memory` has `buffer.bytes` bytes while it is locked and is no memory of
                // ours.
                unsafe { memory.copy_from_nonoverlapping(bytes.as_ptr(), length) }
            })?;
        }
        let handles = |buffers: &[Buffer]| buffers.iter().map(|b| b.buffer.handle).collect::<Vec<_>>();
        let (given, wanted) = (handles(&self.inputs), handles(&self.outputs));
        // SAFETY: counts are those of the arrays, whose buffers are alive and unlocked.
        let status = unsafe {
            (self.api.run)(self.compiled.handle, 0, given.len(), given.as_ptr(), wanted.len(), wanted.as_ptr())
        };
        check(status, "running the model")?;
        let read = |buffer: &Buffer| {
            buffer.locked(self.api, Access::Read, |memory| {
                // SAFETY: `memory` has `buffer.bytes` bytes, written by the run, while it is
                // locked.
                unsafe { std::slice::from_raw_parts(memory.cast_const(), buffer.bytes) }.to_vec()
            })
        };
        self.outputs.iter().map(read).collect()
    }
}

/// kLiteRtAnyTypeInt.
const INTEGER: c_int = 2;
/// kLiteRtHwAcceleratorCpu.
const PROCESSOR: c_int = 1;

fn options(api: &Api, threads: usize) -> Result<Owned, CallError> {
    // SAFETY: `out` is where the handle goes.
    let options = Owned::new(api.destroy_options, "creating options", |out| unsafe { (api.create_options)(out) })?;
    // SAFETY: the options are alive.
    check(unsafe { (api.set_accelerators)(options.handle, PROCESSOR) }, "choosing the processor")?;

    // Options of a part of LiteRT are TOML text under the part's name.
    const PART: &CStr = c"xnnpack";
    let text = CString::new(format!("num_threads = {threads}\n")).unwrap_or_default().into_raw();
    // SAFETY: the name is static; the text is freed by `free_text`, which LiteRT calls with it.
    let status = |out| unsafe { (api.create_opaque_options)(PART.as_ptr(), text.cast(), free_text, out) };
    let part = Owned::new(api.destroy_opaque_options, "setting the number of threads", status).inspect_err(|_| {
        // SAFETY: LiteRT did not take the text, so it is still ours.
        unsafe { free_text(text.cast()) }
    })?;
    // SAFETY: both are alive; on success the options own the part.
    check(unsafe { (api.add_opaque_options)(options.handle, part.handle) }, "setting the number of threads")?;
    part.release();
    Ok(options)
}

/// LiteRtTensorBufferLockMode.
#[derive(Clone, Copy)]
enum Access {
    Read = 0,
    Write = 1,
}

impl Buffer {
    fn new(
        api: &Api,
        environment: &Owned,
        compiled: &Owned,
        required: unsafe extern "C" fn(Handle, usize, usize, *mut Handle) -> Status,
        index: usize,
        tensor: &TensorInfo,
    ) -> Result<Self, CallError> {
        let kind = ranked(tensor)?;
        let (mut requirements, mut held) = (null_mut(), 0);
        // SAFETY: the model is alive; the requirements belong to it.
        check(unsafe { required(compiled.handle, 0, index, &raw mut requirements) }, "asking for a tensor's needs")?;
        // SAFETY: the requirements are alive as long as the model.
        check(unsafe { (api.required_bytes)(requirements, &raw mut held) }, "asking for a tensor's size")?;
        let bytes = tensor.bytes().unwrap_or(usize::MAX);
        if held < bytes {
            return Err(CallError::Size { name: tensor.name.clone(), held, stated: bytes });
        }
        // kLiteRtTensorBufferTypeHostMemory.
        const HOST_MEMORY: c_int = 1;
        // SAFETY: the type is read during the call; the buffer holds its own memory.
        let buffer = Owned::new(api.destroy_buffer, "creating a tensor", |out| unsafe {
            (api.create_buffer)(environment.handle, HOST_MEMORY, &raw const kind, held, out)
        })?;
        Ok(Self { buffer, bytes })
    }

    /// `work` on the buffer's memory, at least `bytes` long.
    fn locked<T>(&self, api: &Api, access: Access, work: impl FnOnce(*mut u8) -> T) -> Result<T, CallError> {
        let mut memory = null_mut();
        // SAFETY: the buffer is alive and not locked: every lock is undone below.
        let status = unsafe { (api.lock_buffer)(self.buffer.handle, &raw mut memory, access as c_int) };
        check(status, "reaching a tensor's memory")?;
        let result = work(memory.cast());
        // SAFETY: locked above.
        check(unsafe { (api.unlock_buffer)(self.buffer.handle) }, "leaving a tensor's memory")?;
        Ok(result)
    }
}

fn ranked(tensor: &TensorInfo) -> Result<RankedTensorType, CallError> {
    // LiteRtElementType.
    let element = match tensor.dtype {
        DType::Float32 => 1,
        DType::Int32 => 2,
        DType::Uint8 => 3,
        DType::Int64 => 4,
        DType::Int8 => 9,
    };
    let mut dimensions = [0; 8];
    if tensor.shape.len() > dimensions.len() {
        return Err(CallError::Shape { name: tensor.name.clone() });
    }
    for (dimension, &size) in dimensions.iter_mut().zip(&tensor.shape) {
        *dimension = i32::try_from(size).map_err(|_| CallError::Shape { name: tensor.name.clone() })?;
    }
    Ok(RankedTensorType { element, rank: tensor.shape.len() as u32, dimensions, strides: [0; 8] })
}
