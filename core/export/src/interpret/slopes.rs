//! LEAKY_RELU and PRELU: what is below zero is multiplied by a slope, of all values or of each
//! channel.

use super::Rounding;
use super::arithmetic::multiplier;
use super::broadcast::{Spread, spread};
use super::data::{Code, Data};
use super::fixed::Multiplier;
use super::kernel::{Kernel, Scratch, read, write};
use super::pointwise::function;
use super::site::Site;
use crate::tflite::model::DType;
use pocketflow::Result;
use std::marker::PhantomData;

/// Compiles LEAKY_RELU.
pub(super) fn leaky_relu(site: &Site, alpha: f32) -> Result<Box<dyn Kernel>> {
    let real = move |x: f32| if x >= 0.0 { x } else { x * alpha };
    function(site, real, |input, output| {
        let factors = [input.scale / output.scale, input.scale * alpha / output.scale];
        // A slope below zero has no multiplier; its sign is taken off.
        let sign = if alpha < 0.0 { -1 } else { 1 };
        let [above, below] = factors.map(|factor| multiplier(site, f64::from(factor.abs())));
        let (above, below) = (above?, below?);
        Ok(Box::new(move |code: i32| match site.rounding {
            Rounding::Once => (f64::from(code) * f64::from(factors[usize::from(code < 0)])).round() as i32,
            Rounding::AsReferenceKernels if code >= 0 => above.apply(code),
            Rounding::AsReferenceKernels => sign * below.apply(code),
        }))
    })
}

/// Compiles PRELU.
pub(super) fn prelu(site: &Site) -> Result<Box<dyn Kernel>> {
    site.expect_one_type()?;
    let (input, slopes) = (site.input(0)?, site.input(1)?);
    let (shape, [own, spread]) = spread(site, input, slopes)?;
    if !matches!(own, Spread::Same) || shape != input.shape {
        return Err(site.error(format!("its slopes of {:?} are more than its input's {:?}", slopes.shape, input.shape)));
    }
    let values = site.constant(slopes)?;
    let wrong = || site.error(format!("its slopes must be of its input's type, they are {:?}", slopes.dtype));
    match input.dtype {
        DType::Float32 => {
            let slopes = f32_values(&values).ok_or_else(wrong)?;
            Ok(Box::new(FloatPrelu { slopes: spread.apply(slopes).into_owned() }))
        }
        DType::Int8 => Ok(Box::new(CodePrelu::<i8>::new(site, &values, &spread)?)),
        DType::Uint8 => Ok(Box::new(CodePrelu::<u8>::new(site, &values, &spread)?)),
        other => Err(site.error(format!("it does not compute with {other:?}"))),
    }
}

fn f32_values(data: &Data) -> Option<&[f32]> {
    match data {
        Data::Float(values) => Some(values),
        _ => None,
    }
}

struct FloatPrelu {
    /// One for each value.
    slopes: Vec<f32>,
}

impl Kernel for FloatPrelu {
    fn run(&self, inputs: &[&Data], output: &mut Data, _: &mut Scratch) -> Result<()> {
        let source = read::<f32>(inputs, 0)?;
        for ((target, x), slope) in write::<f32>(output, source.len()).iter_mut().zip(source).zip(&self.slopes) {
            *target = if *x >= 0.0 { *x } else { x * slope };
        }
        Ok(())
    }
}

struct CodePrelu<T> {
    input_zero: i32,
    /// One for each value: code − zero point.
    slopes: Vec<i32>,
    /// Of what is not below zero, and of products with slopes.
    multipliers: [Multiplier; 2],
    /// In place of the multipliers, where values are rounded once.
    reals: Option<[f64; 2]>,
    output_zero: i32,
    value: PhantomData<T>,
}

impl<T: Code> CodePrelu<T> {
    fn new(site: &Site, slopes: &Data, spread: &Spread) -> Result<Self> {
        let (input, output) = (site.grid(site.input(0)?)?, site.grid(site.output()?)?);
        let grid = site.grid(site.input(1)?)?;
        let slopes = T::slice(slopes).ok_or_else(|| site.error("its slopes must be of its input's type"))?;
        let slopes = spread.apply(slopes).iter().map(|slope| slope.widen() - grid.zero_point).collect();
        // In float32, as TensorFlow Lite has them.
        let reals = [input.scale / output.scale, input.scale * grid.scale / output.scale].map(f64::from);
        Ok(Self {
            input_zero: input.zero_point,
            slopes,
            multipliers: [multiplier(site, reals[0])?, multiplier(site, reals[1])?],
            reals: (site.rounding == Rounding::Once).then_some(reals),
            output_zero: output.zero_point,
            value: PhantomData,
        })
    }
}

impl<T: Code> Kernel for CodePrelu<T> {
    fn run(&self, inputs: &[&Data], output: &mut Data, _: &mut Scratch) -> Result<()> {
        let source = read::<T>(inputs, 0)?;
        for ((target, x), slope) in write::<T>(output, source.len()).iter_mut().zip(source).zip(&self.slopes) {
            let x = x.widen() - self.input_zero;
            let (x, which) = if x >= 0 { (x, 0) } else { (x * slope, 1) };
            let scaled = match self.reals {
                Some(reals) => (f64::from(x) * reals[which]).round() as i32,
                None => self.multipliers[which].apply(x),
            };
            *target = T::narrow(scaled.saturating_add(self.output_zero).clamp(T::LOWEST, T::HIGHEST));
        }
        Ok(())
    }
}
