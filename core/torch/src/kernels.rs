//! Safe wrappers of the C++ kernels in `kernels/`. Tensors cross as pointers to `at::Tensor`, as in torch-sys; a C++ exception comes
//! back as a message.

use pocketflow::{Error, Result};
use std::ffi::{CStr, c_char, c_double, c_int};
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
        range: *const C_tensor,
        training: c_int,
        track: c_int,
        momentum: c_double,
        eps: c_double,
        act: c_int,
        bits: c_int,
        range_decay: c_double,
        out: *mut *mut C_tensor,
    ) -> *mut c_char;
    fn pf_quantize_weights(
        sources: *const *const C_tensor,
        results: *const *const C_tensor,
        bits: *const i64,
        bucket_sizes: *const i64,
        count: i64,
    ) -> *mut c_char;
    fn pf_sgd_step(
        params: *const *const C_tensor,
        leaves: *const *const C_tensor,
        momenta: *const *const C_tensor,
        decays: *const c_double,
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
    fn free(pointer: *mut std::ffi::c_void);
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

/// The activation function of a fused node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    None = 0,
    Relu = 1,
    Relu6 = 2,
}

/// Batch normalisation's tensors, each `[c]`.
#[derive(Clone, Copy)]
pub struct Norm<'a> {
    pub scale: &'a Tensor,
    pub shift: &'a Tensor,
    pub running_mean: &'a Tensor,
    pub running_var: &'a Tensor,
    pub eps: f64,
    /// Share of the batch in the running statistics: 0.1.
    pub momentum: f64,
}

/// The quantizer of an activation.
#[derive(Clone, Copy)]
pub struct ActQuantizer<'a> {
    /// 1–31, or 0 to track the range without quantizing.
    pub bits: u32,
    /// `[2]`: the tracked maximum (the minimum after a ReLU is 0), and the number of batches seen.
    pub range: &'a Tensor,
    /// Share of the past in the moving average of the maximum.
    pub decay: f64,
    /// Whether this pass updates the range.
    pub track: bool,
}

/// `act(norm(x) + residual)`, quantized: one pass over memory, with its gradient. `x` and `residual` are `[n, c, h, w]`,
/// channels_last; so is the result. `training`: batch statistics, which update the running ones; else the running ones.
///
/// # Errors
/// Tensors of other shapes, types or devices.
pub fn norm_act(
    x: &Tensor,
    norm: Option<Norm>,
    residual: Option<&Tensor>,
    act: Act,
    quantizer: Option<ActQuantizer>,
    training: bool,
) -> Result<Tensor> {
    let mut out = std::ptr::null_mut();
    // SAFETY: all pointers are to live tensors or null, which the kernel allows for these; `out` receives a new tensor that
    // `from_ptr` takes over.
    unsafe {
        let message = pf_norm_act(
            x.as_ptr(),
            pointer(norm.map(|norm| norm.scale)),
            pointer(norm.map(|norm| norm.shift)),
            pointer(norm.map(|norm| norm.running_mean)),
            pointer(norm.map(|norm| norm.running_var)),
            pointer(residual),
            pointer(quantizer.map(|quantizer| quantizer.range)),
            training.into(),
            quantizer.is_some_and(|quantizer| quantizer.track).into(),
            norm.map_or(0.0, |norm| norm.momentum),
            norm.map_or(0.0, |norm| norm.eps),
            act as c_int,
            quantizer.map_or(0, |quantizer| quantizer.bits as c_int),
            quantizer.map_or(0.0, |quantizer| quantizer.decay),
            &mut out,
        );
        check("norm_act", message)?;
        Ok(Tensor::from_ptr(out))
    }
}

/// Writes Q(source) into each result; exactly [`pocketflow::quant::quantize`]'s values. Tensors are contiguous, of one shape pairwise.
///
/// # Errors
/// Tensors that are not.
pub fn quantize_weights(sources: &[&Tensor], results: &[&Tensor], bits: &[i64], bucket_sizes: &[i64]) -> Result<()> {
    assert!([results.len(), bits.len(), bucket_sizes.len()].iter().all(|len| *len == sources.len()));
    let (sources, results) = (pointers(sources), pointers(results));
    // SAFETY: four lists of the same length, of live tensors.
    let message = unsafe {
        let count = sources.len() as i64;
        pf_quantize_weights(sources.as_ptr(), results.as_ptr(), bits.as_ptr(), bucket_sizes.as_ptr(), count)
    };
    check("quantize_weights", message)
}

/// What an optimizer step works on: parameter, the leaf that holds its gradient (Q(w) for a quantized layer, else w itself), the
/// optimizer's state, and weight decay, pairwise.
pub struct StepLists<'a> {
    pub params: Vec<&'a Tensor>,
    pub leaves: Vec<&'a Tensor>,
    pub first: Vec<&'a Tensor>,
    /// Empty for SGD.
    pub second: Vec<&'a Tensor>,
    pub decays: Vec<f64>,
}

/// Stochastic gradient descent with momentum; drops the gradients.
///
/// # Errors
/// Parameters that are not contiguous.
pub fn sgd_step(lists: &StepLists, rate: f64, momentum: f64, nesterov: bool) -> Result<()> {
    assert!(lists.leaves.len() == lists.params.len() && lists.first.len() == lists.params.len());
    assert_eq!(lists.decays.len(), lists.params.len());
    let (params, leaves, first) = (pointers(&lists.params), pointers(&lists.leaves), pointers(&lists.first));
    // SAFETY: lists of one length, of live tensors.
    let message = unsafe {
        pf_sgd_step(
            params.as_ptr(),
            leaves.as_ptr(),
            first.as_ptr(),
            lists.decays.as_ptr(),
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
    assert!(lists.leaves.len() == lists.params.len() && lists.first.len() == lists.params.len());
    assert!(lists.second.len() == lists.params.len() && lists.decays.len() == lists.params.len());
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

/// Bytes `[n, h, w, c]` as a normalised channels_last tensor `[n, c, h, w]`: `(pixel - mean) / std`.
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
