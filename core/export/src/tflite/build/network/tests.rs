use super::*;
use crate::tflite::build::{from_net, normalisation};
use crate::tflite::model::TfliteModel;
use crate::tflite::{read, write};
use pocketflow::graph::{Add, Conv2d, GlobalAvgPool, Linear, Op};

fn value(name: &str, shape: [usize; 3], scale: f32, zero_point: i32) -> Value {
    Value { name: name.into(), shape, grid: Some(Grid { scale, zero_point }) }
}

fn operator(name: &str, op: impl Into<Op>, layer: Option<Layer>, inputs: &[usize], output: usize) -> Operator {
    let activation = Activation::None;
    let (name, op, inputs) = (name.into(), op.into(), inputs.to_vec());
    Operator { name, op, layer, constants: Vec::new(), inputs, output, activation }
}

fn weights(shape: [usize; 4], scales: usize) -> Weights {
    let count = shape.iter().product::<usize>();
    Weights {
        shape,
        codes: (0..count as i32).map(|code| code % 100).collect(),
        scales: (1..=scales).map(|scale| scale as f32 / 64.0).collect(),
        zero_points: vec![0; scales],
    }
}

/// Images of 4 × 4 pixels of 3 channels, a convolution, a sum with itself, a pool, a fully
/// connected layer.
fn net(target: Target, mean: [f32; 3], std: [f32; 3]) -> DeployedNet {
    let zero = lowest(target);
    let per_channel = |out: usize| if target == Target::Int8 { out } else { 1 };
    let pool = value("pool", [1, 1, 2], if target == Target::Int8 { 0.5 } else { 0.25 }, zero);
    let conv =
        Conv2d { out: 2, kernel: [3; 2], stride: [2; 2], padding: [1; 4], dilation: [1; 2], groups: 1, bias: true };
    let weights_of_conv = Layer::Integer { weights: weights([2, 3, 3, 3], per_channel(2)), bias: vec![1, -2] };
    let fc = Layer::Integer { weights: weights([5, 2, 1, 1], per_channel(5)), bias: vec![7; 5] };
    DeployedNet {
        name: "small".into(),
        target,
        values: vec![
            value("input", [4, 4, 3], 1.0 / 64.0, zero + 128),
            value("relu", [2, 2, 2], 0.125, zero),
            value("sum", [2, 2, 2], 0.25, zero),
            pool,
            value("fc", [1, 1, 5], 0.5, zero + 100),
        ],
        operators: vec![
            Operator { activation: Activation::Relu, ..operator("conv", conv, Some(weights_of_conv), &[0], 1) },
            operator("sum", Add, None, &[1, 1], 2),
            operator("pool", GlobalAvgPool, None, &[2], 3),
            operator("fc", Linear { out: 5, bias: true }, Some(fc), &[3], 4),
        ],
        input: 0,
        output: 4,
        mean: mean.to_vec(),
        std: std.to_vec(),
    }
}

fn outline(model: &TfliteModel) -> String {
    let kind = |operator: &crate::tflite::model::Operator| {
        let kind = format!("{:?}", operator.kind);
        kind.split([' ', '{']).next().unwrap_or_default().to_owned()
    };
    model.operators.iter().map(kind).collect::<Vec<_>>().join(" ")
}

#[test]
fn int8_is_per_channel_and_ends_in_logits() {
    let file = from_net(&net(Target::Int8, [128.0; 3], [64.0; 3])).unwrap();
    assert_eq!(outline(&file), "Pad Conv2d Add Mean FullyConnected");
    let tensor = |name: &str| file.tensors.iter().find(|tensor| tensor.name == name).unwrap();
    let grid = |name: &str| tensor(name).quantization.as_ref().unwrap();
    assert_eq!((tensor("input").dtype, &grid("input").zero_points[..]), (DType::Int8, &[0][..]));
    assert_eq!((tensor("conv.weight").shape.as_slice(), grid("conv.weight").axis), (&[2, 3, 3, 3][..], 0));
    assert_eq!(grid("conv.bias").scales, [1.0 / 4096.0, 2.0 / 4096.0]);
    assert_eq!((tensor("fc.weight").shape.as_slice(), grid("fc.weight").scales.len()), (&[5, 2][..], 5));
    assert_eq!((tensor("pool").shape.as_slice(), tensor("fc").shape.as_slice()), (&[1, 2][..], &[1, 5][..]));
    assert_eq!(read(&write(&file).unwrap()).unwrap(), file);
}

