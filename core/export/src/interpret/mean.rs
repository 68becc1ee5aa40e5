//! MEAN over any dimensions.

use super::Rounding;
use super::arithmetic::{multiplier, nearest};
use super::data::{Code, Data};
use super::fixed::Multiplier;
use super::kernel::{Kernel, Scratch, read, write};
use super::site::Site;
use crate::tflite::model::DType;
use pocketflow::Result;
use std::marker::PhantomData;

/// Where values are summed: rows are runs along the last dimension.
struct Targets {
    /// The output that each row's first value goes to.
    rows: Vec<usize>,
    /// Values of a row, and how far apart their outputs are: 1, or 0 where the last dimension is
    /// averaged too.
    length: usize,
    step: usize,
    outputs: usize,
    /// Values of a mean.
    count: usize,
}

/// Compiles MEAN.
pub(super) fn mean(site: &Site, keep_dims: bool) -> Result<Box<dyn Kernel>> {
    site.expect_one_type()?;
    let targets = Targets::new(site, keep_dims)?;
    Ok(match site.input(0)?.dtype {
        DType::Float32 => Box::new(FloatMean(targets)),
        DType::Int8 => Box::new(CodeMean::<i8>::new(site, targets)?),
        DType::Uint8 => Box::new(CodeMean::<u8>::new(site, targets)?),
        other => return Err(site.error(format!("it does not compute with {other:?}"))),
    })
}

impl Targets {
    fn new(site: &Site, keep_dims: bool) -> Result<Self> {
        let shape = &site.input(0)?.shape;
        let mut averaged = vec![false; shape.len()];
        for axis in site.integers(1)? {
            let from_front = if axis < 0 { i64::from(axis) + shape.len() as i64 } else { i64::from(axis) };
            let known = usize::try_from(from_front).ok().and_then(|axis| averaged.get_mut(axis));
            let slot = known.ok_or_else(|| site.error(format!("its input {shape:?} has no dimension {axis}")))?;
            *slot = true;
        }
        let kept = |(size, averaged): (&usize, &bool)| match (averaged, keep_dims) {
            (false, _) => Some(*size),
            (true, true) => Some(1),
            (true, false) => None,
        };
        site.expect_output(&shape.iter().zip(&averaged).filter_map(kept).collect::<Vec<_>>())?;

        let Some((length, outer)) = shape.split_last() else {
            return Err(site.error("it averages a single value without dimensions"));
        };
        let step = usize::from(!averaged[outer.len()]);
        // Strides in the output, innermost last; then every row's place by counting through the
        // outer dimensions.
        let mut strides = vec![0; outer.len()];
        let mut outputs = if step == 1 { *length } else { 1 };
        for axis in (0..outer.len()).rev() {
            if !averaged[axis] {
                strides[axis] = outputs;
                outputs *= outer[axis];
            }
        }
        let mut rows = vec![0];
        for (size, stride) in outer.iter().zip(&strides) {
            rows = rows.iter().flat_map(|row| (0..*size).map(move |at| row + at * stride)).collect();
        }
        let count = rows.len() * length / outputs;
        Ok(Self { rows, length: *length, step, outputs, count })
    }

    fn sum<T: Copy, S: Copy>(&self, values: &[T], sums: &mut [S], plus: impl Fn(S, T) -> S) {
        for (row, values) in self.rows.iter().zip(values.chunks_exact(self.length)) {
            if self.step == 1 {
                for (sum, value) in sums[*row..][..self.length].iter_mut().zip(values) {
                    *sum = plus(*sum, *value);
                }
            } else {
                sums[*row] = values.iter().fold(sums[*row], |sum, value| plus(sum, *value));
            }
        }
    }
}

struct FloatMean(Targets);

impl Kernel for FloatMean {
    fn run(&self, inputs: &[&Data], output: &mut Data, _: &mut Scratch) -> Result<()> {
        let values = read::<f32>(inputs, 0)?;
        let means = write::<f32>(output, self.0.outputs);
        means.fill(0.0);
        self.0.sum(values, means, |sum, value| sum + value);
        means.iter_mut().for_each(|mean| *mean /= self.0.count as f32);
        Ok(())
    }
}

/// (Σ codes − n · z_x) times s_x / s_y / n, + z_y: one multiplication, into whose multiplier 1 / n
/// is divided. In fixed point its first rounding keeps few bits: the result is often off by one,
/// which [`Rounding::Once`] is not.
struct CodeMean<T> {
    targets: Targets,
    /// n · z_x.
    zeros: i32,
    multiplier: Multiplier,
    /// In place of the fixed-point multiplier.
    real: Option<f64>,
    output_zero: i32,
    value: PhantomData<T>,
}

impl<T: Code> CodeMean<T> {
    fn new(site: &Site, targets: Targets) -> Result<Self> {
        let (input, output) = (site.grid(site.input(0)?)?, site.grid(site.output()?)?);
        let real = f64::from(input.scale) / f64::from(output.scale) / targets.count as f64;
        let whole = multiplier(site, f64::from(input.scale) / f64::from(output.scale))?;
        // The mantissa is brought up by as many bits as the division takes off, as far as 32 bits
        // and the shift reach.
        let up = (targets.count.ilog2() as i32).min(32).min(31 + whole.shift);
        let mantissa = (i64::from(whole.mantissa) << up) / targets.count as i64;
        Ok(Self {
            zeros: input.zero_point.wrapping_mul(targets.count as i32),
            targets,
            real: (site.rounding == Rounding::Once).then_some(real),
            multiplier: Multiplier { mantissa: mantissa as i32, shift: whole.shift - up },
            output_zero: output.zero_point,
            value: PhantomData,
        })
    }
}

impl<T: Code> Kernel for CodeMean<T> {
    fn run(&self, inputs: &[&Data], output: &mut Data, scratch: &mut Scratch) -> Result<()> {
        let values = read::<T>(inputs, 0)?;
        let sums = &mut scratch.integers;
        sums.clear();
        sums.resize(self.targets.outputs, 0);
        self.targets.sum(values, sums, |sum, value| sum.wrapping_add(value.widen()));
        for (mean, sum) in write::<T>(output, self.targets.outputs).iter_mut().zip(sums) {
            let sum = sum.wrapping_sub(self.zeros);
            let scaled = self.real.map_or_else(|| self.multiplier.apply(sum), |real| nearest(f64::from(sum) * real));
            let code = scaled.wrapping_add(self.output_zero);
            *mean = T::narrow(code.clamp(T::LOWEST, T::HIGHEST));
        }
        Ok(())
    }
}
