//! Safe wrappers of the C++ kernels in `kernels/`. Tensors cross as pointers to `at::Tensor`, as in
//! torch-sys; a C++ exception comes back as a message.

mod processes;
mod steps;

pub use processes::Processes;
pub use steps::{StepJob, StepQuantizer, quantize_by_step, step_gradients, step_of};

use pocketflow::quant::Grid;
use pocketflow::{Error, Result};
use std::ffi::{CStr, c_char, c_double, c_int, c_void};
use tch::Tensor;
use torch_sys::C_tensor;

unsafe extern "C" {
    fn pf_norm_act(
        x: *const C_tensor,
        gamma: *const C_tensor,
        beta: *const C_tensor,
        running_mean: *const C_tensor,
        running_var: *const C_tensor,
        residual: *const C_tensor,
        outer: *const QuantizerArgument,
        inner: *const QuantizerArgument,
        training: c_int,
        momentum: c_double,
        eps: c_double,
        act: c_int,
        out: *mut *mut C_tensor,
    ) -> *mut c_char;
    fn pf_quantize_weights(jobs: *const WeightArgument, count: i64) -> *mut c_char;
    fn pf_sgd_step(
        params: *const *const C_tensor,
        leaves: *const *const C_tensor,
        momenta: *const *const C_tensor,
        decays: *const c_double,
        rates: *const c_double,
        count: i64,
        rate: c_double,
        momentum: c_double,
        nesterov: c_int,
    ) -> *mut c_char;
    fn pf_adam_step(
        params: *const *const C_tensor,
        leaves: *const *const C_tensor,
        first: *const *const C_tensor,
        second: *const *const C_tensor,
        decays: *const c_double,
        rates: *const c_double,
        count: i64,
        rate: c_double,
        beta1: c_double,
        beta2: c_double,
        eps: c_double,
        step: i64,
    ) -> *mut c_char;
    fn pf_images(
        pixels: *const u8,
        n: i64,
        h: i64,
        w: i64,
        c: i64,
        mean: *const f32,
        std: *const f32,
        out: *mut *mut C_tensor,
    ) -> *mut c_char;
    fn pf_moments(x: *const C_tensor, mean: *mut *mut C_tensor, variance: *mut *mut C_tensor) -> *mut c_char;
    fn pf_keep_memory() -> *mut c_char;
    fn pf_operators_only(on: c_int);
    fn pf_mixed_precision(on: c_int, before: *mut c_int) -> *mut c_char;
    fn pf_generator(seed: u64, out: *mut *mut c_void) -> *mut c_char;
    fn pf_generator_free(generator: *mut c_void);
    fn pf_random(
        generator: *mut c_void,
        shape: *const i64,
        dims: i64,
        normal: c_int,
        out: *mut *mut C_tensor,
    ) -> *mut c_char;
    fn free(pointer: *mut c_void);
}

/// As in kernels/norm_act.cpp.
#[repr(C)]
struct QuantizerArgument {
    range: *const C_tensor,
    log_step: *const C_tensor,
    zero: *const C_tensor,
    decay: c_double,
    factor: c_double,
    bits: i32,
    track: i32,
}

/// As in kernels/weights.cpp.
#[repr(C)]
struct WeightArgument {
    source: *const C_tensor,
    result: *const C_tensor,
    gamma: *const C_tensor,
    variance: *const C_tensor,
    log_steps: *const C_tensor,
    eps: c_double,
    bits: i64,
    bucket_size: i64,
    grid: i64,
}

fn check(kernel: &str, message: *mut c_char) -> Result<()> {
    if message.is_null() {
        return Ok(());
    }
    // SAFETY: a kernel returns null or a NUL-terminated string from strdup, which is ours to free.
    let text = unsafe {
        let text = CStr::from_ptr(message).to_string_lossy().into_owned();
        free(message.cast());
        text
    };
    let first = text.split("\nException raised from").next().unwrap_or(&text).trim().to_owned();
    Err(Error::failed(first).context(format!("kernel {kernel}")))
}

