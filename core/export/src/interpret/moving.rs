//! Operators that move values and change none: PAD, PADV2, STRIDED_SLICE, RESHAPE.

use super::data::{Data, Element};
use super::kernel::{Kernel, Scratch, read, write};
use super::site::Site;
use crate::tflite::model::DType;
use pocketflow::Result;

/// Makes the kernel for the type of input 0.
macro_rules! by_type {
    ($site:expr, $make:expr) => {{
        match $site.input(0)?.dtype {
            DType::Float32 => Ok($make(0.0f32)),
            DType::Int8 => Ok($make(0i8)),
            DType::Uint8 => Ok($make(0u8)),
            other => Err($site.error(format!("it does not compute with {other:?}"))),
        }
    }};
}

/// Compiles PAD: values that stand for 0 around the input.
pub(super) fn pad(site: &Site) -> Result<Box<dyn Kernel>> {
    site.expect_one_grid()?;
    match site.input(0)?.dtype {
        DType::Float32 => around(site, 0.0f32),
        DType::Int8 => around(site, site.grid(site.output()?)?.zero_point as i8),
        DType::Uint8 => around(site, site.grid(site.output()?)?.zero_point as u8),
        other => Err(site.error(format!("it does not compute with {other:?}"))),
    }
}

/// Compiles PADV2: the one value of input 2 around the input, of its type and on its grid.
pub(super) fn pad_with(site: &Site) -> Result<Box<dyn Kernel>> {
    site.expect_one_grid()?;
    let (input, value) = (site.input(0)?, site.input(2)?);
    if input.dtype != DType::Float32 && site.grid(value)? != site.grid(input)? {
        return Err(site.error("the value around it has another scale or zero point"));
    }
    match (input.dtype, site.constant(value)?) {
        (DType::Float32, Data::Float(values)) if values.len() == 1 => around(site, values[0]),
        (DType::Int8, Data::Int8(values)) if values.len() == 1 => around(site, values[0]),
        (DType::Uint8, Data::Uint8(values)) if values.len() == 1 => around(site, values[0]),
        _ => Err(site.error(format!("one value of {:?} is expected around it", input.dtype))),
    }
}

fn around<T: Element>(site: &Site, value: T) -> Result<Box<dyn Kernel>> {
    let input = site.input(0)?;
    let paddings = site.integers(1)?;
    let (pairs, rest) = paddings.as_chunks::<2>();
    if pairs.len() != input.shape.len() || !rest.is_empty() || paddings.iter().any(|padding| *padding < 0) {
        let dimensions = input.shape.len();
        return Err(site.error(format!("{dimensions} pairs of paddings ≥ 0 are expected, they are {paddings:?}")));
    }
    let shape: Vec<usize> = input
        .shape
        .iter()
        .zip(pairs)
        .map(|(size, [before, after])| size + *before as usize + *after as usize)
        .collect();
    site.expect_output(&shape)?;
    let firsts: Vec<usize> = pairs.iter().map(|[before, _]| *before as usize).collect();
    let values = shape.iter().product();
    let length = input.shape.last().copied().unwrap_or(1);
    let rows = places(&input.shape, &shape, &firsts, &vec![1; shape.len()]);
    Ok(Box::new(Pad { rows, length, values, value }))
}

/// Where every run along the last dimension of `part` begins in a tensor of the shape `whole`, of
/// which it takes every `steps`-th value from `firsts`.
fn places(part: &[usize], whole: &[usize], firsts: &[usize], steps: &[isize]) -> Vec<usize> {
    let Some(last) = part.len().checked_sub(1) else { return vec![0] };
    let mut rows = vec![0];
    for axis in 0..=last {
        let count = if axis == last { 1 } else { part[axis] };
        let size = whole[axis];
        let place = |at: usize| firsts[axis].wrapping_add_signed(at as isize * steps[axis]);
        rows = rows.iter().flat_map(|row| (0..count).map(move |at| row * size + place(at))).collect();
    }
    rows
}

struct Pad<T> {
    rows: Vec<usize>,
    /// Values of a row of the input.
    length: usize,
    /// Of the output.
    values: usize,
    /// Around the input.
    value: T,
}

impl<T: Element> Kernel for Pad<T> {
    fn run(&self, inputs: &[&Data], output: &mut Data, _: &mut Scratch) -> Result<()> {
        let source = read::<T>(inputs, 0)?;
        let target = write::<T>(output, self.values);
        target.fill(self.value);
        for (row, values) in self.rows.iter().zip(source.chunks_exact(self.length)) {
            target[*row..][..self.length].copy_from_slice(values);
        }
        Ok(())
    }
}

