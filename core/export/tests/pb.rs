//! What a frozen GraphDef holds, read back from its bytes.

use pocketflow::affine::Affine;
use pocketflow::graph::{
    Add, Conv2d, GlobalAvgPool, Graph, GraphBuilder, Linear, MaxPool, Op, PadShortcut, Relu, Relu6, Role,
};
use pocketflow::integer::{Target, plan};
use pocketflow::model::{Model, ModelMeta};
use pocketflow::quant::{ActivationQuant, Buckets, QuantPlan};
use pocketflow_export::pb::{from_model, proto};
use pocketflow_resnet_cifar10::{Shortcut, resnet};
use proptest::prelude::*;
use prost::Message;
use std::collections::BTreeSet;

/// Weights that differ from each other; variances that are positive.
fn model(graph: Graph, plan: QuantPlan) -> Model {
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
    let channels = graph.input_shape()[0];
    let meta = ModelMeta { mean: vec![127.5; channels], std: vec![127.5; channels], ..ModelMeta::default() };
    Model::new(graph, plan, meta, values).unwrap()
}

/// The plan of an integer network, with ranges.
fn ranged(graph: &Graph, target: Target, bits: u32) -> QuantPlan {
    let mut plan = plan(graph, target, bits, 8);
    plan.activations.values_mut().for_each(|quant| quant.range = Some([-1.3, 2.2]));
    plan
}

fn conv(out: usize, kernel: usize, stride: usize, padding: [usize; 4], groups: usize) -> Op {
    Op::Conv2d(Conv2d { out, kernel: [kernel; 2], stride: [stride; 2], padding, dilation: [1; 2], groups, bias: true })
}

/// Every operator that a folded graph may hold.
fn every() -> Graph {
    let mut builder = GraphBuilder::new("every", [3, 9, 8]);
    let stem = builder.add("stem", conv(4, 3, 2, [1; 4], 1), &[0]);
    let stem = builder.add("stem/relu", Relu6, &[stem]);
    let depthwise = builder.add("depthwise", conv(4, 3, 1, [1; 4], 4), &[stem]);
    let sum = builder.add("sum", Add, &[depthwise, stem]);
    let sum = builder.relu("relu", sum);
    let pool = builder.add("pool", MaxPool { kernel: 3, stride: 2, padding: 1 }, &[sum]);
    let short = builder.add("short", PadShortcut { out: 7, stride: 2 }, &[pool]);
    let point = builder.add("point", conv(7, 1, 2, [0; 4], 1), &[pool]);
    let sum = builder.add("sum 2", Add, &[point, short]);
    let average = builder.add("average", GlobalAvgPool, &[sum]);
    builder.add("fc", Linear { out: 5, bias: true }, &[average]);
    builder.finish().unwrap()
}

fn decode(model: &Model) -> proto::Graph {
    let graph = proto::Graph::decode(from_model(model).unwrap().as_slice()).unwrap();
    well_formed(&graph);
    graph
}

/// That TensorFlow would take the names and finds every input.
fn well_formed(graph: &proto::Graph) {
    let mut names = BTreeSet::new();
    for node in &graph.node {
        let letters = node.name.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-/".contains(letter));
        assert!(letters && node.name.starts_with(|first: char| first.is_ascii_alphanumeric()), "{}", node.name);
        let missing = node.input.iter().find(|input| !names.contains(input.as_str()));
        assert_eq!(missing, None, "an input of {}", node.name);
        assert!(names.insert(node.name.as_str()), "{} twice", node.name);
    }
    assert_eq!(graph.versions.as_ref().unwrap().producer, 27);
    assert_eq!(graph.node.first().unwrap().op, "Placeholder");
    assert_eq!(graph.node.last().unwrap().name, "logits");
}

fn node<'a>(graph: &'a proto::Graph, name: &str) -> &'a proto::Node {
    graph.node.iter().find(|node| node.name == name).unwrap_or_else(|| panic!("no node {name}"))
}

fn attribute<'a>(node: &'a proto::Node, name: &str) -> &'a proto::Value {
    node.attr.get(name).and_then(|attribute| attribute.value.as_ref()).unwrap_or_else(|| panic!("no {name}"))
}

