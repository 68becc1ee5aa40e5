//! Operators on each value alone: RELU and RELU6, QUANTIZE and DEQUANTIZE.

use super::arithmetic::{clamp, code_range, float_range, multiplier};
use super::data::{Code, Data};
use super::kernel::{Kernel, Scratch, read, write};
use super::site::{Grid, Site};
use crate::deployed::Activation;
use crate::tflite::model::{DType, Quantization, Tensor};
use pocketflow::Result;
use pocketflow::affine::Affine;
use std::marker::PhantomData;

/// Compiles RELU and RELU6 as operators of their own.
pub(crate) fn activation(site: &Site, activation: Activation) -> Result<Box<dyn Kernel>> {
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

/// From what codes lie above the input's zero point to what they lie above the output's.
pub(crate) type OfCodes<'a> = Box<dyn Fn(i32) -> i32 + 'a>;

/// Compiles a function of each value alone. `codes` makes that of codes, from the two grids.
pub(crate) fn function<'a>(
    site: &'a Site,
    floats: impl Fn(f32) -> f32 + Send + Sync + 'static,
    codes: impl Fn(Grid, Grid) -> Result<OfCodes<'a>>,
) -> Result<Box<dyn Kernel>> {
    site.expect_one_type()?;
    let input = site.input(0)?;
    site.expect_output(&input.shape)?;
    let grids = || Ok((site.grid(input)?, site.grid(site.output()?)?));
    match input.dtype {
        DType::Float32 => Ok(Box::new(Floats(floats))),
        DType::Int8 => grids().and_then(|(from, to)| Ok(tabled::<i8>(&codes(from, to)?, from, to))),
        DType::Uint8 => grids().and_then(|(from, to)| Ok(tabled::<u8>(&codes(from, to)?, from, to))),
        other => Err(site.error(format!("it does not compute with {other:?}"))),
    }
}

/// Compiles a function of each value alone whose codes lie on the one grid of a range: the real
/// values, rounded once.
pub(crate) fn table(site: &Site, real: fn(f32) -> f32, range: Option<[f32; 2]>) -> Result<Box<dyn Kernel>> {
    function(site, real, |input, output| {
        let needed = range.map(|range| Affine::of_range(range, 8).scale);
        if needed.is_some_and(|scale| scale != output.scale) {
            return Err(site.error(format!("its output must have the scale {needed:?}, it has {}", output.scale)));
        }
        Ok(Box::new(move |code: i32| (real(input.scale * code as f32) / output.scale).round() as i32))
    })
}

fn tabled<T: Code>(of_codes: &OfCodes<'_>, input: Grid, output: Grid) -> Box<dyn Kernel> {
    let codes = (T::LOWEST..=T::HIGHEST).map(|code| {
        let code = of_codes(code - input.zero_point).saturating_add(output.zero_point);
        T::narrow(code.clamp(T::LOWEST, T::HIGHEST))
    });
    Box::new(Table { codes: codes.collect(), from: PhantomData::<T> })
}

/// Compiles QUANTIZE: from float32, or from one grid to another.
pub(crate) fn quantize(site: &Site) -> Result<Box<dyn Kernel>> {
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

/// Compiles DEQUANTIZE: of codes on one grid, or on one for each slice of a dimension.
pub(crate) fn dequantize(site: &Site) -> Result<Box<dyn Kernel>> {
    let (input, output) = (site.input(0)?, site.output()?);
    site.expect_output(&input.shape)?;
    match (input.dtype, output.dtype) {
        (DType::Int8, DType::Float32) => Ok(Box::new(decode::<i8>(site, input)?)),
        (DType::Uint8, DType::Float32) => Ok(Box::new(decode::<u8>(site, input)?)),
        (from, to) => Err(site.error(format!("it does not dequantize {from:?} to {to:?}"))),
    }
}

fn decode<T>(site: &Site, input: &Tensor) -> Result<Decode<T>> {
    let (grids, run) = match &input.quantization {
        Some(Quantization { scales, zero_points, axis, .. }) if scales.len() > 1 => {
            if input.shape.get(*axis) != Some(&scales.len()) {
                let count = scales.len();
                return Err(site.error(format!("{count} scales along dimension {axis} of {:?}", input.shape)));
            }
            let grids = scales.iter().zip(zero_points);
            let grids = grids.map(|(scale, zero_point)| Grid { scale: *scale, zero_point: *zero_point as i32 });
            (grids.collect(), input.shape[axis + 1..].iter().product())
        }
        _ => (vec![site.grid(input)?], input.shape.iter().product()),
    };
    Ok(Decode { grids, run, from: PhantomData })
}

/// `single`: the quotient of the scales is rounded to float32 first, as TensorFlow Lite's RELU does
/// and its QUANTIZE does not.
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

struct Floats<F>(F);

impl<F: Fn(f32) -> f32 + Send + Sync> Kernel for Floats<F> {
    fn run(&self, inputs: &[&Data], output: &mut Data, _: &mut Scratch) -> Result<()> {
        let source = read::<f32>(inputs, 0)?;
        for (target, value) in write::<f32>(output, source.len()).iter_mut().zip(source) {
            *target = (self.0)(*value);
        }
        Ok(())
    }
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

/// Runs of values share a grid; after the last grid the first follows again.
struct Decode<T> {
    grids: Vec<Grid>,
    run: usize,
    from: PhantomData<T>,
}

impl<T: Code> Kernel for Decode<T> {
    fn run(&self, inputs: &[&Data], output: &mut Data, _: &mut Scratch) -> Result<()> {
        let source = read::<T>(inputs, 0)?;
        let target = write::<f32>(output, source.len());
        let runs = target.chunks_mut(self.run).zip(source.chunks(self.run));
        for ((target, source), grid) in runs.zip(self.grids.iter().cycle()) {
            for (target, code) in target.iter_mut().zip(source) {
                *target = grid.scale * (code.widen() - grid.zero_point) as f32;
            }
        }
        Ok(())
    }
}
