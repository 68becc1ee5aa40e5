//! Quantizers whose step is trained with the network (Esser et al. 2020, arXiv 1902.08153):
//!
//! ```text
//! u = v / s      Q(v) = s · round(clip(u, −Q_N, Q_P))
//! ∂Q/∂s = round(u) − u within the grid, −Q_N or Q_P beyond its ends
//! ∂Q/∂v = 1 within, 0 beyond
//! ```
//!
//! Weights have Q_N = 2^(k−1) and Q_P = Q_N − 1, a step for each bucket. Values behind a ReLU have
//! Q_N = 0 and Q_P = 2^k − 1. Where values can be negative, Q_N is learned too, as a real number
//! that is rounded where it is used, so that zero stays on the grid: the offset of Bhalgat et al.
//! 2020 (arXiv 2004.09576), ∂Q/∂Q_N = −s beyond either end.
//!
//! The optimizer trains t = ln s, whose gradient is s · ∂Q/∂s (Jain et al. 2020, arXiv 1903.08066,
//! §3.2): a step cannot become zero or negative, and a rate is a relative change, the same for the
//! steps of small weights and of large values. Gradients of steps are multiplied by 1 / √(N · Q_P),
//! as Esser et al. have it; N is the number of weights in a bucket, or of values of an image.
//!
//! A file holds α = s · (2^k − 1) and β = −s · Q_N of weights, and the range of values: the same
//! format as from minimum to maximum. What is trained with is decoded from these, bit for bit.

use super::fit::{Spread, best_step};
use super::{Fused, Learned, Pass, Quantizer, Steps, Stored};
use crate::kernels::{self, StepQuantizer, WeightGrid, WeightJob, step_of};
use crate::values::floats;
use pocketflow::quant::{ActivationQuant, Grid, Quantized, WeightQuant, largest_code};
use pocketflow::{Error, Result};
use tch::{Device, Kind, Tensor};

/// The fewest and the most bits that a learned step takes: with one, weights would have a value on
/// one side of zero only.
pub const LEARNED_BITS: [u32; 2] = [2, 16];

fn check_bits(bits: u32) -> Result<()> {
    let [least, most] = LEARNED_BITS;
    match (least..=most).contains(&bits) {
        true => Ok(()),
        false => Err(Error::config(format!("a learned step takes {least} to {most} bits, not {bits}"))),
    }
}

/// The logarithms as a tensor that the optimizer trains.
fn logarithms(steps: &[f32], device: Device) -> Tensor {
    let logs: Vec<f32> = steps.iter().map(|step| f64::from(*step).ln() as f32).collect();
    Tensor::from_slice(&logs).to_device(device).set_requires_grad(true)
}

/// Why training cannot go on with these steps.
fn problem(log_steps: &Tensor, top: f32) -> Option<String> {
    let steps: Vec<f32> = floats(log_steps).ok()?.into_iter().map(step_of).collect();
    // A range that overflows is as useless as a step that is zero.
    let is_good = |step: f32| step > 0.0 && (step * top).is_finite();
    let bucket = steps.iter().position(|step| !is_good(*step))?;
    let of = if steps.len() > 1 { format!(" of bucket {bucket}") } else { String::new() };
    Some(format!("the learned step{of} is {}", steps[bucket]))
}

/// Weights of a layer, with a learned step for each bucket.
pub struct LearnedWeights {
    quant: WeightQuant,
    bucket_size: usize,
    /// `[buckets]`: ln s.
    log_steps: Tensor,
    rate: f64,
    factor: f64,
}

