//! What an .onnx file holds, read back from its bytes.

use pocketflow::graph::{
    Add, Conv2d, GlobalAvgPool, Graph, GraphBuilder, Linear, MaxPool, Op, PadShortcut, Relu6, Role,
};
use pocketflow::integer::{Target, plan};
use pocketflow::model::{Model, ModelMeta};
use pocketflow::quant::QuantPlan;
use pocketflow_export::deployed::{Activation, DeployedNet, Grid, Layer, Operator, Value, Weights, lower};
use pocketflow_export::onnx::{OnnxInfo, from_model, from_net, proto};
use pocketflow_resnet_cifar10::{Shortcut, resnet};
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};

fn info() -> OnnxInfo {
    OnnxInfo { labels: vec!["cat".into(), "\"dog\"".into()], source: "a test".into() }
}

fn weights(shape: [usize; 4], target: Target) -> Weights {
    let codes = (0..shape.iter().product::<usize>() as i32).map(|code| code % 100).collect();
    match target {
        Target::Int8 => Weights { shape, codes, scales: vec![0.5; shape[0]], zero_points: vec![0; shape[0]] },
        Target::Uint8 => Weights { shape, codes, scales: vec![0.5], zero_points: vec![7] },
    }
}

/// Every kind of operator; zero points as the target has them, plus `lift` for those of activation
/// functions.
fn every(target: Target, lift: i32) -> DeployedNet {
    let low = if target == Target::Int8 { -128 } else { 0 };
    let value = |name: &str, [height, width, channels]: [usize; 3], scale: f32, zero: i32| Value {
        name: name.into(),
        shape: [height, width, channels],
        grid: Some(Grid { scale, zero_point: low + zero }),
    };
    let values = vec![
        value("input", [8, 8, 3], 0.02, 100),
        value("relu", [4, 4, 4], 0.25, lift),
        value("depthwise", [4, 4, 4], 6.0 / 255.0, lift),
        value("sum", [4, 4, 4], 0.03, 120),
        value("pool", [2, 2, 4], 0.03, 120),
        value("short", [1, 1, 7], 0.03, 120),
        value("average", [1, 1, 7], 0.01, 90),
        value("relu6", [1, 1, 7], 0.02, 3),
        value("fc", [1, 1, 2], 0.5, 128),
    ];
    let operator = |name: &str, (op, layer): (Op, Option<Layer>), inputs: &[usize], output, activation| Operator {
        name: name.into(),
        op,
        layer,
        constants: Vec::new(),
        inputs: inputs.to_vec(),
        output,
        activation,
    };
    let conv = |shape: [usize; 4], stride: usize, padding, groups| {
        let [out, _, height, width] = shape;
        let op =
            Conv2d { out, kernel: [height, width], stride: [stride; 2], padding, dilation: [1; 2], groups, bias: true };
        (op.into(), Some(Layer::Integer { weights: weights(shape, target), bias: (0..out as i32).collect() }))
    };
    let fc = Layer::Integer { weights: weights([2, 7, 1, 1], target), bias: vec![-5, 6] };
    let fc = (Linear { out: 2, bias: true }.into(), Some(fc));
    let plain = |op: Op| (op, None);
    let shortcut = plain(PadShortcut { out: 7, stride: 2 }.into());
    let pool = plain(MaxPool { kernel: 3, stride: 2, padding: 1 }.into());
    let operators = vec![
        operator("conv", conv([4, 3, 3, 3], 2, [0, 1, 1, 0], 1), &[0], 1, Activation::Relu),
        operator("depthwise", conv([4, 1, 3, 3], 1, [1; 4], 4), &[1], 2, Activation::Relu6),
        operator("sum", plain(Add.into()), &[2, 1], 3, Activation::None),
        operator("pool", pool, &[3], 4, Activation::None),
        operator("short", shortcut, &[4], 5, Activation::None),
        operator("average", plain(GlobalAvgPool.into()), &[5], 6, Activation::None),
        operator("relu6", plain(Relu6.into()), &[6], 7, Activation::Relu6),
        operator("fc", fc, &[7], 8, Activation::None),
    ];
    let [mean, std] = [vec![125.3, 123.0, 113.9], vec![63.0; 3]];
    DeployedNet { name: "every".into(), target, values, operators, input: 0, output: 8, mean, std }
}

