//! The two arithmetics of the layers with weights: float32, and integers with rescaling.
//! Convolutions are written once, over either.

use super::Rounding;
use super::data::{Code, Data, Element};
use super::fixed::{Multiplier, scale};
use super::kernel::Scratch;
use super::site::{Grid, Site};
use crate::deployed::Activation;
use crate::tflite::model::Tensor;
use pocketflow::Result;
use std::marker::PhantomData;

/// Output channels that are computed together: the width of the inner loops.
pub(super) const LANES: usize = 16;

/// Numbers that products are summed in.
pub(super) trait Number: Copy + Default + Send + Sync + 'static {
    /// self + a · b; integers wrap.
    fn add_product(self, a: Self, b: Self) -> Self;

    fn buffer(scratch: &mut Scratch) -> &mut Vec<Self>;
}

impl Number for f32 {
    #[inline(always)]
    fn add_product(self, a: Self, b: Self) -> Self {
        self + a * b
    }

    fn buffer(scratch: &mut Scratch) -> &mut Vec<Self> {
        &mut scratch.floats
    }
}

impl Number for i32 {
    #[inline(always)]
    fn add_product(self, a: Self, b: Self) -> Self {
        self.wrapping_add(a.wrapping_mul(b))
    }

    fn buffer(scratch: &mut Scratch) -> &mut Vec<Self> {
        &mut scratch.integers
    }
}

/// How values become numbers and sums become values.
pub(super) trait Arithmetic: Send + Sync + 'static {
    type Value: Element;
    type Number: Number;

    fn lift(&self, value: Self::Value) -> Self::Number;

    /// The outputs of the channels from `LANES · block`.
    fn finish(&self, block: usize, sums: &[Self::Number; LANES]) -> [Self::Value; LANES];
}

/// Float32: sum + bias, held in the activation's range.
pub(super) struct Float {
    bias: Vec<[f32; LANES]>,
    range: [f32; 2],
}

impl Float {
    pub fn new(site: &Site, outputs: usize, activation: Activation) -> Result<Self> {
        let bias = match bias(site, outputs)? {
            None => vec![0.0; outputs],
            Some(Data::Float(values)) => values,
            Some(other) => return Err(site.error(format!("its bias must be float32, it is {:?}", other.dtype()))),
        };
        Ok(Self { bias: blocks(&bias), range: float_range(activation) })
    }
}

impl Arithmetic for Float {
    type Value = f32;
    type Number = f32;

    #[inline(always)]
    fn lift(&self, value: f32) -> f32 {
        value
    }

    #[inline(always)]
    fn finish(&self, block: usize, sums: &[f32; LANES]) -> [f32; LANES] {
        let bias = &self.bias[block];
        std::array::from_fn(|lane| clamp(sums[lane] + bias[lane], self.range))
    }
}

/// Codes T: Σ (x − z_x)(w − z_w) + bias in 32 bits, times s_x · s_w / s_y, + z_y, held in the
/// activation's range (arXiv
/// 1712.05877, equation 7). The zero points of the weights are taken off when they are packed.
pub(super) struct Integer<T> {
    input_zero: i32,
    bias: Vec<[i32; LANES]>,
    mantissas: Vec<[i32; LANES]>,
    lefts: Vec<[i32; LANES]>,
    rights: Vec<[i32; LANES]>,
    /// In place of the fixed-point multipliers.
    reals: Option<Vec<[f64; LANES]>>,
    /// With `reals`: halves go to the even neighbour, else away from zero.
    to_even: bool,
    output_zero: i32,
    range: [i32; 2],
    value: PhantomData<T>,
}

/// How sums are brought to the output's scale. TensorFlow Lite's reference kernels differ in it
/// (LiteRT 2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rescale {
    /// In fixed point, s_x · s_w multiplied in float32: uint8 convolutions.
    SingleProduct,
    /// In fixed point, s_x · s_w multiplied in double: int8 convolutions.
    DoubleProduct,
    /// In double throughout, to the nearest, halves away from zero: fully connected layers.
    Real,
    /// In double throughout, to the nearest, halves to even: every layer under [`Rounding::Once`].
    Nearest,
}

impl Rescale {
    /// This, unless the model is run with one rounding everywhere.
    fn under(self, rounding: Rounding) -> Self {
        match rounding {
            Rounding::AsReferenceKernels => self,
            Rounding::Once => Self::Nearest,
        }
    }
}

impl<T: Code> Integer<T> {
    /// `scales`: one for the filter or one for each output channel.
    pub fn new(site: &Site, outputs: usize, scales: &[f32], rescale: Rescale, activation: Activation) -> Result<Self> {
        let (input, output) = (site.grid(site.input(0)?)?, site.grid(site.output()?)?);
        let bias = match bias(site, outputs)? {
            None => vec![0; outputs],
            Some(Data::Int32(values)) => values,
            Some(other) => return Err(site.error(format!("its bias must be int32, it is {:?}", other.dtype()))),
        };
        expect_bias_scale(site, input, output, scales)?;
        let rescale = rescale.under(site.rounding);
        let real = |channel: usize| {
            let weight = scales[if scales.len() == 1 { 0 } else { channel }];
            let product = match rescale {
                Rescale::SingleProduct => f64::from(input.scale * weight),
                Rescale::DoubleProduct | Rescale::Real | Rescale::Nearest => f64::from(input.scale) * f64::from(weight),
            };
            product / f64::from(output.scale)
        };
        let reals: Vec<f64> = (0..outputs).map(real).collect();
        let multipliers = reals.iter().map(|real| multiplier(site, *real)).collect::<Result<Vec<_>>>()?;
        let each = |part: fn(&Multiplier) -> i32| blocks(&multipliers.iter().map(part).collect::<Vec<_>>());
        Ok(Self {
            input_zero: input.zero_point,
            bias: blocks(&bias),
            mantissas: each(|m| m.mantissa),
            lefts: each(|m| m.shift.max(0)),
            rights: each(|m| (-m.shift).max(0)),
            reals: matches!(rescale, Rescale::Real | Rescale::Nearest).then(|| blocks(&reals)),
            to_even: rescale == Rescale::Nearest,
            output_zero: output.zero_point,
            range: code_range::<T>(activation, output),
            value: PhantomData,
        })
    }
}