impl LearnedWeights {
    /// Begins with the steps of the least squared error of `weights`. `rate`: the factor on the
    /// learning rate.
    ///
    /// # Errors
    /// Bits out of [`LEARNED_BITS`], a grid that is no [`Grid::MinMax`]; weights that are not
    /// finite.
    pub fn new(weights: &Tensor, quant: WeightQuant, rate: f64) -> Result<Self> {
        check_bits(quant.bits)?;
        if quant.grid != Grid::MinMax {
            return Err(Error::failed("weights with learned steps have no other grid"));
        }
        let shape: Vec<usize> = weights.size().iter().map(|size| *size as usize).collect();
        let bucket_size = quant.buckets.size(&shape);
        let values = floats(weights)?;
        if values.iter().any(|value| !value.is_finite()) {
            return Err(Error::failed("the weights hold a value that is not a finite number"));
        }
        let [below, above] = ends(quant.bits);
        let found: Vec<Option<f32>> = values
            .chunks(bucket_size)
            .map(|bucket| {
                let points: Vec<(f64, f64)> = bucket.iter().map(|value| (f64::from(*value), 1.0)).collect();
                best_step(&points, below, above)
            })
            .collect();
        // A bucket of zeros has no step of its own; with the others' it can become more than zeros.
        let known: Vec<f32> = found.iter().flatten().copied().collect();
        let usual = if known.is_empty() { 1.0 } else { known.iter().sum::<f32>() / known.len() as f32 };
        let steps: Vec<f32> = found.into_iter().map(|step| step.unwrap_or(usual)).collect();
        let factor = 1.0 / (bucket_size as f64 * above).sqrt();
        Ok(Self { quant, bucket_size, log_steps: logarithms(&steps, weights.device()), rate, factor })
    }

    fn job<'a>(&'a self, source: &'a Tensor, result: &'a Tensor) -> WeightJob<'a> {
        WeightJob { source, result, grid: self.grid(), fold: None, log_steps: Some(&self.log_steps) }
    }

    fn grid(&self) -> WeightGrid {
        WeightGrid { bits: self.quant.bits, bucket_size: self.bucket_size, grid: Grid::MinMax }
    }
}

/// Q_N and Q_P of weights.
fn ends(bits: u32) -> [f64; 2] {
    let below = f64::from(1u32 << (bits - 1));
    [below, below - 1.0]
}

impl Quantizer for LearnedWeights {
    /// By libtorch's own operators, for whoever has no use for [`Fused::Weights`].
    fn quantize(&self, x: &Tensor, pass: Pass) -> Result<Tensor> {
        if !pass.quantizes {
            return Ok(x.shallow_clone());
        }
        let source = x.detach().contiguous();
        let values = source.empty_like();
        kernels::quantize_weights(&[self.job(&source, &values)])?;
        let [below, above] = ends(self.quant.bits);
        let fixed = self.log_steps.detach();
        let steps = (&fixed + (&self.log_steps - &fixed) * self.factor).exp();
        let steps = steps.repeat_interleave_self_int(self.bucket_size as i64, 0, None);
        let steps = steps.narrow(0, 0, x.numel() as i64).view(x.size().as_slice());
        let clipped = (x / &steps).clamp(-below, above);
        let codes = &clipped + (clipped.round() - &clipped).detach();
        let surrogate = codes * steps;
        // The value is the file's, to the bit, and the gradient the formula's.
        Ok(values + (&surrogate - surrogate.detach()))
    }

    fn stored(&self) -> Stored {
        Stored::Weights(self.quant)
    }

    fn packed(&self, weights: &Tensor) -> Result<Option<Quantized>> {
        let WeightQuant { bits, grid, .. } = self.quant;
        if let Some(problem) = self.problem() {
            return Err(Error::failed(problem));
        }
        let (values, logs) = (floats(weights)?, floats(&self.log_steps)?);
        if values.iter().any(|value| !value.is_finite()) {
            return Err(Error::failed("the weights hold a value that is not a finite number"));
        }
        let [below, above] = ends(bits).map(|end| end as f32);
        let steps = || logs.iter().map(|log| step_of(*log));
        let code = |value: f32, step: f32| ((value / step).clamp(-below, above).round_ties_even() + below) as u32;
        let buckets = values.chunks(self.bucket_size).zip(steps());
        let codes = buckets.flat_map(|(bucket, step)| bucket.iter().map(move |value| code(*value, step))).collect();
        let ranges = steps().map(|step| [step * largest_code(bits) as f32, step * -below]).collect();
        Ok(Some(Quantized { bits, bucket_size: self.bucket_size, grid, codes, ranges, codebooks: Vec::new() }))
    }