fn pointer(tensor: Option<&Tensor>) -> *const C_tensor {
    tensor.map_or(std::ptr::null(), Tensor::as_ptr)
}

fn pointers(tensors: &[&Tensor]) -> Vec<*const C_tensor> {
    tensors.iter().map(|tensor| tensor.as_ptr()).collect()
}

/// Makes libtorch keep the memory of tensors and use it again, on huge pages: for the whole
/// process, from the first call on.
///
/// # Errors
/// Out of memory.
pub fn keep_memory() -> Result<()> {
    // SAFETY: takes nothing; tensors that exist already keep the allocator that they came from.
    check("keep_memory", unsafe { pf_keep_memory() })
}

/// Has the calling thread's kernels done by libtorch's operators on the CPU too, as they are on
/// other devices: for comparing the two.
#[doc(hidden)]
pub fn operators_only(on: bool) {
    // SAFETY: sets a variable of the thread.
    unsafe { pf_operators_only(on.into()) }
}

/// Mixed precision of the calling thread, for as long as this lives: convolutions and matrix
/// products on a GPU compute in bfloat16.
pub struct MixedPrecision {
    before: c_int,
}

impl MixedPrecision {
    /// Turns mixed precision on.
    ///
    /// # Errors
    /// libtorch reports one.
    pub fn on() -> Result<Self> {
        let mut before = 0;
        // SAFETY: sets variables of the thread, and writes into a live integer.
        check("mixed_precision", unsafe { pf_mixed_precision(1, &mut before) })?;
        Ok(Self { before })
    }
}

impl Drop for MixedPrecision {
    fn drop(&mut self) {
        // SAFETY: as in `on`. A failure leaves the casts of weights in memory a little longer.
        let failed = check("mixed_precision", unsafe { pf_mixed_precision(self.before, &mut 0) });
        if let Err(error) = failed {
            tracing::debug!("{error}");
        }
    }
}

/// A generator of random numbers. What it gives depends on its seed alone, and not on what other
/// threads draw.
pub struct Generator(*mut c_void);

impl Generator {
    /// Returns a generator at the start of its stream.
    ///
    /// # Errors
    /// Out of memory.
    pub fn new(seed: u64) -> Result<Self> {
        let mut generator = std::ptr::null_mut();
        // SAFETY: `generator` receives a new object, which is freed when `Self` is dropped.
        check("generator", unsafe { pf_generator(seed, &mut generator) })?;
        Ok(Self(generator))
    }

    /// Returns floats of mean 0 and variance 1, on the CPU.
    ///
    /// # Errors
    /// A shape that is too large for memory.
    pub fn normal(&mut self, shape: &[i64]) -> Result<Tensor> {
        self.draw(shape, true)
    }

    /// Returns floats from 0 to 1, without 1, on the CPU.
    ///
    /// # Errors
    /// A shape that is too large for memory.
    pub fn uniform(&mut self, shape: &[i64]) -> Result<Tensor> {
        self.draw(shape, false)
    }

    fn draw(&mut self, shape: &[i64], normal: bool) -> Result<Tensor> {
        let mut out = std::ptr::null_mut();
        // SAFETY: a live generator and shape; `out` receives a new tensor.
        unsafe {
            check("random", pf_random(self.0, shape.as_ptr(), shape.len() as i64, normal.into(), &mut out))?;
            Ok(Tensor::from_ptr(out))
        }
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        // SAFETY: made by `pf_generator`, and freed once.
        unsafe { pf_generator_free(self.0) }
    }
}

/// The activation function of a fused node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// The value as it is.
    None = 0,
    /// max(x, 0).
    Relu = 1,
    /// min(max(x, 0), 6).
    Relu6 = 2,
}

/// Batch normalisation's tensors, each `[c]`.
#[derive(Clone, Copy)]
pub struct Norm<'a> {
    /// γ.
    pub scale: &'a Tensor,
    /// β.
    pub shift: &'a Tensor,
    /// The mean that evaluations use; training updates it.
    pub running_mean: &'a Tensor,
    /// The variance that evaluations use; training updates it.
    pub running_var: &'a Tensor,
    /// Added to the variance, above 0.
    pub eps: f64,
    /// Share of the batch in the running statistics: 0.1.
    pub momentum: f64,
}