/// Shape and four-byte values of a constant.
fn constant(graph: &proto::Graph, name: &str) -> (Vec<i64>, Vec<[u8; 4]>) {
    let proto::Value::Tensor(tensor) = attribute(node(graph, name), "value") else { panic!("{name} is no constant") };
    let shape = tensor.tensor_shape.iter().flat_map(|shape| &shape.dim).map(|dim| dim.size).collect();
    (shape, tensor.tensor_content.chunks(4).map(|bytes| bytes.try_into().unwrap()).collect())
}

fn floats(graph: &proto::Graph, name: &str) -> Vec<f32> {
    constant(graph, name).1.into_iter().map(f32::from_le_bytes).collect()
}

fn ints(graph: &proto::Graph, name: &str) -> Vec<i32> {
    constant(graph, name).1.into_iter().map(i32::from_le_bytes).collect()
}

fn count(graph: &proto::Graph, op: &str) -> usize {
    graph.node.iter().filter(|node| node.op == op).count()
}

#[test]
fn every_operator_in_tensorflows_words() {
    let graph = decode(&model(every(), ranged(&every(), Target::Int8, 8)));
    let proto::Value::Shape(shape) = attribute(node(&graph, "input"), "shape") else { panic!() };
    assert_eq!(shape.dim.iter().map(|dim| dim.size).collect::<Vec<_>>(), [-1, 9, 8, 3]);

    // The height of 9 is padded by 1 and 1 as SAME, the width of 8 by 0 and 1: not what the graph
    // says.
    assert_eq!(ints(&graph, "stem/pad/sides"), [0, 0, 1, 1, 1, 1, 0, 0]);
    let stem = node(&graph, "stem/Conv2D");
    assert_eq!(stem.input, ["stem/pad", "stem/weight/quant"]);
    assert_eq!(attribute(stem, "padding"), &proto::Value::S(b"VALID".into()));
    assert_eq!(attribute(stem, "strides"), &proto::Value::List(proto::List { i: vec![1, 2, 2, 1] }));
    assert_eq!(node(&graph, "stem").op, "BiasAdd");
    assert_eq!(node(&graph, "stem/relu").op, "Relu6");
    assert_eq!(node(&graph, "stem/relu/quant").op, "FakeQuantWithMinMaxVars");

    let depthwise = node(&graph, "depthwise/DepthwiseConv2dNative");
    assert_eq!(depthwise.input, ["stem/relu/quant", "depthwise/kernel"]);
    assert_eq!(attribute(depthwise, "padding"), &proto::Value::S(b"SAME".into()));
    assert_eq!(constant(&graph, "depthwise/weight").0, [3, 3, 4]);
    assert_eq!(ints(&graph, "depthwise/kernel/shape"), [3, 3, 4, 1]);

    assert_eq!(node(&graph, "sum").input, ["depthwise/quant", "stem/relu/quant"]);
    assert_eq!(node(&graph, "pool").input, ["pool/pad"]);
    assert_eq!(floats(&graph, "pool/pad/value"), [f32::MIN]);
    assert_eq!(node(&graph, "short").input, ["short/pixels", "short/sides"]);
    assert_eq!(ints(&graph, "short/sides"), [0, 0, 0, 0, 0, 0, 1, 2]);
    assert_eq!(ints(&graph, "short/pixels/strides"), [1, 2, 2, 1]);
    assert_eq!(attribute(node(&graph, "point/Conv2D"), "padding"), &proto::Value::S(b"SAME".into()));
    assert_eq!(node(&graph, "sum_2").op, "AddV2");
    assert_eq!(node(&graph, "average").op, "Mean");
    assert_eq!(node(&graph, "fc/MatMul").input, ["average/quant", "fc/weight"]);
    assert_eq!(node(&graph, "logits").input, ["fc/quant"]);
}

