//! DEPTHWISE_CONV_2D: every channel with filters of its own, blocks of channels at a time.

use super::arithmetic::{Arithmetic, Float, Integer, LANES, Number, blocks};
use super::data::{Code, Data};
use super::kernel::{Kernel, Scratch, read, wide, write};
use super::site::Site;
use super::weights;
use super::window::Window;
use crate::deployed::Activation;
use crate::tflite::model::{DType, Padding};
use pocketflow::Result;

struct Depthwise<A: Arithmetic> {
    window: Window,
    starts: Vec<usize>,
    /// Filters of each input channel.
    multiplier: usize,
    outputs: usize,
    /// `[kernel row, kernel column, block, lane]`.
    weights: Vec<[A::Number; LANES]>,
    arithmetic: A,
}

/// Compiles DEPTHWISE_CONV_2D.
pub(super) fn depthwise(
    site: &Site,
    [stride, dilation]: [[usize; 2]; 2],
    padding: Padding,
    multiplier: usize,
    activation: Activation,
) -> Result<Box<dyn Kernel>> {
    site.expect_one_type()?;
    let filter = site.input(1)?;
    let [1, height, width, outputs] = filter.shape[..] else {
        return Err(
            site.error(format!("its filter must be [1, kh, kw, in · multiplier], its shape is {:?}", filter.shape))
        );
    };
    let window = Window::new(site, [height, width], stride, dilation, padding)?;
    if window.input[2].checked_mul(multiplier) != Some(outputs) {
        let channels = window.input[2];
        return Err(site.error(format!("its filter has {outputs} channels, {channels} · {multiplier} are expected")));
    }
    site.expect_output(&[1, window.output[0], window.output[1], outputs])?;
    match site.input(0)?.dtype {
        DType::Float32 => {
            let weights = weights::floats(site, filter)?;
            Ok(boxed(window, multiplier, outputs, &weights, Float::new(site, outputs, activation)?))
        }
        DType::Int8 => integer::<i8>(site, window, multiplier, outputs, activation),
        DType::Uint8 => integer::<u8>(site, window, multiplier, outputs, activation),
        other => Err(site.error(format!("it does not compute with {other:?}"))),
    }
}

fn integer<T: Code>(
    site: &Site,
    window: Window,
    multiplier: usize,
    outputs: usize,
    activation: Activation,
) -> Result<Box<dyn Kernel>> {
    let (weights, scales) = weights::integers::<T>(site, site.input(1)?, 3)?;
    let arithmetic = Integer::<T>::new(site, outputs, &scales, weights::rescale::<T>(), activation)?;
    Ok(boxed(window, multiplier, outputs, &weights, arithmetic))
}

fn boxed<A: Arithmetic>(
    window: Window,
    multiplier: usize,
    outputs: usize,
    weights: &[A::Number],
    arithmetic: A,
) -> Box<dyn Kernel> {
    let weights = weights.chunks(outputs).flat_map(blocks).collect();
    let starts = window.starts(outputs.next_multiple_of(LANES));
    Box::new(Depthwise { window, starts, multiplier, outputs, weights, arithmetic })
}

impl<A: Arithmetic> Kernel for Depthwise<A> {
    fn run(&self, inputs: &[&Data], output: &mut Data, scratch: &mut Scratch) -> Result<()> {
        let image = read::<A::Value>(inputs, 0)?;
        let target = write::<A::Value>(output, self.window.pixels() * self.outputs);
        convolve(self, image, A::Number::buffer(scratch), target);
        Ok(())
    }
}

wide! {
    fn convolve<A: Arithmetic>(
        layer: &Depthwise<A>,
        image: &[A::Value],
        bordered: &mut Vec<A::Number>,
        target: &mut [A::Value],
    ) {
        // The bordered image has the channels of the output, and zeros up to whole blocks.
        let channels = layer.outputs.next_multiple_of(LANES);
        layer.window.border(image, channels, bordered, |pixels, numbers| {
            if layer.multiplier == 1 {
                for (pixel, number) in pixels.iter().zip(numbers) {
                    *number = layer.arithmetic.lift(*pixel);
                }
            } else {
                for (pixel, numbers) in pixels.iter().zip(numbers.chunks_mut(layer.multiplier)) {
                    numbers.fill(layer.arithmetic.lift(*pixel));
                }
            }
        });
        let ([height, width], [down, right]) = (layer.window.kernel, layer.window.dilation);
        let row = layer.window.bordered()[1] * channels;
        let count = channels / LANES;
        for (start, target) in layer.starts.iter().zip(target.chunks_exact_mut(layer.outputs)) {
            for (block, target) in target.chunks_mut(LANES).enumerate() {
                let mut sums = [A::Number::default(); LANES];
                for y in 0..height {
                    for x in 0..width {
                        let at = start + y * down * row + x * right * channels + block * LANES;
                        let weights = &layer.weights[(y * width + x) * count + block];
                        let products = bordered[at..at + LANES].iter().zip(weights);
                        for (sum, (number, weight)) in sums.iter_mut().zip(products) {
                            *sum = sum.add_product(*number, *weight);
                        }
                    }
                }
                target.copy_from_slice(&layer.arithmetic.finish(block, &sums)[..target.len()]);
            }
        }
    }
}