/// The quantizer of an activation: onto the grid of [`pocketflow::affine::Affine::of_range`].
#[derive(Clone, Copy)]
pub struct ActQuantizer<'a> {
    /// 1–31, or 0 to track the range without quantizing.
    pub bits: u32,
    /// `[3]`: the tracked minimum and maximum, and the number of batches seen; without any, nothing
    /// is quantized.
    pub range: &'a Tensor,
    /// Share of the past in the moving averages.
    pub decay: f64,
    /// Whether this pass updates the range.
    pub track: bool,
}

impl ActQuantizer<'_> {
    fn argument(&self) -> QuantizerArgument {
        QuantizerArgument {
            range: self.range.as_ptr(),
            log_step: std::ptr::null(),
            zero: std::ptr::null(),
            decay: self.decay,
            factor: 1.0,
            bits: self.bits.min(31) as i32,
            track: self.track.into(),
        }
    }
}

impl StepQuantizer<'_> {
    fn argument(&self) -> QuantizerArgument {
        QuantizerArgument {
            range: std::ptr::null(),
            log_step: self.log_step.as_ptr(),
            zero: pointer(self.zero),
            decay: 0.0,
            factor: self.factor,
            bits: self.bits.clamp(2, 16) as i32,
            track: 0,
        }
    }
}

/// What one pass of [`norm_act`] does besides the activation function.
#[derive(Clone, Copy, Default)]
pub struct Fused<'a> {
    /// Normalises the values first.
    pub norm: Option<Norm<'a>>,
    /// Added to what is normalised, of the same shape.
    pub residual: Option<&'a Tensor>,
    /// Quantizes the result.
    pub outer: Option<ActQuantizer<'a>>,
    /// In place of `outer`: quantizes the result, by a step that is learned.
    pub learned: Option<StepQuantizer<'a>>,
    /// Quantizes what the residual is added to.
    pub inner: Option<ActQuantizer<'a>>,
    /// Batch statistics, which update the running ones; else the running ones.
    pub training: bool,
}

/// `outer(act(inner(norm(x)) + residual))`: one pass over memory, with its gradient, which goes
/// straight through the quantizers, or as [`StepQuantizer`] has it. `x` and `residual` are
/// `[n, c, h, w]`, channels_last; so is the result.
///
/// # Errors
/// Tensors of other shapes, types or devices.
pub fn norm_act(x: &Tensor, act: Act, fused: &Fused) -> Result<Tensor> {
    let Fused { norm, residual, outer, learned, inner, training } = *fused;
    let ranges = [outer, inner].into_iter().flatten().map(|quantizer| quantizer.range);
    assert!(ranges.into_iter().all(|range| range.numel() == 3));
    let [outer, inner] = [outer, inner].map(|quantizer| quantizer.map(|quantizer| quantizer.argument()));
    let outer = learned.map(|learned| learned.argument()).or(outer);
    let argument =
        |quantizer: &Option<QuantizerArgument>| quantizer.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    let mut out = std::ptr::null_mut();
    // SAFETY: all pointers are to live tensors and arguments, or null, which the kernel allows for
    // these; `out` receives a new tensor that `from_ptr` takes over.
    unsafe {
        let message = pf_norm_act(
            x.as_ptr(),
            pointer(norm.map(|norm| norm.scale)),
            pointer(norm.map(|norm| norm.shift)),
            pointer(norm.map(|norm| norm.running_mean)),
            pointer(norm.map(|norm| norm.running_var)),
            pointer(residual),
            argument(&outer),
            argument(&inner),
            training.into(),
            norm.map_or(0.0, |norm| norm.momentum),
            norm.map_or(0.0, |norm| norm.eps),
            act as c_int,
            &mut out,
        );
        check("norm_act", message)?;
        Ok(Tensor::from_ptr(out))
    }
}