#[test]
fn weights_lie_in_tensorflows_order() {
    let model = model(every(), QuantPlan::default());
    let graph = decode(&model);
    let (ours, theirs) = (model.values("stem.weight").unwrap(), floats(&graph, "stem/weight"));
    assert_eq!(constant(&graph, "stem/weight").0, [3, 3, 3, 4]);
    let [height, width, input, output] = [2, 1, 2, 3];
    assert_eq!(
        theirs[((height * 3 + width) * 3 + input) * 4 + output],
        ours[((output * 3 + input) * 3 + height) * 3 + width]
    );
    let (ours, theirs) = (model.values("fc.weight").unwrap(), floats(&graph, "fc/weight"));
    assert_eq!(constant(&graph, "fc/weight").0, [7, 5]);
    assert_eq!(theirs[6 * 5 + 2], ours[2 * 7 + 6]);
    assert_eq!(floats(&graph, "fc/bias"), model.values("fc.bias").unwrap());
}

#[test]
fn a_linear_layer_reads_an_image_pixel_by_pixel() {
    let mut builder = GraphBuilder::new("flat", [2, 3, 4]);
    builder.add("fc", Linear { out: 1, bias: false }, &[0]);
    let model = model(builder.finish().unwrap(), QuantPlan::default());
    let graph = decode(&model);
    assert_eq!(ints(&graph, "fc/row/shape"), [-1, 24]);
    let (ours, theirs) = (model.values("fc.weight").unwrap(), floats(&graph, "fc/weight"));
    let [channel, height, width] = [1, 2, 3];
    assert_eq!(theirs[(height * 4 + width) * 2 + channel], ours[(channel * 3 + height) * 4 + width]);
}

#[test]
fn fake_quantization_is_the_plans() {
    let ends = Affine::of_range([-1.3, 2.2], 8).ends();
    for target in [Target::Int8, Target::Uint8] {
        let graph = decode(&model(every(), ranged(&every(), target, 8)));
        let relu = node(&graph, "relu/quant");
        assert_eq!(attribute(relu, "num_bits"), &proto::Value::I(8));
        assert_eq!(attribute(relu, "narrow_range"), &proto::Value::B(false));
        assert_eq!([floats(&graph, "relu/quant/min"), floats(&graph, "relu/quant/max")].concat(), ends);
        assert_eq!(constant(&graph, "relu/quant/min").0, [0i64; 0], "TensorFlow wants scalars");
    }
    let int8 = decode(&model(every(), ranged(&every(), Target::Int8, 8)));
    assert_eq!(count(&int8, "FakeQuantWithMinMaxVarsPerChannel"), 3, "all but the fully connected layer");
    assert_eq!(constant(&int8, "stem/weight/quant/max").0, [4]);
    assert_eq!(count(&int8, "Mean"), 1);
    let uint8 = decode(&model(every(), ranged(&every(), Target::Uint8, 8)));
    assert_eq!(count(&uint8, "FakeQuantWithMinMaxVarsPerChannel"), 0);
    assert_eq!(node(&uint8, "fc/weight/quant").op, "FakeQuantWithMinMaxVars");
    assert_eq!(count(&uint8, "AvgPool"), 1, "it keeps the grid");
}

#[test]
fn what_tensorflow_cannot_say_is_a_constant() {
    let mut plan = QuantPlan::uniform(&every(), 6, 8, Buckets::Channel, true);
    let graph = decode(&model(every(), plan.clone()));
    assert_eq!(count(&graph, "FakeQuantWithMinMaxVars"), 0, "no ranges yet, and zero is not on the weights' grid");
    for (bits, expected) in [(1, 0), (2, 1), (16, 1), (17, 0)] {
        let quant = ActivationQuant { bits, range: Some([0.0, 3.0]) };
        plan.activations = [("relu".to_owned(), quant)].into();
        let graph = decode(&model(every(), plan.clone()));
        assert_eq!(count(&graph, "FakeQuantWithMinMaxVars"), expected, "{bits} bits");
    }
    assert_eq!(
        count(&decode(&model(every(), ranged(&every(), Target::Int8, 9))), "FakeQuantWithMinMaxVarsPerChannel"),
        0
    );
}