impl<T: Code> Arithmetic for Integer<T> {
    type Value = T;
    type Number = i32;

    #[inline(always)]
    fn lift(&self, value: T) -> i32 {
        value.widen() - self.input_zero
    }

    #[inline(always)]
    fn finish(&self, block: usize, sums: &[i32; LANES]) -> [T; LANES] {
        let (bias, mantissas) = (&self.bias[block], &self.mantissas[block]);
        let (lefts, rights) = (&self.lefts[block], &self.rights[block]);
        let [low, high] = self.range;
        let sums: [i32; LANES] = std::array::from_fn(|lane| sums[lane].wrapping_add(bias[lane]));
        let scaled: [i32; LANES] = match &self.reals {
            None => std::array::from_fn(|lane| scale(sums[lane], mantissas[lane], lefts[lane], rights[lane])),
            Some(reals) if self.to_even => {
                std::array::from_fn(|lane| nearest(f64::from(sums[lane]) * reals[block][lane]))
            }
            Some(reals) => std::array::from_fn(|lane| (f64::from(sums[lane]) * reals[block][lane]).round() as i32),
        };
        let codes = scaled.map(|code| code.wrapping_add(self.output_zero).max(low).min(high));
        codes.map(T::narrow)
    }
}

/// To the nearest integer, halves to even, of numbers below 2^51: two additions, which become
/// vector code.
#[inline(always)]
pub(super) fn nearest(x: f64) -> i32 {
    const SHIFT: f64 = 6_755_399_441_055_744.0; // 1.5 · 2^52
    ((x + SHIFT) - SHIFT) as i32
}

/// The real multiplier of an operator in fixed point.
pub(super) fn multiplier(site: &Site, real: f64) -> Result<Multiplier> {
    Multiplier::new(real)
        .ok_or_else(|| site.error(format!("its scales give the multiplier {real}, which 31 bits cannot hold")))
}

/// The least and the greatest real value after an activation function.
pub(super) fn float_range(activation: Activation) -> [f32; 2] {
    match activation {
        Activation::None => [f32::NEG_INFINITY, f32::INFINITY],
        Activation::Relu => [0.0, f32::INFINITY],
        Activation::Relu6 => [0.0, 6.0],
    }
}

/// Not a number stays what it is.
#[inline(always)]
pub(super) fn clamp(value: f32, [low, high]: [f32; 2]) -> f32 {
    let value = if value < low { low } else { value };
    if value > high { high } else { value }
}

/// The least and the greatest code after an activation function, on the output's grid.
pub(super) fn code_range<T: Code>(activation: Activation, grid: Grid) -> [i32; 2] {
    let code = |real: f32| T::encode(real, grid.scale, grid.zero_point).widen();
    match activation {
        Activation::None => [T::LOWEST, T::HIGHEST],
        Activation::Relu => [code(0.0), T::HIGHEST],
        Activation::Relu6 => [code(0.0), code(6.0)],
    }
}

/// Values by blocks of `LANES`; behind the last are zeros.
pub(super) fn blocks<N: Copy + Default>(values: &[N]) -> Vec<[N; LANES]> {
    let block = |values: &[N]| std::array::from_fn(|lane| values.get(lane).copied().unwrap_or_default());
    values.chunks(LANES).map(block).collect()
}

/// Input 2, where there is one, checked to have a value for each output.
fn bias(site: &Site, outputs: usize) -> Result<Option<Data>> {
    let Some(tensor) = site.optional(2) else { return Ok(None) };
    let data = site.constant(tensor)?;
    if data.len() == outputs {
        return Ok(Some(data));
    }
    Err(site.error(format!("its bias has {} values for {outputs} outputs", data.len())))
}

/// A bias on a grid of its own would be added wrongly: it must be on that of the products, within 2
/// % of an output step as in TensorFlow Lite.
fn expect_bias_scale(site: &Site, input: Grid, output: Grid, scales: &[f32]) -> Result<()> {
    let Some(Tensor { name, quantization: Some(quantization), .. }) = site.optional(2) else { return Ok(()) };
    let fits = quantization.scales.is_empty() || quantization.scales.len() == scales.len();
    let close = |(bias, weight): (&f32, &f32)| {
        (f64::from(input.scale) * f64::from(*weight) - f64::from(*bias)).abs() / f64::from(output.scale) <= 0.02
    };
    let zero = quantization.zero_points.iter().all(|zero_point| *zero_point == 0);
    if fits && zero && quantization.scales.iter().zip(scales).all(close) {
        return Ok(());
    }
    Err(site.error(format!("the scales of its bias {name:?} are not those of input · weights with zero point 0")))
}