#[test]
fn uint8_is_per_tensor_and_ends_in_probabilities() {
    let file = from_net(&net(Target::Uint8, [128.0; 3], [64.0; 3])).unwrap();
    assert_eq!(outline(&file), "Pad Conv2d Add AveragePool2d Conv2d Reshape Softmax");
    let output = &file.tensors[file.outputs[0]];
    assert_eq!((output.dtype, output.shape.as_slice()), (DType::Uint8, &[1, 5][..]));
    let grid = output.quantization.as_ref().unwrap();
    assert_eq!((&grid.scales[..], &grid.zero_points[..]), (&[1.0 / 256.0][..], &[0][..]));
    assert_eq!(read(&write(&file).unwrap()).unwrap(), file);
}

#[test]
fn pixels_go_in_whatever_the_normalisation() {
    let (mean, std) = ([125.3, 123.0, 113.9], [63.0, 62.1, 66.7]);
    for target in [Target::Int8, Target::Uint8] {
        assert_eq!(normalisation(&net(target, [128.0; 3], [64.0; 3])), (vec![128.0; 3], vec![64.0; 3]));
        let net = net(target, mean, std);
        assert_eq!(normalisation(&net), (vec![0.0; 3], vec![1.0; 3]));
        let file = from_net(&net).unwrap();
        assert!(outline(&file).starts_with("DepthwiseConv2d Pad Conv2d"));
        let tensor = |name: &str| file.tensors.iter().find(|tensor| tensor.name == name).unwrap();
        let grid = |name: &str| tensor(name).quantization.as_ref().unwrap();
        assert_eq!((file.inputs[0], &tensor("input").name), (0, &file.tensors[0].name));
        assert_eq!((grid("input").scales[0], grid("input").zero_points[0]), (1.0, i64::from(lowest(target))));
        assert_eq!(grid("input/normalised").scales, [1.0 / 64.0]);
        let factors = grid("input/factors");
        let bias = tensor("input/offsets").data.as_ref().unwrap();
        for channel in 0..3 {
            let at = channel % factors.scales.len();
            let code = tensor("input/factors").data.as_ref().unwrap()[channel];
            let code = if target == Target::Int8 { i64::from(code as i8) } else { i64::from(code) };
            let factor = factors.scales[at] * (code - factors.zero_points[at]) as f32;
            let offset = i32::from_le_bytes(bytes_at(bias, channel)) as f32 * grid("input/offsets").scales[at];
            for pixel in [0.0, 100.0, 255.0] {
                let real = factor * pixel + offset;
                let wanted = (pixel - mean[channel]) / std[channel];
                assert!((real - wanted).abs() < 0.1 / 64.0, "{target:?} {channel} {pixel}: {real} {wanted}");
            }
        }
    }
}

fn bytes_at(data: &[u8], index: usize) -> [u8; 4] {
    data[4 * index..4 * index + 4].try_into().unwrap()
}

#[test]
fn a_grid_that_is_not_the_pixels_gets_the_operator_too() {
    let mut net = net(Target::Uint8, [128.0; 3], [64.0; 3]);
    net.values[0].grid = Some(Grid { scale: 1.0 / 64.0, zero_point: 100 });
    assert!(outline(&from_net(&net).unwrap()).starts_with("DepthwiseConv2d"));
}

#[test]
fn says_what_does_not_fit() {
    let message = |change: fn(&mut DeployedNet)| {
        let mut net = net(Target::Int8, [128.0; 3], [64.0; 3]);
        change(&mut net);
        from_net(&net).unwrap_err().to_string()
    };
    assert!(message(|net| net.operators[1].inputs[1] = 9).contains("cannot express `sum`: there is no value 9 of 5"));
    assert!(message(|net| net.operators[1].inputs[1] = 3).contains("read before"));
    assert!(message(|net| net.mean.clear()).contains("3 channels are normalised"));
    assert!(message(|net| net.values[3].shape = [1, 2, 1]).contains("fully connected to an image"));
    let weight = |code: i32| {
        let mut net = net(Target::Int8, [128.0; 3], [64.0; 3]);
        let Some(Layer::Integer { weights, .. }) = &mut net.operators[0].layer else { unreachable!() };
        weights.codes[0] = code;
        from_net(&net)
    };
    assert!(weight(-128).unwrap_err().to_string().contains("int8 cannot hold the weight -128"));
    weight(-127).unwrap();
}