/// Compiles STRIDED_SLICE: from begin in steps of strides up to before end; a mask's bit takes a
/// dimension's whole side.
pub(super) fn strided_slice(site: &Site, begin_mask: i32, end_mask: i32) -> Result<Box<dyn Kernel>> {
    site.expect_one_grid()?;
    let shape = &site.input(0)?.shape;
    let (begin, end, strides) = (site.integers(1)?, site.integers(2)?, site.integers(3)?);
    let rank = shape.len();
    if rank == 0 || rank > 31 || [begin.len(), end.len(), strides.len()] != [rank; 3] || strides.contains(&0) {
        return Err(site.error(format!("begin, end and strides (not 0) are expected for each of {shape:?}")));
    }
    let (mut part, mut firsts, mut steps) = (Vec::new(), Vec::new(), Vec::new());
    for axis in 0..rank {
        let (size, step) = (shape[axis] as i64, i64::from(strides[axis]));
        // Positions count from the end where negative, and stop at the ends of the side.
        let (low, high) = if step > 0 { (0, size) } else { (-1, size - 1) };
        let place = |at: i32| (if at < 0 { i64::from(at) + size } else { i64::from(at) }).clamp(low, high);
        let (from, to) = if step > 0 { (low, high) } else { (high, low) };
        let first = if begin_mask & (1 << axis) != 0 { from } else { place(begin[axis]) };
        let stop = if end_mask & (1 << axis) != 0 { to } else { place(end[axis]) };
        let distance = (stop - first) * step.signum();
        if distance <= 0 {
            return Err(site.error(format!("it takes nothing of dimension {axis} of {shape:?}")));
        }
        part.push((distance as usize).div_ceil(step.unsigned_abs() as usize));
        firsts.push(first as usize);
        steps.push(step as isize);
    }
    site.expect_output(&part)?;
    let rows = places(&part, shape, &firsts, &steps);
    let (length, step) = (part[rank - 1], steps[rank - 1]);
    fn boxed<T: Element>(rows: Vec<usize>, length: usize, step: isize, _: T) -> Box<dyn Kernel> {
        Box::new(Slice { rows, length, step, value: std::marker::PhantomData::<T> })
    }
    by_type!(site, |zero| boxed(rows, length, step, zero))
}

struct Slice<T> {
    rows: Vec<usize>,
    /// Values of a row of the output, `step` apart in the input.
    length: usize,
    step: isize,
    value: std::marker::PhantomData<T>,
}

impl<T: Element> Kernel for Slice<T> {
    fn run(&self, inputs: &[&Data], output: &mut Data, _: &mut Scratch) -> Result<()> {
        let source = read::<T>(inputs, 0)?;
        let target = write::<T>(output, self.rows.len() * self.length);
        for (row, values) in self.rows.iter().zip(target.chunks_exact_mut(self.length)) {
            if self.step == 1 {
                values.copy_from_slice(&source[*row..][..self.length]);
            } else {
                for (at, value) in values.iter_mut().enumerate() {
                    *value = source[row.wrapping_add_signed(at as isize * self.step)];
                }
            }
        }
        Ok(())
    }
}

/// Compiles RESHAPE. The shape is the output's; what the options or input 1 say must agree with it,
/// −1 standing for any size.
pub(super) fn reshape(site: &Site, options: &[i32]) -> Result<Box<dyn Kernel>> {
    site.expect_one_grid()?;
    let (input, output) = (site.input(0)?, site.output()?);
    let wanted = if site.optional(1).is_some() { site.integers(1)? } else { options.to_vec() };
    let fits = |(wanted, size): (&i32, &usize)| *wanted == -1 || usize::try_from(*wanted) == Ok(*size);
    let agrees = wanted.is_empty() || wanted.len() == output.shape.len() && wanted.iter().zip(&output.shape).all(fits);
    if !agrees || input.shape.iter().product::<usize>() != output.shape.iter().product::<usize>() {
        let message = format!("{:?} to {wanted:?} does not give its output's {:?}", input.shape, output.shape);
        return Err(site.error(message));
    }
    Ok(Box::new(Copy))
}

struct Copy;

impl Kernel for Copy {
    fn run(&self, inputs: &[&Data], output: &mut Data, _: &mut Scratch) -> Result<()> {
        match inputs {
            [input] => output.clone_from(input),
            _ => return Err(pocketflow::Error::failed("RESHAPE reads one tensor")),
        }
        Ok(())
    }
}
