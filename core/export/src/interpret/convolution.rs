//! CONV_2D and FULLY_CONNECTED: blocks of output channels over tiles of windows, the sums of a tile
//! held in registers.

use super::arithmetic::{Arithmetic, Float, Integer, LANES, Number, Rescale, blocks};
use super::data::{Code, Data};
use super::kernel::{Kernel, Scratch, read, wide, write};
use super::site::Site;
use super::weights;
use super::window::Window;
use crate::deployed::Activation;
use crate::tflite::model::{DType, Padding};
use pocketflow::Result;

/// Windows that are computed together.
const TILE: usize = 4;

struct Convolution<A: Arithmetic> {
    window: Window,
    starts: Vec<usize>,
    outputs: usize,
    /// `[block, kernel row, kernel column · input channel, lane]`.
    weights: Vec<[A::Number; LANES]>,
    arithmetic: A,
}

/// Compiles CONV_2D.
pub(super) fn convolution(
    site: &Site,
    stride: [usize; 2],
    padding: Padding,
    activation: Activation,
) -> Result<Box<dyn Kernel>> {
    site.expect_one_type()?;
    let filter = site.input(1)?;
    let [outputs, height, width, channels] = filter.shape[..] else {
        return Err(site.error(format!("its filter must be [out, kh, kw, in], its shape is {:?}", filter.shape)));
    };
    let window = Window::new(site, [height, width], stride, padding)?;
    if window.input[2] != channels {
        return Err(site.error(format!("its filter reads {channels} channels, its input has {}", window.input[2])));
    }
    site.expect_output(&[1, window.output[0], window.output[1], outputs])?;
    match site.input(0)?.dtype {
        DType::Float32 => float(site, window, outputs, activation),
        DType::Int8 => integer::<i8>(site, window, outputs, weights::rescale::<i8>(), activation),
        DType::Uint8 => integer::<u8>(site, window, outputs, weights::rescale::<u8>(), activation),
        other => Err(site.error(format!("it does not compute with {other:?}"))),
    }
}

/// Compiles FULLY_CONNECTED: a 1 × 1 convolution of a column of `rows` pixels.
pub(super) fn fully_connected(site: &Site, activation: Activation) -> Result<Box<dyn Kernel>> {
    site.expect_one_type()?;
    let (input, filter, output) = (site.input(0)?, site.input(1)?, site.output()?);
    let [outputs, features] = filter.shape[..] else {
        return Err(site.error(format!("its filter must be [out, in], its shape is {:?}", filter.shape)));
    };
    let values: usize = input.shape.iter().product();
    if !values.is_multiple_of(features) {
        return Err(site.error(format!("its filter reads {features} features, its input has {values} values")));
    }
    let rows = values / features;
    let written: usize = output.shape.iter().product();
    if output.shape.last() != Some(&outputs) || written != rows * outputs {
        return Err(site.error(format!("its output has the shape {:?}, [{rows}, {outputs}] is expected", output.shape)));
    }
    let window =
        Window { input: [rows, 1, features], output: [rows, 1], kernel: [1, 1], stride: [1, 1], before: [0, 0] };
    match input.dtype {
        DType::Float32 => float(site, window, outputs, activation),
        DType::Int8 => integer::<i8>(site, window, outputs, Rescale::Real, activation),
        DType::Uint8 => integer::<u8>(site, window, outputs, Rescale::Real, activation),
        other => Err(site.error(format!("it does not compute with {other:?}"))),
    }
}

fn float(site: &Site, window: Window, outputs: usize, activation: Activation) -> Result<Box<dyn Kernel>> {
    let weights = weights::floats(site, site.input(1)?)?;
    Ok(boxed(window, outputs, &weights, Float::new(site, outputs, activation)?))
}

fn integer<T: Code>(
    site: &Site,
    window: Window,
    outputs: usize,
    rescale: Rescale,
    activation: Activation,
) -> Result<Box<dyn Kernel>> {
    let (weights, scales) = weights::integers::<T>(site, site.input(1)?, 0)?;
    let arithmetic = Integer::<T>::new(site, outputs, &scales, rescale, activation)?;
    Ok(boxed(window, outputs, &weights, arithmetic))
}

fn boxed<A: Arithmetic>(window: Window, outputs: usize, weights: &[A::Number], arithmetic: A) -> Box<dyn Kernel> {
    // As many values as one output has weights; a window's are in the order of the image.
    let each = window.kernel[0] * window.kernel[1] * window.input[2];
    let mut packed = Vec::with_capacity(outputs.div_ceil(LANES) * each);
    for block in weights.chunks(LANES * each) {
        for at in 0..each {
            packed.extend(blocks(&block.iter().skip(at).step_by(each).copied().collect::<Vec<_>>()));
        }
    }
    let starts = window.starts(window.input[2]);
    Box::new(Convolution { window, starts, outputs, weights: packed, arithmetic })
}

impl<A: Arithmetic> Kernel for Convolution<A> {
    fn run(&self, inputs: &[&Data], output: &mut Data, scratch: &mut Scratch) -> Result<()> {
        let image = read::<A::Value>(inputs, 0)?;
        let target = write::<A::Value>(output, self.window.pixels() * self.outputs);
        convolve(self, image, A::Number::buffer(scratch), target);
        Ok(())
    }
}

wide! {
    fn convolve<A: Arithmetic>(
        layer: &Convolution<A>,
        image: &[A::Value],
        bordered: &mut Vec<A::Number>,
        target: &mut [A::Value],
    ) {
        layer.window.border(image, layer.window.input[2], bordered, |pixels, numbers| {
            for (pixel, number) in pixels.iter().zip(numbers) {
                *number = layer.arithmetic.lift(*pixel);
            }
        });
        let each = layer.window.kernel[0] * layer.window.kernel[1] * layer.window.input[2];
        for (block, weights) in layer.weights.chunks_exact(each).enumerate() {
            let (tiles, rest) = layer.starts.as_chunks::<TILE>();
            for (tile, starts) in tiles.iter().enumerate() {
                compute(layer, bordered, block, weights, starts, tile * TILE, target);
            }
            for (pixel, start) in rest.iter().enumerate() {
                compute(layer, bordered, block, weights, &[*start], tiles.len() * TILE + pixel, target);
            }
        }
    }
}

/// The outputs of one block of channels for the windows at `starts`, the first of which is number
/// `first`.
#[inline(always)]
fn compute<A: Arithmetic, const N: usize>(
    layer: &Convolution<A>,
    bordered: &[A::Number],
    block: usize,
    weights: &[[A::Number; LANES]],
    starts: &[usize; N],
    first: usize,
    target: &mut [A::Value],
) {
    let channels = layer.window.input[2];
    let row = layer.window.bordered()[1] * channels;
    let segment = layer.window.kernel[1] * channels;
    let mut sums = [[A::Number::default(); LANES]; N];
    for (y, weights) in weights.chunks_exact(segment).enumerate() {
        let pixels: [&[A::Number]; N] = std::array::from_fn(|tile| &bordered[starts[tile] + y * row..][..segment]);
        for (at, weights) in weights.iter().enumerate() {
            for (sums, pixels) in sums.iter_mut().zip(&pixels) {
                let pixel = pixels[at];
                for (sum, weight) in sums.iter_mut().zip(weights) {
                    *sum = sum.add_product(pixel, *weight);
                }
            }
        }
    }
    let width = LANES.min(layer.outputs - block * LANES);
    for (tile, sums) in sums.iter().enumerate() {
        let values = layer.arithmetic.finish(block, sums);
        target[(first + tile) * layer.outputs + block * LANES..][..width].copy_from_slice(&values[..width]);
    }
}