    fn learned(&self) -> Vec<Learned> {
        vec![Learned { name: "step", tensor: self.log_steps.shallow_clone(), rate: self.rate, decay: 0.0 }]
    }

    fn problem(&self) -> Option<String> {
        problem(&self.log_steps, largest_code(self.quant.bits) as f32)
    }

    fn fused(&self, pass: Pass) -> Option<Fused<'_>> {
        let steps = Some(Steps { log_steps: &self.log_steps, factor: self.factor });
        let grid = if pass.quantizes { self.grid() } else { WeightGrid { bits: 0, ..self.grid() } };
        Some(Fused::Weights { grid, folded: false, steps })
    }
}

/// The value of a node, with a learned step, and a learned zero point where values are negative.
pub struct LearnedValues {
    bits: u32,
    /// `[1]`: ln s.
    log_step: Tensor,
    /// `[1]`: codes below zero.
    zero: Option<Tensor>,
    rate: f64,
    factor: f64,
}

impl LearnedValues {
    /// Begins with the step of the least squared error of values like those seen. `count`: values
    /// of an image; `rate`: the factor on the learning rate.
    ///
    /// # Errors
    /// Bits out of [`LEARNED_BITS`].
    pub fn new(bits: u32, seen: &Spread, count: usize, rate: f64, device: Device) -> Result<Self> {
        check_bits(bits)?;
        let top = f64::from(largest_code(bits));
        let (step, below) = seen.step(top);
        let log_step = logarithms(&[step], device);
        let zero = (below > 0.0).then(|| Tensor::from_slice(&[below as f32]).to_device(device).set_requires_grad(true));
        let factor = 1.0 / (count.max(1) as f64 * top).sqrt();
        Ok(Self { bits, log_step, zero, rate, factor })
    }

    fn kernel(&self) -> StepQuantizer<'_> {
        let Self { bits, log_step, zero, factor, .. } = self;
        StepQuantizer { bits: *bits, log_step, zero: zero.as_ref(), factor: *factor }
    }

    /// Minimum and maximum of the grid.
    fn range(&self) -> [f32; 2] {
        let top = largest_code(self.bits) as f32;
        let step = step_of(self.log_step.double_value(&[0]) as f32);
        let zero = self.zero.as_ref().map_or(0.0, |zero| zero.double_value(&[0]) as f32);
        let below = zero.clamp(0.0, top).round_ties_even();
        [-(step * below), step * (top - below)]
    }
}

impl Quantizer for LearnedValues {
    fn quantize(&self, x: &Tensor, pass: Pass) -> Result<Tensor> {
        match pass.quantizes {
            true => kernels::quantize_by_step(x, self.kernel()),
            false => Ok(x.shallow_clone()),
        }
    }

    fn stored(&self) -> Stored {
        Stored::Value(ActivationQuant { bits: self.bits, range: Some(self.range()) })
    }

    fn learned(&self) -> Vec<Learned> {
        let learned =
            |name, tensor: &Tensor| Learned { name, tensor: tensor.shallow_clone(), rate: self.rate, decay: 0.0 };
        let step = learned("step", &self.log_step);
        std::iter::once(step).chain(self.zero.iter().map(|zero| learned("zero", zero))).collect()
    }

    fn problem(&self) -> Option<String> {
        let not_finite = |zero: &Tensor| zero.isfinite().to_kind(Kind::Float).min().double_value(&[]) < 1.0;
        match &self.zero {
            Some(zero) if not_finite(zero) => Some("the learned zero point is not finite".into()),
            _ => problem(&self.log_step, largest_code(self.bits) as f32),
        }
    }

    fn fused(&self, pass: Pass) -> Option<Fused<'_>> {
        pass.quantizes.then(|| Fused::Step(self.kernel()))
    }
}
