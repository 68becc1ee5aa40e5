//! CONCATENATION: tensors behind each other along one dimension.

use super::data::{Data, Element};
use super::kernel::{Kernel, Scratch, read, write};
use super::site::Site;
use crate::deployed::Activation;
use crate::tflite::model::DType;
use pocketflow::Result;
use std::marker::PhantomData;

/// Compiles CONCATENATION. Codes go in and out on one grid, as TensorFlow Lite's int8 kernel
/// demands.
pub(super) fn concatenation(site: &Site, axis: i32, activation: Activation) -> Result<Box<dyn Kernel>> {
    if activation != Activation::None {
        return Err(site.error("it ends in an activation function, which TensorFlow Lite's does not"));
    }
    let (first, output) = (site.input(0)?, site.output()?);
    let rank = first.shape.len();
    // Negative ones count from the end.
    let axis = if axis < 0 { i64::from(axis) + rank as i64 } else { i64::from(axis) };
    let axis = usize::try_from(axis).ok().filter(|axis| *axis < rank);
    let axis = axis.ok_or_else(|| site.error(format!("there is no such dimension of {:?}", first.shape)))?;
    let mut shape = first.shape.clone();
    shape[axis] = 0;
    let mut runs = Vec::new();
    for index in 0..site.operator.inputs.len() {
        let input = site.input(index)?;
        let fits =
            input.shape.len() == rank && (0..rank).all(|side| side == axis || input.shape[side] == first.shape[side]);
        if !fits || input.dtype != output.dtype {
            let message = format!("it puts {:?} of {:?} behind {:?}", input.dtype, input.shape, first.shape);
            return Err(site.error(message));
        }
        if output.dtype != DType::Float32 && site.grid(input)? != site.grid(output)? {
            return Err(site.error(format!("{:?} has another scale or zero point than its output", input.name)));
        }
        shape[axis] += input.shape[axis];
        runs.push(input.shape[axis..].iter().product());
    }
    site.expect_output(&shape)?;
    let rows = shape[..axis].iter().product();
    Ok(match output.dtype {
        DType::Float32 => Box::new(Concatenation::<f32> { runs, rows, value: PhantomData }),
        DType::Int8 => Box::new(Concatenation::<i8> { runs, rows, value: PhantomData }),
        DType::Uint8 => Box::new(Concatenation::<u8> { runs, rows, value: PhantomData }),
        other => return Err(site.error(format!("it does not compute with {other:?}"))),
    })
}

struct Concatenation<T> {
    /// By input: its values in a row of the output.
    runs: Vec<usize>,
    rows: usize,
    value: PhantomData<T>,
}

impl<T: Element> Kernel for Concatenation<T> {
    fn run(&self, inputs: &[&Data], output: &mut Data, _: &mut Scratch) -> Result<()> {
        let width: usize = self.runs.iter().sum();
        let target = write::<T>(output, self.rows * width);
        let mut from = 0;
        for (index, run) in self.runs.iter().enumerate() {
            let source = read::<T>(inputs, index)?;
            for (values, row) in source.chunks_exact(*run).zip(target.chunks_exact_mut(width)) {
                row[from..from + run].copy_from_slice(values);
            }
            from += run;
        }
        Ok(())
    }
}
