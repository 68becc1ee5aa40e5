//! The uint8 file of a MobileNet-v1 is built like TensorFlow's own, where that is at hand.

use pocketflow::graph::{Conv2d, GlobalAvgPool, Linear, Op};
use pocketflow::integer::Target;
use pocketflow_export::deployed::{Activation, DeployedNet, Grid, Layer, Operator, Value, Weights};
use pocketflow_export::tflite::build::{finish, from_net};
use pocketflow_export::tflite::metadata::ImageMetadata;
use pocketflow_export::tflite::model::{DType, Tensor, TfliteModel};
use pocketflow_export::tflite::{read, write};
use pocketflow_tests::samples::sample;

/// TensorFlow's own file, where it is at hand.
fn original() -> Option<TfliteModel> {
    let path = sample("mobilenet_v1_0.25_128_quant.tflite")?;
    Some(read(&std::fs::read(path).unwrap()).unwrap())
}

/// Output channels and stride of each pair of layers after the first, at depth multiplier 0.25.
const PAIRS: [(usize, usize); 13] = [
    (16, 1),
    (32, 2),
    (32, 1),
    (64, 2),
    (64, 1),
    (128, 2),
    (128, 1),
    (128, 1),
    (128, 1),
    (128, 1),
    (128, 1),
    (256, 2),
    (256, 1),
];

struct Net(DeployedNet);

impl Net {
    /// The value's index.
    fn value(&mut self, name: &str, shape: [usize; 3], scale: f32, zero_point: i32) -> usize {
        self.0.values.push(Value { name: name.into(), shape, grid: Some(Grid { scale, zero_point }) });
        self.0.values.len() - 1
    }

    fn conv(&mut self, name: &str, from: usize, out: usize, kernel: usize, stride: usize, depthwise: bool) -> usize {
        let [height, width, channels] = self.0.values[from].shape;
        let depth = if depthwise { 1 } else { channels };
        let shape = [out, depth, kernel, kernel];
        let codes = vec![100; shape.iter().product()];
        // As TensorFlow's SAME pads even sizes.
        let before = stride % 2;
        let padding = if kernel == 1 { [0; 4] } else { [before, before, 1, 1] };
        let weights = Weights { shape, codes, scales: vec![0.01], zero_points: vec![120] };
        let layer = Layer::Integer { weights, bias: vec![0; out] };
        let groups = if depthwise { channels } else { 1 };
        let op =
            Conv2d { out, kernel: [kernel; 2], stride: [stride; 2], padding, dilation: [1; 2], groups, bias: true };
        let output = self.value(name, [height.div_ceil(stride), width.div_ceil(stride), out], 6.0 / 255.0, 0);
        self.push(name, op, Some(layer), from, output)
    }

    fn push(&mut self, name: &str, op: impl Into<Op>, layer: Option<Layer>, from: usize, output: usize) -> usize {
        let op = op.into();
        let activation = if matches!(op, Op::Conv2d(_)) { Activation::Relu6 } else { Activation::None };
        self.0.operators.push(Operator {
            name: name.into(),
            op,
            layer,
            inputs: vec![from],
            output,
            activation,
            constants: Vec::new(),
        });
        output
    }
}

fn mobilenet() -> DeployedNet {
    let mut net = Net(DeployedNet {
        name: "mobilenet_v1".into(),
        target: Target::Uint8,
        values: Vec::new(),
        operators: Vec::new(),
        input: 0,
        output: 0,
        mean: vec![127.5; 3],
        std: vec![127.5; 3],
    });
    let input = net.value("input", [128, 128, 3], 1.0 / 127.5, 128);
    let mut x = net.conv("conv_0", input, 8, 3, 2, false);
    for (index, (out, stride)) in PAIRS.into_iter().enumerate() {
        let channels = net.0.values[x].shape[2];
        x = net.conv(&format!("depthwise_{index}"), x, channels, 3, stride, true);
        x = net.conv(&format!("pointwise_{index}"), x, out, 1, 1, false);
    }
    let pool = net.value("pool", [1, 1, 256], 6.0 / 255.0, 0);
    net.push("pool", GlobalAvgPool, None, x, pool);
    let shape = [1001, 256, 1, 1];
    let weights = Weights { shape, codes: vec![100; 1001 * 256], scales: vec![0.01], zero_points: vec![94] };
    let logits = net.value("fc", [1, 1, 1001], 0.13, 96);
    let layer = Layer::Integer { weights, bias: vec![0; 1001] };
    net.push("fc", Linear { out: 1001, bias: true }, Some(layer), pool, logits);
    net.0.output = logits;
    net.0
}

