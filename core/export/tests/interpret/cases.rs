//! The operators with codes, each once or twice, small enough that their outputs can be pinned.

use crate::models::{Layer, convolution, plain, sum};
use pocketflow_export::deployed::Activation;
use pocketflow_export::tflite::model::DType::{Float32, Int8, Uint8};
use pocketflow_export::tflite::model::{Kind, Padding, TfliteModel};

const REAL: (f32, i64) = (1.0, 0);

/// Name and model of every case, in the order of the pinned outputs.
pub fn cases() -> Vec<(&'static str, TfliteModel)> {
    let layers = layers().into_iter();
    layers.chain(pools()).chain(rescaling()).chain(moving()).collect()
}

fn layers() -> Vec<(&'static str, TfliteModel)> {
    let by_channel = [0.01, 0.02, 0.005, 0.03, 0.015, 0.008];
    let conv = Kind::Conv2d { stride: [1, 1], padding: Padding::Valid, dilation: [1; 2], activation: Activation::None };
    let depthwise = |stride, padding, multiplier, activation| Kind::DepthwiseConv2d {
        stride: [stride; 2],
        padding,
        dilation: [1; 2],
        multiplier,
        activation,
    };
    vec![
        ("convolution int8", convolution()),
        (
            "convolution uint8",
            Layer {
                kind: conv,
                dtype: Uint8,
                input: (&[1, 4, 4, 2], (0.02, 120)),
                filter: (&[3, 2, 3, 2], &[0.013], 131),
                output: (&[1, 3, 2, 3], (0.08, 100)),
            }
            .model(),
        ),
        (
            "depthwise int8",
            Layer {
                kind: depthwise(2, Padding::Same, 2, Activation::Relu6),
                dtype: Int8,
                input: (&[1, 4, 4, 3], (0.04, 7)),
                filter: (&[1, 3, 3, 6], &by_channel, 0),
                output: (&[1, 2, 2, 6], (0.03, -90)),
            }
            .model(),
        ),
        (
            "depthwise uint8",
            Layer {
                kind: depthwise(1, Padding::Valid, 1, Activation::None),
                dtype: Uint8,
                input: (&[1, 3, 3, 4], (0.03, 99)),
                filter: (&[1, 2, 2, 4], &[0.011], 140),
                output: (&[1, 2, 2, 4], (0.05, 128)),
            }
            .model(),
        ),
        (
            "fully connected int8",
            Layer {
                kind: Kind::FullyConnected { activation: Activation::None },
                dtype: Int8,
                input: (&[2, 7], (0.05, 11)),
                filter: (&[4, 7], &by_channel[..4], 0),
                output: (&[2, 4], (0.4, -9)),
            }
            .model(),
        ),
        (
            "fully connected uint8",
            Layer {
                kind: Kind::FullyConnected { activation: Activation::None },
                dtype: Uint8,
                input: (&[1, 9], (0.02, 130)),
                filter: (&[5, 9], &[0.007], 117),
                output: (&[1, 5], (0.09, 60)),
            }
            .model(),
        ),
        ("sum int8", sum(Int8, &[1, 2, 2, 4], [(0.05, -3), (0.021, 12), (0.06, -20)], Activation::Relu)),
        ("sum uint8", sum(Uint8, &[1, 2, 2, 4], [(0.013, 101), (0.04, 88), (0.06, 97)], Activation::None)),
    ]
}

fn pools() -> Vec<(&'static str, TfliteModel)> {
    let (filter, stride) = ([3, 3], [2, 2]);
    let average = Kind::AveragePool2d { filter, stride, padding: Padding::Same, activation: Activation::Relu6 };
    let max = Kind::MaxPool2d { filter, stride, padding: Padding::Valid, activation: Activation::None };
    let axes: &[(&[usize], &[i32])] = &[(&[2], &[1, 2])];
    let image: &[usize] = &[1, 5, 6, 2];
    vec![
        ("average int8", plain(average.clone(), (image, Int8, (0.1, -7)), &[], (&[1, 3, 3, 2], Int8, (0.1, -7)))),
        ("average uint8", plain(average, (image, Uint8, (0.1, 93)), &[], (&[1, 3, 3, 2], Uint8, (0.1, 93)))),
        ("max int8", plain(max.clone(), (image, Int8, (0.1, -7)), &[], (&[1, 2, 2, 2], Int8, (0.1, -7)))),
        ("max uint8", plain(max, (image, Uint8, (0.1, 93)), &[], (&[1, 2, 2, 2], Uint8, (0.1, 93)))),
        (
            "mean int8",
            plain(Kind::Mean { keep_dims: false }, (image, Int8, (0.1, -7)), axes, (&[1, 2], Int8, (0.013, 5))),
        ),
        (
            "mean uint8",
            plain(Kind::Mean { keep_dims: true }, (image, Uint8, (0.1, 93)), axes, (&[1, 1, 1, 2], Uint8, (0.05, 99))),
        ),
    ]
}

fn rescaling() -> Vec<(&'static str, TfliteModel)> {
    let shape: &[usize] = &[1, 2, 2, 3];
    vec![
        (
            "softmax int8",
            plain(Kind::Softmax { beta: 1.0 }, (&[2, 6], Int8, (0.02, 4)), &[], (&[2, 6], Int8, (1.0 / 256.0, -128))),
        ),
        (
            "softmax uint8",
            plain(Kind::Softmax { beta: 0.7 }, (&[1, 9], Uint8, (0.03, 4)), &[], (&[1, 9], Uint8, (1.0 / 256.0, 0))),
        ),
        ("relu int8", plain(Kind::Relu, (shape, Int8, (0.05, -20)), &[], (shape, Int8, (0.031, -90)))),
        ("relu6 uint8", plain(Kind::Relu6, (shape, Uint8, (0.07, 60)), &[], (shape, Uint8, (0.0241, 3)))),
        ("quantize", plain(Kind::Quantize, (shape, Float32, REAL), &[], (shape, Int8, (0.113, 9)))),
        ("requantize", plain(Kind::Quantize, (shape, Int8, (0.05, -20)), &[], (shape, Uint8, (0.061, 121)))),
    ]
}

fn moving() -> Vec<(&'static str, TfliteModel)> {
    let image: &[usize] = &[1, 4, 3, 2];
    let grid = (0.1, -7);
    let slice: &[(&[usize], &[i32])] = &[(&[4], &[0, -1, 0, 0]), (&[4], &[1, 0, 3, 2]), (&[4], &[1, -2, 2, 1])];
    let paddings: &[(&[usize], &[i32])] = &[(&[4, 2], &[0, 0, 1, 0, 0, 0, 0, 1])];
    vec![
        (
            "strided slice",
            plain(
                Kind::StridedSlice { begin_mask: 1, end_mask: 9 },
                (image, Int8, grid),
                slice,
                (&[1, 2, 2, 2], Int8, grid),
            ),
        ),
        ("pad", plain(Kind::Pad, (&[1, 1, 2, 3], Int8, grid), paddings, (&[1, 2, 2, 4], Int8, grid))),
        (
            "reshape",
            plain(Kind::Reshape { shape: vec![1, -1] }, (&[1, 1, 2, 3], Int8, grid), &[], (&[1, 6], Int8, grid)),
        ),
    ]
}
