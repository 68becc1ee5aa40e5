//! AVERAGE_POOL_2D and MAX_POOL_2D. What padding covers is left out of both.

use super::arithmetic::{clamp, code_range, float_range};
use super::data::{Code, Data, Element};
use super::kernel::{Kernel, Scratch, read, write};
use super::site::Site;
use super::window::Window;
use crate::deployed::Activation;
use crate::tflite::model::{DType, Padding};
use pocketflow::Result;

/// What becomes of the values under a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reduction {
    Average,
    Max,
}

/// A pool over values with the range of its activation function.
struct Pool<R> {
    window: Window,
    reduction: Reduction,
    range: R,
}

/// Compiles a pool. Codes go in and out on one grid, as TensorFlow Lite demands.
pub(super) fn pool(
    site: &Site,
    reduction: Reduction,
    filter: [usize; 2],
    stride: [usize; 2],
    padding: Padding,
    activation: Activation,
) -> Result<Box<dyn Kernel>> {
    site.expect_one_grid()?;
    let window = Window::new(site, filter, stride, [1; 2], padding)?;
    site.expect_output(&[1, window.output[0], window.output[1], window.input[2]])?;
    Ok(match site.input(0)?.dtype {
        DType::Float32 => Box::new(Pool { window, reduction, range: float_range(activation) }),
        DType::Int8 => Box::new(CodePool(
            Pool { window, reduction, range: range::<i8>(site, activation)? },
            std::marker::PhantomData::<i8>,
        )),
        DType::Uint8 => Box::new(CodePool(
            Pool { window, reduction, range: range::<u8>(site, activation)? },
            std::marker::PhantomData::<u8>,
        )),
        other => return Err(site.error(format!("it does not compute with {other:?}"))),
    })
}

fn range<T: Code>(site: &Site, activation: Activation) -> Result<[i32; 2]> {
    Ok(code_range::<T>(activation, site.grid(site.output()?)?))
}

impl<R> Pool<R> {
    /// Combines the values under each window, channel by channel, and finishes the result with the
    /// number of pixels.
    fn slide<T: Element, S: Copy>(
        &self,
        image: &[T],
        target: &mut [T],
        start: S,
        combine: impl Fn(S, T) -> S,
        finish: impl Fn(S, usize) -> T,
    ) {
        let [_, width, channels] = self.window.input;
        let mut sums = vec![start; channels];
        for (number, target) in target.chunks_exact_mut(channels).enumerate() {
            sums.fill(start);
            let [rows, columns] = self.window.under(number / self.window.output[1], number % self.window.output[1]);
            for y in rows.clone() {
                let row = &image[(y * width + columns.start) * channels..(y * width + columns.end) * channels];
                for pixel in row.chunks_exact(channels) {
                    for (sum, value) in sums.iter_mut().zip(pixel) {
                        *sum = combine(*sum, *value);
                    }
                }
            }
            let count = rows.len() * columns.len();
            for (value, sum) in target.iter_mut().zip(&sums) {
                *value = finish(*sum, count);
            }
        }
    }

    fn values(&self) -> usize {
        self.window.pixels() * self.window.input[2]
    }
}

impl Kernel for Pool<[f32; 2]> {
    fn run(&self, inputs: &[&Data], output: &mut Data, _: &mut Scratch) -> Result<()> {
        let (image, target) = (read::<f32>(inputs, 0)?, write::<f32>(output, self.values()));
        match self.reduction {
            Reduction::Average => {
                let finish = |sum: f32, count| clamp(sum / count as f32, self.range);
                self.slide(image, target, 0.0, |sum, value| sum + value, finish);
            }
            Reduction::Max => {
                let larger = |best: f32, value| if best < value { value } else { best };
                self.slide(image, target, f32::NEG_INFINITY, larger, |best, _| clamp(best, self.range));
            }
        }
        Ok(())
    }
}

/// A pool of codes T.
struct CodePool<T>(Pool<[i32; 2]>, std::marker::PhantomData<T>);

impl<T: Code> Kernel for CodePool<T> {
    fn run(&self, inputs: &[&Data], output: &mut Data, _: &mut Scratch) -> Result<()> {
        let pool = &self.0;
        let (image, target) = (read::<T>(inputs, 0)?, write::<T>(output, pool.values()));
        let [low, high] = pool.range;
        match pool.reduction {
            Reduction::Average => {
                // To the nearest, halves away from zero: of the codes themselves, not of what they
                // stand for.
                let finish = |sum: i32, count| {
                    let (count, half) = (count as i32, count as i32 / 2);
                    let mean = if sum > 0 { (sum + half) / count } else { (sum - half) / count };
                    T::narrow(mean.max(low).min(high))
                };
                pool.slide(image, target, 0, |sum, value| sum + value.widen(), finish);
            }
            Reduction::Max => {
                let finish = |best: i32, _| T::narrow(best.max(low).min(high));
                pool.slide(image, target, T::LOWEST, |best, value| best.max(value.widen()), finish);
            }
        }
        Ok(())
    }
}
