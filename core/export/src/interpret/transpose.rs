//! TRANSPOSE: the dimensions of a tensor in another order.

use super::data::{Data, Element};
use super::kernel::{Kernel, Scratch, read, write};
use super::site::Site;
use crate::tflite::model::DType;
use pocketflow::Result;
use std::marker::PhantomData;

/// Compiles TRANSPOSE.
pub(super) fn transpose(site: &Site) -> Result<Box<dyn Kernel>> {
    site.expect_one_grid()?;
    let shape = &site.input(0)?.shape;
    let order = site.integers(1)?;
    let order: Option<Vec<usize>> = order.iter().map(|axis| usize::try_from(*axis).ok()).collect();
    let order = order.filter(|order| {
        let mut sorted = order.clone();
        sorted.sort_unstable();
        sorted.into_iter().eq(0..shape.len())
    });
    let order = order.ok_or_else(|| site.error(format!("its order names each dimension of {shape:?} once")))?;
    let sizes: Vec<usize> = order.iter().map(|axis| shape[*axis]).collect();
    site.expect_output(&sizes)?;
    let mut places = vec![0];
    for (axis, size) in order.iter().zip(&sizes) {
        let step: usize = shape[axis + 1..].iter().product();
        places = places.iter().flat_map(|place| (0..*size).map(move |at| place + at * step)).collect();
    }
    Ok(match site.input(0)?.dtype {
        DType::Float32 => Box::new(Transpose::<f32> { places, value: PhantomData }),
        DType::Int8 => Box::new(Transpose::<i8> { places, value: PhantomData }),
        DType::Uint8 => Box::new(Transpose::<u8> { places, value: PhantomData }),
        other => return Err(site.error(format!("it does not compute with {other:?}"))),
    })
}

struct Transpose<T> {
    /// Of each value of the output, its place in the input.
    places: Vec<usize>,
    value: PhantomData<T>,
}

impl<T: Element> Kernel for Transpose<T> {
    fn run(&self, inputs: &[&Data], output: &mut Data, _: &mut Scratch) -> Result<()> {
        let source = read::<T>(inputs, 0)?;
        for (target, place) in write::<T>(output, self.places.len()).iter_mut().zip(&self.places) {
            *target = source[*place];
        }
        Ok(())
    }
}
