//! MUL of two tensors, of which one may repeat along dimensions of 1.

use super::Rounding;
use super::arithmetic::{clamp, code_range, float_range, multiplier, nearest};
use super::broadcast::{Spread, spread};
use super::data::{Code, Data};
use super::fixed::Multiplier;
use super::kernel::{Kernel, Scratch, read, write};
use super::site::Site;
use crate::deployed::Activation;
use crate::tflite::model::DType;
use pocketflow::Result;
use std::marker::PhantomData;

/// Compiles MUL.
pub(super) fn mul(site: &Site, activation: Activation) -> Result<Box<dyn Kernel>> {
    site.expect_one_type()?;
    let (a, b) = (site.input(0)?, site.input(1)?);
    if a.dtype != b.dtype {
        return Err(site.error(format!("it multiplies {:?} and {:?}; one type is expected", a.dtype, b.dtype)));
    }
    let (_, spread) = spread(site, a, b)?;
    Ok(match a.dtype {
        DType::Float32 => Box::new(FloatMul { spread, range: float_range(activation) }),
        DType::Int8 => Box::new(CodeMul::<i8>::new(site, spread, activation)?),
        DType::Uint8 => Box::new(CodeMul::<u8>::new(site, spread, activation)?),
        other => return Err(site.error(format!("it does not compute with {other:?}"))),
    })
}

struct FloatMul {
    spread: [Spread; 2],
    range: [f32; 2],
}

impl Kernel for FloatMul {
    fn run(&self, inputs: &[&Data], output: &mut Data, _: &mut Scratch) -> Result<()> {
        let [first, second] = &self.spread;
        let (a, b) = (first.apply(read::<f32>(inputs, 0)?), second.apply(read::<f32>(inputs, 1)?));
        for ((product, a), b) in write::<f32>(output, a.len()).iter_mut().zip(&*a).zip(&*b) {
            *product = clamp(a * b, self.range);
        }
        Ok(())
    }
}

/// (a − z_a)(b − z_b) · s_a · s_b / s_y + z_y.
struct CodeMul<T> {
    spread: [Spread; 2],
    zeros: [i32; 2],
    multiplier: Multiplier,
    /// In place of the multiplier, where values are rounded once.
    real: Option<f64>,
    output_zero: i32,
    range: [i32; 2],
    value: PhantomData<T>,
}

impl<T: Code> CodeMul<T> {
    fn new(site: &Site, spread: [Spread; 2], activation: Activation) -> Result<Self> {
        let (a, b) = (site.grid(site.input(0)?)?, site.grid(site.input(1)?)?);
        let output = site.grid(site.output()?)?;
        // In float32, as TensorFlow Lite has it.
        let real = f64::from(a.scale * b.scale / output.scale);
        Ok(Self {
            spread,
            zeros: [a.zero_point, b.zero_point],
            multiplier: multiplier(site, real)?,
            real: (site.rounding == Rounding::Once).then_some(real),
            output_zero: output.zero_point,
            range: code_range::<T>(activation, output),
            value: PhantomData,
        })
    }
}

impl<T: Code> Kernel for CodeMul<T> {
    fn run(&self, inputs: &[&Data], output: &mut Data, _: &mut Scratch) -> Result<()> {
        let [first, second] = &self.spread;
        let (a, b) = (first.apply(read::<T>(inputs, 0)?), second.apply(read::<T>(inputs, 1)?));
        let [low, high] = self.range;
        for ((target, a), b) in write::<T>(output, a.len()).iter_mut().zip(&*a).zip(&*b) {
            let product = (a.widen() - self.zeros[0]) * (b.widen() - self.zeros[1]);
            let scaled = match self.real {
                Some(real) => nearest(f64::from(product) * real),
                None => self.multiplier.apply(product),
            };
            *target = T::narrow(scaled.saturating_add(self.output_zero).clamp(low, high));
        }
        Ok(())
    }
}
