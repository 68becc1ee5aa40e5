//! Operators on each value alone: RELU and RELU6, QUANTIZE and DEQUANTIZE.

use super::arithmetic::{clamp, code_range, float_range, multiplier};
use super::data::{Code, Data};
use super::kernel::{Kernel, Scratch, read, write};
use super::site::{Grid, Site};
use crate::tflite::model::{Activation, DType};
use pocketflow::Result;
use std::marker::PhantomData;

/// Compiles RELU and RELU6 as operators of their own.
pub(super) fn activation(site: &Site, activation: Activation) -> Result<Box<dyn Kernel>> {
    site.expect_one_type()?;
    let input = site.input(0)?;
    site.expect_output(&input.shape)?;
    match input.dtype {
        DType::Float32 => Ok(Box::new(FloatRange(float_range(activation)))),
        DType::Int8 => rescaled::<i8, i8>(site, activation, true),
        DType::Uint8 => rescaled::<u8, u8>(site, activation, true),
        other => Err(site.error(format!("it does not compute with {other:?}"))),
    }
}

/// Compiles QUANTIZE: from float32, or from one grid to another.
pub(super) fn quantize(site: &Site) -> Result<Box<dyn Kernel>> {
    let (input, output) = (site.input(0)?, site.output()?);
    site.expect_output(&input.shape)?;
    match (input.dtype, output.dtype) {
        (DType::Float32, DType::Int8) => Ok(Box::new(Encode::<i8>(site.grid(output)?, PhantomData))),
        (DType::Float32, DType::Uint8) => Ok(Box::new(Encode::<u8>(site.grid(output)?, PhantomData))),
        (DType::Int8, DType::Int8) => rescaled::<i8, i8>(site, Activation::None, false),
        (DType::Int8, DType::Uint8) => rescaled::<i8, u8>(site, Activation::None, false),
        (DType::Uint8, DType::Int8) => rescaled::<u8, i8>(site, Activation::None, false),
        (DType::Uint8, DType::Uint8) => rescaled::<u8, u8>(site, Activation::None, false),
        (from, to) => Err(site.error(format!("it does not quantize {from:?} to {to:?}"))),
    }
}

/// Compiles DEQUANTIZE.
pub(super) fn dequantize(site: &Site) -> Result<Box<dyn Kernel>> {
    let (input, output) = (site.input(0)?, site.output()?);
    site.expect_output(&input.shape)?;
    match (input.dtype, output.dtype) {
        (DType::Int8, DType::Float32) => Ok(Box::new(Decode::<i8>(site.grid(input)?, PhantomData))),
        (DType::Uint8, DType::Float32) => Ok(Box::new(Decode::<u8>(site.grid(input)?, PhantomData))),
        (from, to) => Err(site.error(format!("it does not dequantize {from:?} to {to:?}"))),
    }
}

/// `single`: the quotient of the scales is rounded to float32 first, as TensorFlow Lite's RELU does and its QUANTIZE
/// does not.
fn rescaled<T: Code, U: Code>(site: &Site, activation: Activation, single: bool) -> Result<Box<dyn Kernel>> {
    let (input, output) = (site.grid(site.input(0)?)?, site.grid(site.output()?)?);
    let real =
        if single { f64::from(input.scale / output.scale) } else { f64::from(input.scale) / f64::from(output.scale) };
    let multiplier = multiplier(site, real)?;
    let [low, high] = code_range::<U>(activation, output);
    // There are 256 codes: each is rescaled once, here.
    let table = (T::LOWEST..=T::HIGHEST).map(|code| {
        let code = multiplier.apply(code - input.zero_point).wrapping_add(output.zero_point);
        U::narrow(code.clamp(low, high))
    });
    Ok(Box::new(Table { codes: table.collect(), from: PhantomData::<T> }))
}

struct FloatRange([f32; 2]);

impl Kernel for FloatRange {
    fn run(&self, inputs: &[&Data], output: &mut Data, _: &mut Scratch) -> Result<()> {
        let source = read::<f32>(inputs, 0)?;
        for (target, value) in write::<f32>(output, source.len()).iter_mut().zip(source) {
            *target = clamp(*value, self.0);
        }
        Ok(())
    }
}

/// Codes T to codes U by what stands at each, from the lowest.
struct Table<T, U> {
    codes: Vec<U>,
    from: PhantomData<T>,
}

impl<T: Code, U: Code> Kernel for Table<T, U> {
    fn run(&self, inputs: &[&Data], output: &mut Data, _: &mut Scratch) -> Result<()> {
        let source = read::<T>(inputs, 0)?;
        for (target, code) in write::<U>(output, source.len()).iter_mut().zip(source) {
            *target = self.codes[(code.widen() - T::LOWEST) as usize];
        }
        Ok(())
    }
}

struct Encode<T>(Grid, PhantomData<T>);

impl<T: Code> Kernel for Encode<T> {
    fn run(&self, inputs: &[&Data], output: &mut Data, _: &mut Scratch) -> Result<()> {
        let source = read::<f32>(inputs, 0)?;
        for (target, value) in write::<T>(output, source.len()).iter_mut().zip(source) {
            *target = T::encode(*value, self.0.scale, self.0.zero_point);
        }
        Ok(())
    }
}

struct Decode<T>(Grid, PhantomData<T>);

impl<T: Code> Kernel for Decode<T> {
    fn run(&self, inputs: &[&Data], output: &mut Data, _: &mut Scratch) -> Result<()> {
        let source = read::<T>(inputs, 0)?;
        for (target, code) in write::<f32>(output, source.len()).iter_mut().zip(source) {
            *target = self.0.scale * (code.widen() - self.0.zero_point) as f32;
        }
        Ok(())
    }
}