/// What of a tensor is structure: shape, type, how many scales and zero points along which
/// dimension, whether there are ranges, and whether it is a constant.
fn structure(tensor: &Tensor) -> (Vec<usize>, DType, Option<[usize; 5]>, bool) {
    let quantization = tensor.quantization.as_ref();
    let counts =
        quantization.map(|grid| [grid.scales.len(), grid.zero_points.len(), grid.axis, grid.min.len(), grid.max.len()]);
    (tensor.shape.clone(), tensor.dtype, counts, tensor.data.is_some())
}

fn ours() -> TfliteModel {
    let mut model = from_net(&mobilenet()).unwrap();
    let labels = (0..1001).map(|class| format!("class {class}")).collect();
    let image = ImageMetadata {
        name: "MobileNet".into(),
        mean: vec![128.0; 3],
        std: vec![127.5; 3],
        labels,
        ..ImageMetadata::default()
    };
    finish(&mut model, image).unwrap();
    model
}

#[test]
fn is_built_like_the_original() {
    let Some(original) = original() else { return };
    let ours = read(&write(&ours()).unwrap()).unwrap();
    assert_eq!(ours.operators.len(), original.operators.len());
    for (index, (ours_at, theirs_at)) in ours.operators.iter().zip(&original.operators).enumerate() {
        assert_eq!(ours_at.kind, theirs_at.kind, "operator {index}");
        let tensors = |model: &TfliteModel, operator: &pocketflow_export::tflite::model::Operator| {
            let all = operator.inputs.iter().flatten().chain(&operator.outputs);
            all.map(|tensor| structure(&model.tensors[*tensor])).collect::<Vec<_>>()
        };
        assert_eq!(tensors(&ours, ours_at), tensors(&original, theirs_at), "operator {index}");
    }
    assert_eq!(ours.tensors.len(), original.tensors.len());
    let name = |model: &TfliteModel| model.tensors[model.inputs[0]].name.clone();
    assert_eq!(name(&ours), name(&original));
    let output = |model: &TfliteModel| model.tensors[model.outputs[0]].quantization.clone();
    assert_eq!(output(&ours), output(&original));
}

#[test]
fn the_original_says_what_it_takes() {
    let Some(original) = original() else { return };
    let image = ImageMetadata::of(&original).unwrap().unwrap();
    assert_eq!((image.mean, image.std, image.size), (vec![127.5], vec![127.5], None));
    assert_eq!((image.labels.len(), image.labels[0].as_str()), (1001, "background"));
    assert_eq!(read(&write(&original).unwrap()).unwrap(), original, "written again, it says the same");
}

#[test]
fn ours_says_what_it_takes() {
    let model = read(&write(&ours()).unwrap()).unwrap();
    let image = ImageMetadata::of(&model).unwrap().unwrap();
    assert_eq!((image.size, image.labels.len()), (Some([128, 128]), 1001));
    assert_eq!(model.signature.unwrap().inputs, [("input".to_owned(), 0)]);
    let mut model = ours();
    let wrong = ImageMetadata { labels: vec!["one".into()], ..ImageMetadata::default() };
    assert!(finish(&mut model, wrong).unwrap_err().to_string().contains("1 labels for 1001 classes"));
}
