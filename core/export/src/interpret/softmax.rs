//! SOFTMAX along the last dimension.

use super::data::{Code, Data};
use super::fixed::{Multiplier, divide_by_power_of_two, doubling_high_product, exp_of_negative, reciprocal};
use super::kernel::{Kernel, Scratch, read, write};
use super::site::{Grid, Site};
use crate::tflite::model::DType;
use pocketflow::Result;
use std::marker::PhantomData;

/// Bits before the point of differences to the greatest logit, and of sums of exponentials.
const DIFFERENCE_BITS: i32 = 5;
const SUM_BITS: i32 = 12;

/// Compiles SOFTMAX.
pub(super) fn softmax(site: &Site, beta: f32) -> Result<Box<dyn Kernel>> {
    site.expect_one_type()?;
    let input = site.input(0)?;
    site.expect_output(&input.shape)?;
    let Some(&depth) = input.shape.last() else {
        return Err(site.error("its input has no dimensions"));
    };
    Ok(match input.dtype {
        DType::Float32 => Box::new(FloatSoftmax { depth, beta }),
        DType::Int8 => Box::new(CodeSoftmax::<i8>::new(site, depth, beta)?),
        DType::Uint8 => Box::new(CodeSoftmax::<u8>::new(site, depth, beta)?),
        other => return Err(site.error(format!("it does not compute with {other:?}"))),
    })
}

struct FloatSoftmax {
    depth: usize,
    beta: f32,
}

impl Kernel for FloatSoftmax {
    fn run(&self, inputs: &[&Data], output: &mut Data, _: &mut Scratch) -> Result<()> {
        let logits = read::<f32>(inputs, 0)?;
        let target = write::<f32>(output, logits.len());
        for (logits, target) in logits.chunks_exact(self.depth).zip(target.chunks_exact_mut(self.depth)) {
            let greatest = logits.iter().fold(f32::MIN, |best, logit| if best < *logit { *logit } else { best });
            for (value, logit) in target.iter_mut().zip(logits) {
                *value = ((logit - greatest) * self.beta).exp();
            }
            let sum: f32 = target.iter().sum();
            target.iter_mut().for_each(|value| *value /= sum);
        }
        Ok(())
    }
}

/// Probabilities in steps of 1/256, in fixed point throughout.
struct CodeSoftmax<T> {
    depth: usize,
    /// From differences of codes to fixed point with `DIFFERENCE_BITS` before the point; at
    /// least 1.
    multiplier: Multiplier,
    /// Differences below have the probability 0.
    least: i32,
    value: PhantomData<T>,
}

impl<T: Code> CodeSoftmax<T> {
    fn new(site: &Site, depth: usize, beta: f32) -> Result<Self> {
        let (input, output) = (site.grid(site.input(0)?)?, site.grid(site.output()?)?);
        let needed = Grid { scale: 1.0 / 256.0, zero_point: T::LOWEST };
        if output != needed {
            return Err(site.error(format!("probabilities need {needed:?}, its output has {output:?}")));
        }
        if depth >= 1 << SUM_BITS {
            return Err(site.error(format!("sums of {depth} exponentials do not fit into {SUM_BITS} bits")));
        }
        let fraction = f64::from(31 - DIFFERENCE_BITS).exp2();
        let real = (f64::from(beta) * f64::from(input.scale) * fraction).min(f64::from(i32::MAX));
        // Up to 2³¹, more than a multiplier holds: made of a quarter, with two more to shift.
        let quarter = Multiplier::new(real / 4.0).filter(|_| real > 1.0).ok_or_else(|| {
            site.error(format!("beta {beta} times the input's scale {} is too small or too great", input.scale))
        })?;
        let multiplier = Multiplier { shift: quarter.shift + 2, ..quarter };
        let radius = f64::from((1 << DIFFERENCE_BITS) - 1) * fraction / f64::from(multiplier.shift).exp2();
        Ok(Self { depth, multiplier, least: -(radius.floor() as i32), value: PhantomData })
    }

    /// exp of a difference ≤ 0, with 31 bits after the point.
    fn exp(&self, difference: i32) -> i32 {
        exp_of_negative(doubling_high_product(
            difference.wrapping_shl(self.multiplier.shift as u32),
            self.multiplier.mantissa,
        ))
    }
}

impl<T: Code> Kernel for CodeSoftmax<T> {
    fn run(&self, inputs: &[&Data], output: &mut Data, _: &mut Scratch) -> Result<()> {
        let logits = read::<T>(inputs, 0)?;
        let target = write::<T>(output, logits.len());
        for (logits, target) in logits.chunks_exact(self.depth).zip(target.chunks_exact_mut(self.depth)) {
            let greatest = logits.iter().map(|logit| logit.widen()).max().unwrap_or_default();
            let differences = || logits.iter().map(|logit| logit.widen() - greatest);
            let near = differences().filter(|difference| *difference >= self.least);
            let sum = near.fold(0, |sum: i32, difference| {
                sum.wrapping_add(divide_by_power_of_two(self.exp(difference), SUM_BITS))
            });
            let (inverse, power) = reciprocal(sum, SUM_BITS);
            // Codes have 8 of the 31 bits after the point.
            let exponent = power + 31 - 8;
            for (value, difference) in target.iter_mut().zip(differences()) {
                // Where the sum is 512 and more, no probability reaches half a step; TensorFlow
                // Lite's reference kernel stops there.
                let code = if difference < self.least || exponent > 31 {
                    T::LOWEST
                } else {
                    let product = doubling_high_product(inverse, self.exp(difference));
                    divide_by_power_of_two(product, exponent) + T::LOWEST
                };
                *value = T::narrow(code.clamp(T::LOWEST, T::HIGHEST));
            }
        }
        Ok(())
    }
}
