//! The input of a quantized file takes pixels as they are: where channels are normalised differently, an operator of
//! the file normalises them.

use super::builder::Builder;
use super::network::{dtype, lowest, quantization};
use crate::deployed::{DeployedNet, Grid, Value};
use crate::tflite::model::{Activation, DType, Kind, Padding, Quantization};
use pocketflow::error::{Error, Result};
use pocketflow::integer::{Target, alike};

/// Of 255 pixel values, how far a grid may be off the pixels and still be theirs: far less than half a pixel.
const TOLERANCE: f32 = 1e-4;
/// Of every factor, each channel having a scale of its own.
const INT8_CODE: i32 = 127;

/// Whether the codes of the net's input are pixels already.
fn are_pixels(net: &DeployedNet, input: Grid) -> bool {
    let ([mean, ..], [std, ..]) = (&net.mean[..], &net.std[..]) else { return false };
    alike(&net.mean, &net.std)
        && (input.scale * std - 1.0).abs() < TOLERANCE
        && input.zero_point - lowest(net.target) == (mean + 0.5).floor().clamp(0.0, 255.0) as i32
}

/// What the real values of a quantized file's input mean, as [`super::from_net`] builds it: the mean and the
/// standard deviation by channel, real = (pixel − mean) / std.
pub fn normalisation(net: &DeployedNet) -> (Vec<f32>, Vec<f32>) {
    match net.values.get(net.input).map(|value| value.grid) {
        // It takes the image as the network does.
        Some(None) => (net.mean.clone(), net.std.clone()),
        Some(Some(grid)) if are_pixels(net, grid) => {
            let zero = (grid.zero_point - lowest(net.target)) as f32;
            (vec![zero; net.mean.len()], net.std.clone())
        }
        _ => (vec![0.0; net.mean.len()], vec![1.0; net.mean.len()]),
    }
}

/// The file's input tensor, and the net's input value if that is another: pixels made real values by a 1 × 1 depth-wise
/// convolution.
pub(super) fn input(builder: &mut Builder, net: &DeployedNet, value: &Value) -> Result<(usize, usize)> {
    let [height, width, channels] = value.shape;
    let shape = vec![1, height, width, channels];
    let (dtype, name) = (dtype(net.target), &value.name);
    let Some(grid) = value.grid else {
        let input = builder.value(name, shape, DType::Float32, None);
        return Ok((input, input));
    };
    if are_pixels(net, grid) {
        let input = builder.value(name, shape, dtype, Some(quantization(grid)));
        return Ok((input, input));
    }
    let usable = net.mean.len() == channels
        && net.std.len() == channels
        && net.mean.iter().chain(&net.std).all(|value| value.is_finite())
        && net.std.iter().all(|std| *std > 0.0);
    if !usable {
        let message = format!("the mean {:?} and the deviation {:?} of `{name}`", net.mean, net.std);
        return Err(Error::failed(format!("{message} do not say how its {channels} channels are normalised")));
    }
    let pixels =
        Quantization { scales: vec![1.0], zero_points: vec![i64::from(lowest(net.target))], ..Quantization::default() };
    let input = builder.value(name, shape.clone(), dtype, Some(pixels));
    let output = builder.value(format!("{name}/normalised"), shape, dtype, Some(quantization(grid)));
    let factors: Vec<f32> = net.std.iter().map(|std| 1.0 / std).collect();
    let (scales, codes) = match net.target {
        Target::Int8 => (factors.iter().map(|factor| factor / INT8_CODE as f32).collect(), vec![INT8_CODE; channels]),
        Target::Uint8 => common_grid(&factors),
    };
    let filter = codes.iter().map(|code| *code as u8).collect();
    // Of the factor that the code stands for, so that the mean becomes zero whatever rounding did to it.
    let bias = net.mean.iter().zip(&codes).map(|(mean, code)| (-f64::from(*mean) * f64::from(*code)).round() as i32);
    let bias = bias.flat_map(i32::to_le_bytes).collect();
    let zero_points = vec![0; scales.len()];
    let axis = if scales.len() > 1 { 3 } else { 0 };
    let of_bias = Quantization { scales: scales.clone(), zero_points: zero_points.clone(), ..Quantization::default() };
    let of_filter = Quantization { scales, zero_points, axis, ..Quantization::default() };
    let filter = builder.constant(format!("{name}/factors"), vec![1, 1, 1, channels], dtype, Some(of_filter), filter);
    let bias = builder.constant(format!("{name}/offsets"), vec![channels], DType::Int32, Some(of_bias), bias);
    let kind =
        Kind::DepthwiseConv2d { stride: [1; 2], padding: Padding::Same, multiplier: 1, activation: Activation::None };
    builder.operator(kind, &[input, filter, bias], output);
    Ok((input, output))
}

/// One scale for all factors and their codes, from 0 up: of the scales that make the largest factor one of the upper
/// codes, that which meets the others best.
fn common_grid(factors: &[f32]) -> (Vec<f32>, Vec<i32>) {
    let largest = factors.iter().copied().fold(0.0, f32::max);
    let code = |factor: f32, top: i32| (factor / largest * top as f32).round();
    let off = |top: i32| {
        let off = factors.iter().map(|factor| (code(*factor, top) / top as f32 - factor / largest).abs());
        off.fold(0.0, f32::max)
    };
    let top = (128..=255).rev().min_by(|a, b| off(*a).total_cmp(&off(*b))).unwrap_or(255);
    (vec![largest / top as f32], factors.iter().map(|factor| code(*factor, top) as i32).collect())
}