/// The graph of a file, checked to be one that a runtime can load.
fn decode(bytes: &[u8]) -> proto::Graph {
    let model = proto::Model::decode(bytes).unwrap();
    assert_eq!(model.ir_version, Some(7));
    let opset = &model.opset_import[0];
    assert_eq!((opset.domain.as_deref(), opset.version), (Some(""), Some(13)));
    let graph = model.graph.unwrap();
    let mut names: BTreeSet<&str> = ["input"].into();
    for tensor in &graph.initializer {
        assert!(names.insert(tensor.name.as_deref().unwrap()), "{:?} twice", tensor.name);
    }
    for node in &graph.node {
        let missing = node.input.iter().find(|input| !names.contains(input.as_str()));
        assert_eq!(missing, None, "an input of {:?}", node.name);
        assert!(node.output.iter().all(|output| names.insert(output)), "{:?} twice", node.output);
    }
    assert!(names.contains("logits"));
    graph
}

fn node<'a>(graph: &'a proto::Graph, name: &str) -> &'a proto::Node {
    let found = graph.node.iter().find(|node| node.name.as_deref() == Some(name));
    found.unwrap_or_else(|| panic!("no node {name}"))
}

fn op<'a>(graph: &'a proto::Graph, name: &str) -> &'a str {
    node(graph, name).op_type.as_deref().unwrap()
}

fn ints(graph: &proto::Graph, name: &str, attribute: &str) -> Vec<i64> {
    let found = node(graph, name).attribute.iter().find(|found| found.name.as_deref() == Some(attribute));
    let found = found.unwrap_or_else(|| panic!("no {attribute}"));
    found.i.into_iter().chain(found.ints.iter().copied()).collect()
}

fn tensor<'a>(graph: &'a proto::Graph, name: &str) -> &'a proto::Tensor {
    let found = graph.initializer.iter().find(|tensor| tensor.name.as_deref() == Some(name));
    found.unwrap_or_else(|| panic!("no tensor {name}"))
}

fn bytes<'a>(graph: &'a proto::Graph, name: &str) -> &'a [u8] {
    tensor(graph, name).raw_data.as_deref().unwrap()
}

