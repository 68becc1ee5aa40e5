//! The input of a quantized file takes pixels as they are: where channels are normalised
//! differently, an operator of the file normalises them.

use super::builder::Builder;
use super::network::{dtype, lowest, quantization};
use crate::deployed::{Activation, DeployedNet, Grid, Value};
use crate::tflite::model::{DType, Kind, Padding, Quantization};
use pocketflow::error::{Error, Result};
use pocketflow::integer::{Target, alike, deployed_mean};

/// Of 255 pixel values, how far a grid may be off the pixels and still be theirs: far less than
/// half a pixel.
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

/// What the real values of a quantized file's input mean, as [`super::from_net`] builds it: the
/// mean and the standard deviation by channel, real = (pixel − mean) / std.
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

/// The mean and the standard deviation by channel that the integers of a quantized file really use:
/// what a program must use that normalises the image before it gives it to another file of the same
/// network. The network's own where the file takes floats.
pub fn deployed_normalisation(net: &DeployedNet) -> (Vec<f32>, Vec<f32>) {
    match (net.values.get(net.input).map(|value| value.grid), net.target) {
        (Some(Some(grid)), Target::Uint8) if !are_pixels(net, grid) => {
            let factors: Vec<f32> = net.std.iter().map(|std| 1.0 / std).collect();
            let (scales, codes) = common_grid(&factors);
            let channels = net.mean.iter().zip(&net.std).zip(codes);
            // A channel without a code reads nothing of the image, however it is normalised.
            let channel = |((mean, std), code): ((&f32, &f32), i32)| match f64::from(code) {
                0.0 => (*mean, *std),
                code => {
                    let offset = (f64::from(*mean) * code).round() / code;
                    (offset as f32, (1.0 / (f64::from(scales[0]) * code)) as f32)
                }
            };
            channels.map(channel).unzip()
        }
        (Some(Some(_)), _) => (deployed_mean(&net.mean, &net.std), net.std.clone()),
        _ => (net.mean.clone(), net.std.clone()),
    }
}

/// The file's input tensor, and the net's input value if that is another: pixels made real values
/// by a 1 × 1 depth-wise convolution.
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
    // Of the factor that the code stands for, so that the mean becomes zero whatever rounding did
    // to it.
    let bias = net.mean.iter().zip(&codes).map(|(mean, code)| (-f64::from(*mean) * f64::from(*code)).round() as i32);
    let bias = bias.flat_map(i32::to_le_bytes).collect();
    let zero_points = vec![0; scales.len()];
    let axis = if scales.len() > 1 { 3 } else { 0 };
    let of_bias = Quantization { scales: scales.clone(), zero_points: zero_points.clone(), ..Quantization::default() };
    let of_filter = Quantization { scales, zero_points, axis, ..Quantization::default() };
    let filter = builder.constant(format!("{name}/factors"), vec![1, 1, 1, channels], dtype, Some(of_filter), filter);
    let bias = builder.constant(format!("{name}/offsets"), vec![channels], DType::Int32, Some(of_bias), bias);
    let (stride, dilation) = ([1; 2], [1; 2]);
    let activation = Activation::None;
    let kind = Kind::DepthwiseConv2d { stride, padding: Padding::Same, dilation, multiplier: 1, activation };
    builder.operator(kind, &[input, filter, bias], output);
    Ok((input, output))
}

/// One scale for all factors and their codes, from 0 up: of the scales that make the largest factor
/// one of the upper codes, that which meets the others best.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployed::Operator;
    use crate::interpret::{Data, Interpreter};
    use pocketflow::affine::Affine;
    use pocketflow::graph::MaxPool;
    use pocketflow::integer::input_range;

    /// A network that gives its image, normalised as codes.
    fn identity(target: Target, mean: &[f32], std: &[f32]) -> DeployedNet {
        let grid = Affine::of_range(input_range(mean, std), 8);
        let grid = Grid { scale: grid.scale, zero_point: grid.zero_point + lowest(target) };
        let value = |name: &str| Value { name: name.into(), shape: [16, 16, 3], grid: Some(grid) };
        let operator = Operator {
            name: "pool".into(),
            op: MaxPool { kernel: 1, stride: 1, padding: 0 }.into(),
            layer: None,
            constants: Vec::new(),
            inputs: vec![0],
            output: 1,
            activation: Activation::None,
        };
        DeployedNet {
            name: "identity".into(),
            target,
            values: vec![value("input"), value("pool")],
            operators: vec![operator],
            input: 0,
            output: 1,
            mean: mean.to_vec(),
            std: std.to_vec(),
        }
    }

    /// Programs that normalise the image for an .onnx file must come to the codes that the .tflite
    /// file computes.
    #[test]
    fn the_deployed_normalisation_is_what_the_file_computes() {
        let normalisations = [([123.675, 116.28, 103.53], [58.395, 57.12, 57.375]), ([127.4; 3], [64.0; 3])];
        for (target, (mean, std)) in
            [Target::Int8, Target::Uint8].into_iter().flat_map(|target| normalisations.map(|each| (target, each)))
        {
            let net = identity(target, &mean, &std);
            let file = crate::tflite::build::from_net(&net).unwrap();
            let mut interpreter = Interpreter::new(&file).unwrap();
            let pixels: Vec<u8> = (0..=255_u8).flat_map(|pixel| [pixel; 3]).collect();
            let image = match target {
                Target::Int8 => Data::Int8(pixels.iter().map(|pixel| (pixel ^ 0x80).cast_signed()).collect()),
                Target::Uint8 => Data::Uint8(pixels.clone()),
            };
            // Not the file's output: a uint8 file ends in a softmax.
            let pool = file.tensors.iter().position(|tensor| tensor.name == "pool").unwrap();
            let mut codes: Vec<i32> = Vec::new();
            let mut keep = |tensor: usize, data: &Data| match data {
                Data::Int8(found) if tensor == pool => codes = found.iter().map(|code| i32::from(*code)).collect(),
                Data::Uint8(found) if tensor == pool => codes = found.iter().map(|code| i32::from(*code)).collect(),
                _ => {}
            };
            interpreter.run_watched(&[image], &mut keep).unwrap();
            assert_eq!(codes.len(), pixels.len());
            let grid = net.values[0].grid.unwrap();
            let (mean, std) = deployed_normalisation(&net);
            for (index, (pixel, code)) in pixels.iter().zip(&codes).enumerate() {
                let real = (f32::from(*pixel) - mean[index % 3]) / std[index % 3];
                let exact = (real / grid.scale + grid.zero_point as f32)
                    .clamp(lowest(target) as f32, (lowest(target) + 255) as f32);
                assert!((exact - *code as f32).abs() < 0.501, "{target:?}, pixel {pixel}: {code} for {exact}");
            }
        }
    }
}