/// Mean and biased variance of each channel of `x` `[n, c, h, w]`: two tensors `[c]`.
///
/// # Errors
/// A tensor of another shape, or an empty one.
pub fn moments(x: &Tensor) -> Result<[Tensor; 2]> {
    let (mut mean, mut variance) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: a live tensor; the outputs receive new ones, which `from_ptr` takes over.
    unsafe {
        check("moments", pf_moments(x.as_ptr(), &mut mean, &mut variance))?;
        Ok([Tensor::from_ptr(mean), Tensor::from_ptr(variance)])
    }
}

/// Quantizes `x` of any shape `[n, ...]`; the gradient goes straight through.
///
/// # Errors
/// As [`norm_act`].
pub fn fake_quantize(x: &Tensor, quantizer: ActQuantizer) -> Result<Tensor> {
    by_images(x, |x| norm_act(x, Act::None, &Fused { outer: Some(quantizer), ..Fused::default() }))
}

/// Calls `f` with `x` of any shape `[n, ...]` as `[n, c, h, w]`, and gives its result x's shape.
fn by_images(x: &Tensor, f: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let shape = x.size();
    if shape.len() == 4 {
        return f(x);
    }
    let reshape = |x: &Tensor, shape: &[i64]| x.f_reshape(shape).map_err(|error| crate::torch_error("reshape", &error));
    let rows = shape.first().copied().unwrap_or(1);
    reshape(&f(&reshape(x, &[rows, -1, 1, 1])?)?, &shape)
}

/// The grid that a layer's weights are quantized onto.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WeightGrid {
    /// 1–31; 0 copies the weights.
    pub bits: u32,
    /// Weights in a bucket, 1 or more.
    pub bucket_size: usize,
    /// Which values codes stand for.
    pub grid: Grid,
}

/// One layer's weights to be quantized. Tensors are contiguous.
#[derive(Clone, Copy)]
pub struct WeightJob<'a> {
    /// Contiguous, of any shape.
    pub source: &'a Tensor,
    /// Receives Q(source); of the same shape.
    pub result: &'a Tensor,
    /// What they are quantized onto.
    pub grid: WeightGrid,
    /// The batch normalisation that the layer is deployed with.
    pub fold: Option<Fold<'a>>,
    /// `[buckets]`, ln s of each: the grid is theirs, not that of the range. 2–16 bits.
    pub log_steps: Option<&'a Tensor>,
}

/// What a batch normalisation multiplies each output channel by when it is folded: s = scale /
/// √(variance + eps).
#[derive(Clone, Copy)]
pub struct Fold<'a> {
    /// γ, `[out]`.
    pub scale: &'a Tensor,
    /// The running variance, `[out]`.
    pub variance: &'a Tensor,
    /// Added to the variance, above 0.
    pub eps: f64,
}

/// Writes Q(source) into each result; exactly [`pocketflow::quant::quantize`]'s values. With `fold`
/// it is Q(source · s) / s, and the source itself in channels where s is (nearly) 0. With
/// `log_steps` it is exactly [`pocketflow::quant::decode`]'s value on α = s · (2^k − 1), β = −s ·
/// 2^(k−1).
///
/// # Errors
/// Tensors that are not contiguous, or do not fit each other.
pub fn quantize_weights(jobs: &[WeightJob]) -> Result<()> {
    let argument = |job: &WeightJob| {
        Ok(WeightArgument {
            source: job.source.as_ptr(),
            result: job.result.as_ptr(),
            gamma: pointer(job.fold.map(|fold| fold.scale)),
            variance: pointer(job.fold.map(|fold| fold.variance)),
            log_steps: pointer(job.log_steps),
            eps: job.fold.map_or(0.0, |fold| fold.eps),
            bits: job.grid.bits.min(31).into(),
            bucket_size: job.grid.bucket_size.max(1) as i64,
            grid: match job.grid.grid {
                Grid::MinMax => 0,
                Grid::Symmetric => 1,
                Grid::Affine => 2,
                Grid::Codebook => return Err(Error::failed("a codebook is no grid that a kernel computes")),
            },
        })
    };
    let arguments: Vec<WeightArgument> = jobs.iter().map(argument).collect::<Result<_>>()?;
    // SAFETY: a list of arguments that point to live tensors, or to none where the kernel allows
    // that.
    let message = unsafe { pf_quantize_weights(arguments.as_ptr(), arguments.len() as i64) };
    check("quantize_weights", message)
}