#[test]
fn residual_networks() {
    for (shortcut, convolutions, slices) in [(Shortcut::Projection, 21, 0), (Shortcut::Pad, 19, 2)] {
        let graph = resnet(20, shortcut, 10).unwrap();
        let graph = decode(&model(graph.clone(), ranged(&graph, Target::Int8, 8)));
        let counts = ["Conv2D", "StridedSlice", "AddV2", "MatMul"].map(|op| count(&graph, op));
        assert_eq!(counts, [convolutions, slices, 9, 1]);
        assert!(node(&graph, "conv1").op == "BiasAdd", "batch normalisation folded");
    }
}

#[test]
fn the_same_model_gives_the_same_bytes() {
    let model = model(every(), ranged(&every(), Target::Int8, 8));
    assert_eq!(from_model(&model).unwrap(), from_model(&model).unwrap());
}

/// The kernel `[height, width, in, out]` of a node of that name.
fn kernel_of(graph: Graph, name: &str) -> (Vec<i64>, Vec<f32>) {
    let file = from_model(&model(graph, QuantPlan::default())).unwrap();
    let file = proto::Graph::decode(&file[..]).unwrap();
    let node = file.node.iter().find(|node| node.name == format!("{name}/weight")).unwrap();
    let Some(proto::Value::Tensor(tensor)) = &node.attr["value"].value else { panic!("a constant") };
    let sizes = tensor.tensor_shape.as_ref().unwrap().dim.iter().map(|side| side.size).collect();
    let values = tensor.tensor_content.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
    (sizes, values.collect())
}

#[test]
fn groups_become_zeros_between_them() {
    let mut builder = GraphBuilder::new("grouped", [4, 4, 4]);
    builder.add("mixed", conv(6, 1, 1, [0; 4], 2), &[0]);
    let (sizes, values) = kernel_of(builder.finish().unwrap(), "mixed");
    assert_eq!(sizes, [1, 1, 4, 6]);
    for (index, value) in values.into_iter().enumerate() {
        let (input, output) = (index / 6, index % 6);
        assert_eq!(value != 0.0, input / 2 == output / 3, "{input} {output}");
    }
}

#[test]
fn a_dilated_depth_wise_kernel_has_zeros_between_its_pixels() {
    let mut builder = GraphBuilder::new("dilated", [2, 6, 6]);
    let op = Conv2d { groups: 2, dilation: [2, 1], ..Conv2d::new(2, [2, 2]) };
    builder.add("mixed", op, &[0]);
    let (sizes, values) = kernel_of(builder.finish().unwrap(), "mixed");
    assert_eq!(sizes, [3, 2, 2, 1]);
    for (index, value) in values.into_iter().enumerate() {
        assert_eq!(value != 0.0, index / 4 != 1, "{index}");
    }
}

#[test]
fn names_that_clash_are_told_apart() {
    let mut builder = GraphBuilder::new("clash", [4, 4, 4]);
    let first = builder.add("logits", Relu, &[0]);
    let second = builder.add("a b", conv(4, 1, 1, [0; 4], 1), &[first]);
    let third = builder.add("a_b", Relu, &[second]);
    builder.add("_", Relu, &[third]);
    let graph = decode(&model(builder.finish().unwrap(), QuantPlan::default()));
    assert_eq!(node(&graph, "logits_").op, "Relu");
    assert_eq!(node(&graph, "a_b_").op, "Relu");
    assert_eq!(node(&graph, "node_").op, "Relu");
}

proptest! {
    /// A grid of few bits lies on the one of 8 that is written: fake quantization leaves the
    /// weights as they are.
    #[test]
    fn weights_survive_their_fake_quantization(bits in 2u32..=8, uint8 in any::<bool>()) {
        let target = if uint8 { Target::Uint8 } else { Target::Int8 };
        let graph = decode(&model(every(), ranged(&every(), target, bits)));
        let (min, max) = (floats(&graph, "stem/weight/quant/min"), floats(&graph, "stem/weight/quant/max"));
        for (index, weight) in floats(&graph, "stem/weight").into_iter().enumerate() {
            let channel = index % min.len();
            let scale = (max[channel] - min[channel]) / 254.0;
            let code = (weight - min[channel]) / scale;
            prop_assert!((code - code.round()).abs() < 1e-3 && (-0.5..254.5).contains(&code), "{code}");
        }
    }
}