fn floats(graph: &proto::Graph, name: &str) -> Vec<f32> {
    bytes(graph, name).chunks(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

fn count(graph: &proto::Graph, op: &str) -> usize {
    graph.node.iter().filter(|node| node.op_type.as_deref() == Some(op)).count()
}

fn extents(values: &[proto::ValueInfo]) -> Vec<proto::Extent> {
    let shape = values[0].r#type.as_ref().unwrap().tensor_type.as_ref().unwrap().shape.as_ref().unwrap();
    shape.dim.iter().map(|dim| dim.value.clone().unwrap()).collect()
}

#[test]
fn input_output_and_meta_data() {
    let file = from_net(&every(Target::Int8, 0), &info()).unwrap();
    let graph = decode(&file);
    let batch = proto::Extent::Symbol("N".into());
    let sizes = |sizes: &[i64]| sizes.iter().map(|size| proto::Extent::Size(*size)).collect::<Vec<_>>();
    assert_eq!(extents(&graph.input), [vec![batch.clone()], sizes(&[3, 8, 8])].concat());
    assert_eq!(extents(&graph.output), [vec![batch], sizes(&[2])].concat());
    let metadata = proto::Model::decode(file.as_slice()).unwrap().metadata_props;
    let metadata: Vec<(&str, &str)> =
        metadata.iter().map(|pair| (pair.key.as_deref().unwrap(), pair.value.as_deref().unwrap())).collect();
    let expected = [
        ("labels", r#"["cat","\"dog\""]"#),
        ("mean", "125.3,123,113.9"),
        ("std", "63,63,63"),
        ("source", "a test"),
        ("quantization", "int8"),
    ];
    assert_eq!(metadata, expected);
}

#[test]
fn values_are_uint8_whatever_the_target() {
    for target in [Target::Int8, Target::Uint8] {
        let graph = decode(&from_net(&every(target, 0), &info()).unwrap());
        assert_eq!(bytes(&graph, "input/codes.zero_point"), [100], "int8's -28 is uint8's 100");
        assert_eq!(tensor(&graph, "relu/codes.zero_point").data_type(), proto::DataType::Uint8);
        let expected = if target == Target::Int8 { proto::DataType::Int8 } else { proto::DataType::Uint8 };
        assert_eq!(tensor(&graph, "conv.weight").data_type(), expected);
        assert_eq!(tensor(&graph, "conv.weight").dims, [4, 3, 3, 3]);
        assert_eq!(tensor(&graph, "fc.weight").dims, [2, 7]);
        assert_eq!(tensor(&graph, "conv.bias").data_type(), proto::DataType::Int32);
        let scales = if target == Target::Int8 { 4 } else { 1 };
        assert_eq!(floats(&graph, "conv.bias.scale"), vec![0.02 * 0.5; scales]);
        assert_eq!(tensor(&graph, "conv.weight.scale").dims.len(), if scales == 1 { 0 } else { 1 }, "scalar or list");
    }
}

#[test]
fn the_form_that_becomes_integer_kernels() {
    let graph = decode(&from_net(&every(Target::Int8, 0), &info()).unwrap());
    let conv = node(&graph, "conv");
    assert_eq!(conv.input, ["conv/input", "conv/weight", "conv/bias"]);
    assert_eq!(ints(&graph, "conv", "pads"), [0, 1, 1, 0]);
    assert_eq!(ints(&graph, "conv", "strides"), [2, 2]);
    assert_eq!(ints(&graph, "conv", "group"), [1]);
    assert_eq!(ints(&graph, "depthwise", "group"), [4]);
    assert_eq!(node(&graph, "relu/codes").input[0], "conv", "a grid from zero is the activation function");
    assert_eq!(node(&graph, "sum").input, ["sum/depthwise", "sum/relu"]);
    assert_eq!(ints(&graph, "conv/weight", "axis"), [0]);
    assert_eq!(node(&graph, "pool").input, ["sum/codes"], "moved as codes");
    assert_eq!(ints(&graph, "pool", "pads"), [1, 1, 1, 1]);
    assert_eq!(op(&graph, "short"), "Pad");
    assert_eq!(bytes(&graph, "short/zero"), [120]);
    assert_eq!(op(&graph, "short/pixels"), "Slice");
    assert_eq!((op(&graph, "average"), op(&graph, "fc")), ("GlobalAveragePool", "Gemm"));
    assert_eq!(op(&graph, "fc/row"), "Flatten");
    assert_eq!(op(&graph, "logits"), "DequantizeLinear");
    assert_eq!(count(&graph, "Relu"), 0);
}

#[test]
fn activation_functions_that_saturation_does_not_do() {
    let implied = decode(&from_net(&every(Target::Uint8, 0), &info()).unwrap());
    assert_eq!(count(&implied, "Clip"), 1, "only that of its own");
    let six = bytes(&implied, "relu6/clipped.high")[0];
    assert_eq!((bytes(&implied, "relu6/clipped.low"), i32::from(six)), (&[3u8][..], 255), "6 is beyond the codes");
    let lifted = decode(&from_net(&every(Target::Int8, 10), &info()).unwrap());
    assert_eq!(count(&lifted, "Clip"), 3);
    assert_eq!(node(&lifted, "relu/clipped").input, ["relu/codes", "relu/clipped.low", "relu/clipped.high"]);
    assert_eq!((bytes(&lifted, "relu/clipped.low"), bytes(&lifted, "relu/clipped.high")), (&[10u8][..], &[255u8][..]));
    let mut narrow = every(Target::Uint8, 0);
    narrow.values[2].grid = Some(Grid { scale: 0.1, zero_point: 0 });
    let narrow = decode(&from_net(&narrow, &info()).unwrap());
    assert_eq!(
        (bytes(&narrow, "depthwise/clipped.low"), bytes(&narrow, "depthwise/clipped.high")),
        (&[0u8][..], &[60u8][..])
    );
}

#[test]
fn an_average_that_keeps_its_grid_rounds_halves_up_as_tflite_does() {
    let scale = |target: Target, zero_point: i32, output: f32| {
        let mut net = every(target, 0);
        let low = if target == Target::Int8 { -128 } else { 0 };
        let grid = |scale| Some(Grid { scale, zero_point: low + zero_point });
        (net.values[5].grid, net.values[6].grid) = (grid(0.03), grid(output));
        floats(&decode(&from_net(&net, &info()).unwrap()), "average/codes.scale")[0]
    };
    let less = scale(Target::Uint8, 0, 0.03);
    // Of 255 codes far less than the step between the averages of a pool, and more than rounding in
    // f32.
    assert!(less < 0.03 && less > 0.03 * (1.0 - 2e-6), "{less}");
    assert_eq!(scale(Target::Uint8, 120, 0.03), 0.03, "halves below zero would go down");
    assert_eq!(scale(Target::Uint8, 0, 0.01), 0.01, "another grid");
    assert_eq!(scale(Target::Int8, 0, 0.03), 0.03, "a mean of its own");
}

#[test]
fn what_does_not_fit_is_refused() {
    let refuse = |spoil: &dyn Fn(&mut DeployedNet)| {
        let mut net = every(Target::Int8, 0);
        spoil(&mut net);
        from_net(&net, &info()).unwrap_err().to_string()
    };
    let weights = |net: &mut DeployedNet, spoil: &dyn Fn(&mut Weights)| match &mut net.operators[0].layer {
        Some(Layer::Integer { weights, .. }) => spoil(weights),
        _ => unreachable!("it is a convolution"),
    };
    let message = refuse(&|net| weights(net, &|weights| weights.codes[0] = 128));
    assert!(message.contains("`conv`") && message.contains("no int8"), "{message}");
    let message = refuse(&|net| weights(net, &|weights| weights.codes.truncate(5)));
    assert!(message.contains("5 values do not make the shape"), "{message}");
    let message = refuse(&|net| weights(net, &|weights| weights.scales.truncate(3)));
    assert!(message.contains("3 scales"), "{message}");
    let grid = |scale, zero_point| Some(Grid { scale, zero_point });
    assert!(refuse(&|net| net.values[1].grid = grid(0.25, 128)).contains("`relu`"));
    assert!(refuse(&|net| net.values[1].grid = grid(f32::NAN, -128)).contains("scale of value `relu`"));
    assert!(refuse(&|net| net.values[1].grid = None).contains("weights for integers"));
    assert!(refuse(&|net| net.output = 99).contains("99"));
    assert!(refuse(&|net| net.operators[0].output = 99).contains("99"));
    assert!(refuse(&|net| net.operators[2].inputs = vec![1]).contains("2 inputs"));
    assert!(refuse(&|net| net.operators.swap(0, 1)).contains("before it is written"));
}

/// A model with weights that differ from each other, and ranges for all values.
fn model(graph: Graph, quant: QuantPlan) -> Model {
    let mut quant = quant;
    quant.activations.values_mut().for_each(|quant| quant.range = Some([-1.0, 3.0]));
    let mut count = 0u32;
    let mut next = |role: Role| {
        count = count.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let value = (count >> 8) as f32 / (1 << 23) as f32 - 1.0;
        if role == Role::RunningVar { value.abs() + 0.5 } else { value }
    };
    let params = graph.params().unwrap().into_iter();
    let values = params.map(|param| {
        let values = (0..param.shape.iter().product::<usize>()).map(|_| next(param.role)).collect();
        (param.name, values)
    });
    let values = values.collect();
    let meta = ModelMeta { mean: vec![127.5; 3], std: vec![127.5; 3], stand_in: true, ..ModelMeta::default() };
    Model::new(graph, quant, meta, values).unwrap()
}

#[test]
fn residual_networks() {
    for (shortcut, convolutions, slices) in [(Shortcut::Projection, 21, 0), (Shortcut::Pad, 19, 2)] {
        let graph = resnet(20, shortcut, 10).unwrap();
        for target in [Target::Int8, Target::Uint8] {
            let folded = pocketflow::fold::fold_graph(&graph).unwrap().graph;
            let model = model(folded.clone(), plan(&folded, target, 8, 8));
            let net = lower(&model, target, &BTreeMap::new(), false).unwrap().net;
            let integer = decode(&from_net(&net, &OnnxInfo::of(&model)).unwrap());
            let counts = ["Conv", "Slice", "Add", "Gemm", "Relu"].map(|op| count(&integer, op));
            assert_eq!(counts, [convolutions, slices, 9, 1, 0]);
        }
        let float = decode(&from_model(&model(graph, QuantPlan::default()), &info()).unwrap());
        let counts = ["Conv", "Slice", "Add", "Gemm", "Relu"].map(|op| count(&float, op));
        assert_eq!(counts, [convolutions, slices, 9, 1, 19], "and no batch normalisation: {}", float.node.len());
    }
}

#[test]
fn a_float_model() {
    let mut builder = GraphBuilder::new("float", [3, 6, 6]);
    let conv = builder.conv("conv", 0, 4, 3, 2, 1);
    let relu = builder.add("logits", Relu6, &[conv]);
    let pool = builder.add("pool", MaxPool { kernel: 2, stride: 1, padding: 0 }, &[relu]);
    let wide = builder.add("wide", Linear { out: 4, bias: false }, &[pool]);
    let average = builder.add("average", GlobalAvgPool, &[relu]);
    let sum = builder.add("sum", Add, &[wide, average]);
    builder.add(
        "point",
        Conv2d { out: 2, kernel: [1; 2], stride: [1; 2], padding: [0; 4], dilation: [1; 2], groups: 1, bias: true },
        &[sum],
    );
    let graph = builder.finish().unwrap();
    let model = model(graph.clone(), plan(&graph, Target::Int8, 4, 8));
    let onnx = decode(&from_model(&model, &OnnxInfo::of(&model)).unwrap());
    assert_eq!(floats(&onnx, "conv.weight"), model.values("conv.weight").unwrap(), "Q(x)");
    assert_eq!((op(&onnx, "conv"), op(&onnx, "logits/activation")), ("Conv", "Clip"));
    assert_eq!(op(&onnx, "wide/row"), "Flatten");
    assert_eq!(node(&onnx, "sum").input, ["sum/image", "average"]);
    assert_eq!((op(&onnx, "logits"), node(&onnx, "logits").input[0].as_str()), ("Flatten", "point"));
    assert!(OnnxInfo::of(&model).source.contains("stand-in"));
}
