//! ADD of two tensors, of which one may repeat along dimensions of 1.

use super::arithmetic::{clamp, code_range, float_range, multiplier};
use super::broadcast::{Spread, spread};
use super::data::{Code, Data};
use super::fixed::{Multiplier, scale};
use super::kernel::{Kernel, Scratch, read, wide, write};
use super::site::Site;
use crate::deployed::Activation;
use crate::tflite::model::DType;
use pocketflow::Result;
use std::marker::PhantomData;

/// Bits that codes are shifted up by before they are brought to the common scale, so that its
/// rounding does not show.
const HEADROOM: i32 = 20;

/// Compiles ADD.
pub(super) fn add(site: &Site, activation: Activation) -> Result<Box<dyn Kernel>> {
    site.expect_one_type()?;
    let (a, b) = (site.input(0)?, site.input(1)?);
    if a.dtype != b.dtype {
        return Err(site.error(format!("it adds {:?} and {:?}; one type is expected", a.dtype, b.dtype)));
    }
    let (_, spread) = spread(site, a, b)?;
    Ok(match a.dtype {
        DType::Float32 => Box::new(FloatAdd { spread, range: float_range(activation) }),
        DType::Int8 => Box::new(CodeAdd::<i8>::new(site, spread, activation)?),
        DType::Uint8 => Box::new(CodeAdd::<u8>::new(site, spread, activation)?),
        other => return Err(site.error(format!("it does not compute with {other:?}"))),
    })
}

struct FloatAdd {
    spread: [Spread; 2],
    range: [f32; 2],
}

impl Kernel for FloatAdd {
    fn run(&self, inputs: &[&Data], output: &mut Data, _: &mut Scratch) -> Result<()> {
        let [first, second] = &self.spread;
        let (a, b) = (first.apply(read::<f32>(inputs, 0)?), second.apply(read::<f32>(inputs, 1)?));
        for ((sum, a), b) in write::<f32>(output, a.len()).iter_mut().zip(&*a).zip(&*b) {
            *sum = clamp(a + b, self.range);
        }
        Ok(())
    }
}

/// Both inputs, 2²⁰ times larger, at twice the greater of their scales; the sum at the output's.
struct CodeAdd<T> {
    spread: [Spread; 2],
    zeros: [i32; 2],
    inputs: [Multiplier; 2],
    output: Multiplier,
    output_zero: i32,
    range: [i32; 2],
    value: PhantomData<T>,
}

impl<T: Code> CodeAdd<T> {
    fn new(site: &Site, spread: [Spread; 2], activation: Activation) -> Result<Self> {
        let (a, b) = (site.grid(site.input(0)?)?, site.grid(site.input(1)?)?);
        let output = site.grid(site.output()?)?;
        let common = f64::from(2.0 * a.scale.max(b.scale));
        let back = multiplier(site, common / (f64::from(1 << HEADROOM) * f64::from(output.scale)))?;
        if back.shift > 0 {
            return Err(site.error(format!("its output's scale {} is too fine for its inputs' {common}", output.scale)));
        }
        Ok(Self {
            spread,
            zeros: [a.zero_point, b.zero_point],
            inputs: [multiplier(site, f64::from(a.scale) / common)?, multiplier(site, f64::from(b.scale) / common)?],
            output: back,
            output_zero: output.zero_point,
            range: code_range::<T>(activation, output),
            value: PhantomData,
        })
    }
}

impl<T: Code> Kernel for CodeAdd<T> {
    fn run(&self, inputs: &[&Data], output: &mut Data, _: &mut Scratch) -> Result<()> {
        let [first, second] = &self.spread;
        let (a, b) = (first.apply(read::<T>(inputs, 0)?), second.apply(read::<T>(inputs, 1)?));
        add_codes(self, &a, &b, write::<T>(output, a.len()));
        Ok(())
    }
}

wide! {
    fn add_codes<T: Code>(layer: &CodeAdd<T>, a: &[T], b: &[T], target: &mut [T]) {
        let [first, second] = layer.inputs;
        let [low, high] = layer.range;
        // All three multipliers are below 1: nothing shifts to the left but the headroom.
        for ((target, a), b) in target.iter_mut().zip(a).zip(b) {
            let a = (a.widen() - layer.zeros[0]) << HEADROOM;
            let b = (b.widen() - layer.zeros[1]) << HEADROOM;
            let sum = scale(a, first.mantissa, 0, -first.shift) + scale(b, second.mantissa, 0, -second.shift);
            let code = scale(sum, layer.output.mantissa, 0, -layer.output.shift).wrapping_add(layer.output_zero);
            *target = T::narrow(code.max(low).min(high));
        }
    }
}
