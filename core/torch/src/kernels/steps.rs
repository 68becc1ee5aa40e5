//! Wrappers of the kernels for learned steps (`kernels/steps.cpp`).

use super::{Act, Fused, check, norm_act};
use pocketflow::Result;
use std::ffi::{c_char, c_double};
use tch::Tensor;
use torch_sys::C_tensor;

unsafe extern "C" {
    fn pf_step_gradients(jobs: *const StepArgument, count: i64) -> *mut c_char;
}

/// As in kernels/steps.cpp.
#[repr(C)]
struct StepArgument {
    weights: *const C_tensor,
    leaf: *const C_tensor,
    log_steps: *const C_tensor,
    bits: i64,
    bucket_size: i64,
    factor: c_double,
}

/// Returns the step s of a logarithm, as all kernels have it.
pub fn step_of(log_step: f32) -> f32 {
    f64::from(log_step).exp() as f32
}

/// The quantizer of an activation whose step is learned: onto the grid of
/// [`pocketflow::affine::Affine::of_range`] over the range that the step makes.
#[derive(Clone, Copy)]
pub struct StepQuantizer<'a> {
    /// 2–16.
    pub bits: u32,
    /// `[1]`: ln s.
    pub log_step: &'a Tensor,
    /// `[1]`: how many codes lie below zero, rounded where it is used; `None` for none.
    pub zero: Option<&'a Tensor>,
    /// Multiplies the gradients of step and zero point.
    pub factor: f64,
}

/// A layer whose steps are learned.
#[derive(Clone, Copy)]
pub struct StepJob<'a> {
    /// In full precision, contiguous.
    pub weights: &'a Tensor,
    /// Q(w), which holds the gradient that the backward pass left.
    pub leaf: &'a Tensor,
    /// `[buckets]`: ln s.
    pub log_steps: &'a Tensor,
    /// 2–16.
    pub bits: u32,
    /// Weights in a bucket, 1 or more.
    pub bucket_size: usize,
    /// Multiplies the gradient of the steps.
    pub factor: f64,
}

/// Turns the gradient of each Q(w) into that of w, which is 0 for weights beyond the ends of their
/// grid, and gives ln s its own. To be called once, between a backward pass and the optimizer.
///
/// # Errors
/// Tensors that do not fit each other.
pub fn step_gradients(jobs: &[StepJob]) -> Result<()> {
    let argument = |job: &StepJob| StepArgument {
        weights: job.weights.as_ptr(),
        leaf: job.leaf.as_ptr(),
        log_steps: job.log_steps.as_ptr(),
        bits: job.bits.into(),
        bucket_size: job.bucket_size.max(1) as i64,
        factor: job.factor,
    };
    let arguments: Vec<StepArgument> = jobs.iter().map(argument).collect();
    // SAFETY: a list of arguments that point to live tensors.
    check("step_gradients", unsafe { pf_step_gradients(arguments.as_ptr(), arguments.len() as i64) })
}

/// Quantizes `x` of any shape `[n, ...]`, with the gradients of [`StepQuantizer`].
///
/// # Errors
/// As [`norm_act`].
pub fn quantize_by_step(x: &Tensor, quantizer: StepQuantizer) -> Result<Tensor> {
    super::by_images(x, |x| norm_act(x, Act::None, &Fused { learned: Some(quantizer), ..Fused::default() }))
}
