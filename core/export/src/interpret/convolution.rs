//! CONV_2D and FULLY_CONNECTED: blocks of output channels over tiles of windows, the sums of a tile
//! held in registers. Of a convolution with groups, a block reads the channels of the groups that
//! its outputs lie in, and no others.

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
    blocks: Vec<Block<A::Number>>,
    arithmetic: A,
}

/// `LANES` output channels.
struct Block<N> {
    /// The first input channel that it reads.
    from: usize,
    /// Values side by side under a window: all of a kernel's row where nothing is left out between
    /// its pixels, else the channels of one pixel.
    run: usize,
    /// How often a run comes in a kernel's row, and how far apart.
    runs: usize,
    apart: usize,
    /// `[kernel row, run, value of the run, lane]`; zero where an output does not read a channel.
    weights: Vec<[N; LANES]>,
}

/// Compiles CONV_2D.
pub(super) fn convolution(
    site: &Site,
    stride: [usize; 2],
    dilation: [usize; 2],
    padding: Padding,
    activation: Activation,
) -> Result<Box<dyn Kernel>> {
    site.expect_one_type()?;
    let filter = site.input(1)?;
    let [outputs, height, width, channels] = filter.shape[..] else {
        return Err(site.error(format!("its filter must be [out, kh, kw, in], its shape is {:?}", filter.shape)));
    };
    let window = Window::new(site, [height, width], stride, dilation, padding)?;
    let read = window.input[2];
    if !read.is_multiple_of(channels) || !outputs.is_multiple_of(read / channels) {
        let message = format!("its filter reads {channels} channels for {outputs} outputs, its input has {read}");
        return Err(site.error(message));
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
    let (kernel, stride, dilation) = ([1, 1], [1, 1], [1, 1]);
    let window = Window { input: [rows, 1, features], output: [rows, 1], kernel, stride, dilation, before: [0, 0] };
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
    let each = weights.len() / outputs;
    let blocks = weights.chunks(LANES * each).enumerate();
    let blocks = blocks.map(|(index, weights)| block(&window, outputs, index * LANES, weights, each)).collect();
    let starts = window.starts(window.input[2]);
    Box::new(Convolution { window, starts, outputs, blocks, arithmetic })
}

/// The block of outputs from `first` on, of whose weights each output has `each`.
fn block<N: Number>(window: &Window, outputs: usize, first: usize, weights: &[N], each: usize) -> Block<N> {
    let ([_, columns], [_, _, channels]) = (window.kernel, window.input);
    let pixels = window.kernel[0] * columns;
    let depth = each / pixels;
    if depth == channels && window.dilation[1] == 1 {
        let lanes = |at: usize| blocks(&weights.iter().skip(at).step_by(each).copied().collect::<Vec<_>>());
        let weights = (0..each).flat_map(lanes).collect();
        return Block { from: 0, run: columns * channels, runs: 1, apart: 0, weights };
    }
    let group = |output: usize| output / (outputs / (channels / depth));
    let (from, to) = (group(first), group(first + weights.len() / each - 1) + 1);
    let run = (to - from) * depth;
    let mut packed = vec![[N::default(); LANES]; pixels * run];
    for (lane, weights) in weights.chunks(each).enumerate() {
        let skipped = (group(first + lane) - from) * depth;
        for (pixel, weights) in weights.chunks(depth).enumerate() {
            for (at, weight) in weights.iter().enumerate() {
                packed[pixel * run + skipped + at][lane] = *weight;
            }
        }
    }
    Block { from: from * depth, run, runs: columns, apart: window.dilation[1] * channels, weights: packed }
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
        for block in 0..layer.blocks.len() {
            let (tiles, rest) = layer.starts.as_chunks::<TILE>();
            for (tile, starts) in tiles.iter().enumerate() {
                compute(layer, bordered, block, starts, tile * TILE, target);
            }
            for (pixel, start) in rest.iter().enumerate() {
                compute(layer, bordered, block, &[*start], tiles.len() * TILE + pixel, target);
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
    starts: &[usize; N],
    first: usize,
    target: &mut [A::Value],
) {
    let row = layer.window.bordered()[1] * layer.window.input[2] * layer.window.dilation[0];
    let Block { from, run, runs, apart, weights } = &layer.blocks[block];
    let mut sums = [[A::Number::default(); LANES]; N];
    for (index, weights) in weights.chunks_exact(*run).enumerate() {
        let place = index / runs * row + index % runs * apart + from;
        let pixels: [&[A::Number]; N] = std::array::from_fn(|tile| &bordered[starts[tile] + place..][..*run]);
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