/// What an optimizer step works on: parameter, the leaf that holds its gradient (Q(w) for a
/// quantized layer, else w itself), the optimizer's state, weight decay, and the factor on the
/// learning rate, pairwise.
pub struct StepLists<'a> {
    /// What is trained.
    pub params: Vec<&'a Tensor>,
    /// Hold the gradients.
    pub leaves: Vec<&'a Tensor>,
    /// The first moment, or the momentum of SGD.
    pub first: Vec<&'a Tensor>,
    /// Empty for SGD.
    pub second: Vec<&'a Tensor>,
    /// Weight decay, 0 or more.
    pub decays: Vec<f64>,
    /// Factor on the learning rate, above 0.
    pub rates: Vec<f64>,
}

impl StepLists<'_> {
    fn check(&self) {
        let count = self.params.len();
        assert!([self.leaves.len(), self.first.len(), self.decays.len(), self.rates.len()] == [count; 4]);
    }
}

/// Stochastic gradient descent with momentum; drops the gradients.
///
/// # Errors
/// Parameters that are not contiguous.
pub fn sgd_step(lists: &StepLists, rate: f64, momentum: f64, nesterov: bool) -> Result<()> {
    lists.check();
    let (params, leaves, first) = (pointers(&lists.params), pointers(&lists.leaves), pointers(&lists.first));
    // SAFETY: lists of one length, of live tensors.
    let message = unsafe {
        pf_sgd_step(
            params.as_ptr(),
            leaves.as_ptr(),
            first.as_ptr(),
            lists.decays.as_ptr(),
            lists.rates.as_ptr(),
            params.len() as i64,
            rate,
            momentum,
            nesterov.into(),
        )
    };
    check("sgd_step", message)
}

/// Adam with β = 0.9, 0.999 and ε = 1e-8; `step` counts from 1. Drops the gradients.
///
/// # Errors
/// Parameters that are not contiguous.
pub fn adam_step(lists: &StepLists, rate: f64, step: i64) -> Result<()> {
    lists.check();
    assert_eq!(lists.second.len(), lists.params.len());
    let (params, leaves) = (pointers(&lists.params), pointers(&lists.leaves));
    let (first, second) = (pointers(&lists.first), pointers(&lists.second));
    // SAFETY: lists of one length, of live tensors.
    let message = unsafe {
        pf_adam_step(
            params.as_ptr(),
            leaves.as_ptr(),
            first.as_ptr(),
            second.as_ptr(),
            lists.decays.as_ptr(),
            lists.rates.as_ptr(),
            params.len() as i64,
            rate,
            0.9,
            0.999,
            1e-8,
            step,
        )
    };
    check("adam_step", message)
}

/// Returns bytes `[n, h, w, c]` as a normalised channels_last tensor `[n, c, h, w]` on the CPU:
/// `(pixel - mean) / std`.
///
/// # Errors
/// Out of memory.
pub fn images(pixels: &[u8], [n, c, h, w]: [usize; 4], mean: &[f32], std: &[f32]) -> Result<Tensor> {
    assert!(pixels.len() >= n * c * h * w && mean.len() == c && std.len() == c);
    let mut out = std::ptr::null_mut();
    // SAFETY: the lengths were checked; `out` receives a new tensor.
    unsafe {
        let [n, c, h, w] = [n, c, h, w].map(|size| size as i64);
        check("images", pf_images(pixels.as_ptr(), n, h, w, c, mean.as_ptr(), std.as_ptr(), &mut out))?;
        Ok(Tensor::from_ptr(out))
    }
}
