//! Networks that training left in float, wholly or in part, with the weights that it did quantize
//! as codes: what the files hold, and that they compute what the network does.

use pocketflow::graph::{Add, Conv2d, GlobalAvgPool, Graph, GraphBuilder, Linear, Relu6};
use pocketflow::integer::Target;
use pocketflow::model::{Model, ModelMeta};
use pocketflow::quant::{Buckets, QuantPlan};
use pocketflow_export::calibrate::{Calibration, Method};
use pocketflow_export::deployed::{FloatWeights, Layer, Lowered, lower};
use pocketflow_export::interpret::{Data, Interpreter};
use pocketflow_export::onnx::{self, OnnxInfo, proto};
use pocketflow_export::tflite::model::{DType, Kind, TfliteModel};
use pocketflow_export::tflite::{build, read, write};
use proptest::prelude::*;
use prost::Message;
use std::collections::BTreeMap;

/// stem - relu - [depth-wise - relu6] , pooled, [point] + itself narrowed, average, fc
fn graph() -> Graph {
    let mut builder = GraphBuilder::new("mixed", [3, 8, 8]);
    let stem = builder.conv("stem", 0, 8, 3, 1, 1);
    let stem = builder.relu("stem_relu", stem);
    let depthwise =
        Conv2d { out: 8, kernel: [3; 2], stride: [2; 2], padding: [1; 4], dilation: [1; 2], groups: 8, bias: false };
    let depthwise = builder.add("depthwise", depthwise, &[stem]);
    let six = builder.add("six", Relu6, &[depthwise]);
    let point = builder.conv("point", six, 8, 1, 1, 0);
    let point = builder.relu("point_relu", point);
    let last = builder.conv("last", point, 8, 3, 1, 1);
    let sum = builder.add("sum", Add, &[last, point]);
    let pool = builder.add("average", GlobalAvgPool, &[sum]);
    builder.add("fc", Linear { out: 5, bias: true }, &[pool]);
    builder.finish().unwrap()
}

fn noise(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn model(activation_bits: u32) -> Model {
    let mut plan = QuantPlan::uniform(&graph(), 6, activation_bits, Buckets::Channel, false);
    plan.activations.values_mut().for_each(|quant| quant.range = Some([0.0, 4.0]));
    let params = graph().params().unwrap().into_iter().enumerate();
    let values = params.map(|(index, param)| (param.name, noise(param.shape.iter().product(), index as u32)));
    let values = values.collect();
    let meta = ModelMeta { mean: vec![127.5; 3], std: vec![64.0; 3], ..ModelMeta::default() };
    Model::new(graph(), plan, meta, values).unwrap()
}

fn lowered(model: &Model, target: Target) -> Lowered {
    lower(model, target, &BTreeMap::new(), false).unwrap()
}

/// The model with the weights that the file holds.
fn as_exported(model: &Model, lowered: &Lowered) -> Model {
    let mut values: BTreeMap<String, Vec<f32>> =
        model.tensors.keys().map(|name| (name.clone(), model.values(name).unwrap())).collect();
    for operator in &lowered.net.operators {
        if let Some(Layer::Float { weights: FloatWeights::Codes(weights), .. }) = &operator.layer {
            values.insert(format!("{}.weight", operator.name), weights.values());
        }
    }
    Model::new(graph(), QuantPlan::default(), model.meta.clone(), values.into_iter().collect()).unwrap()
}

fn logits(model: &TfliteModel, image: &[f32]) -> Vec<f32> {
    let mut interpreter = Interpreter::new(model).unwrap();
    let Data::Float(logits) = interpreter.run(&[Data::Float(image.to_vec())]).unwrap().remove(0) else {
        panic!("the logits are floats")
    };
    logits
}

fn count(model: &TfliteModel, kind: &Kind) -> usize {
    model.operators.iter().filter(|operator| operator.kind == *kind).count()
}

#[test]
fn weights_alone_are_codes_in_the_file_and_nothing_else_changes() {
    let model = model(32);
    for target in [Target::Int8, Target::Uint8] {
        let lowered = lowered(&model, target);
        let file = build::from_net(&lowered.net).unwrap();
        let file = read(&write(&file).unwrap()).unwrap();
        assert_eq!((count(&file, &Kind::Quantize), count(&file, &Kind::Dequantize)), (0, 3), "three inner layers");
        let wanted = build::from_model(&as_exported(&model, &lowered)).unwrap();
        for seed in 0..4 {
            let image = noise(3 * 8 * 8, 99 + seed);
            for (found, wanted) in logits(&file, &image).iter().zip(logits(&wanted, &image)) {
                assert!((found - wanted).abs() <= 1e-5 * wanted.abs().max(1.0), "{target:?}: {found} {wanted}");
            }
        }
    }
}

#[test]
fn integers_where_both_ends_have_grids() {
    let lowered = lowered(&model(8), Target::Int8);
    let file = build::from_net(&lowered.net).unwrap();
    let file = read(&write(&file).unwrap()).unwrap();
    let types = |index: usize| {
        let operator = &file.operators[index];
        let tensor = |index: usize| file.tensors[index].dtype;
        (tensor(operator.inputs[0].unwrap()), tensor(operator.outputs[0]))
    };
    let layers = file.operators.iter().enumerate().filter(|(_, operator)| {
        matches!(operator.kind, Kind::Conv2d { .. } | Kind::DepthwiseConv2d { .. } | Kind::FullyConnected { .. })
    });
    let layers: Vec<_> = layers.map(|(index, _)| types(index)).collect();
    let (float, int8) = ((DType::Float32, DType::Float32), (DType::Int8, DType::Int8));
    assert_eq!(layers, [float, int8, int8, float, float], "stem, depthwise, point, last, fc");
    // Behind the stem; `last` reads point_relu in float, and so does the sum: decoded once.
    assert_eq!((count(&file, &Kind::Quantize), count(&file, &Kind::Dequantize)), (1, 2), "its weights and its input");
    let [input, output] =
        [file.inputs[0], file.outputs[0]].map(|index| (file.tensors[index].name.as_str(), file.tensors[index].dtype));
    assert_eq!((input, output), (("input", DType::Float32), ("fc", DType::Float32)));
    assert_eq!(
        build::normalisation(&lowered.net),
        (vec![127.5; 3], vec![64.0; 3]),
        "the image as the network takes it"
    );
}

/// With ranges that hold all values, 8 bits are all that is between the file and the network in
/// float.
#[test]
fn what_is_computed_in_both_is_what_the_network_does() {
    let mut model = model(8);
    let names: Vec<String> = model.plan.activations.keys().cloned().collect();
    let pixels: Vec<Vec<u8>> =
        (0..8).map(|seed| noise(3 * 8 * 8, seed).iter().map(|v| (127.5 + 127.0 * v) as u8).collect()).collect();
    let mut calibration = Calibration::new(&model, &names).unwrap();
    calibration.observe(&pixels, 1).unwrap();
    for (name, range) in calibration.ranges(Method::MinMax) {
        model.plan.activations.get_mut(&name).unwrap().range = Some(range);
    }
    let file = build::from_net(&lowered(&model, Target::Int8).net).unwrap();
    let float = build::from_model(&model).unwrap();
    for pixels in &pixels {
        let image: Vec<f32> = pixels.iter().map(|pixel| (f32::from(*pixel) - 127.5) / 64.0).collect();
        let (found, wanted) = (logits(&file, &image), logits(&float, &image));
        let scale = wanted.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        let gap = found.iter().zip(&wanted).map(|(found, wanted)| (found - wanted).abs()).fold(0.0, f32::max);
        assert!(gap > 0.0 && gap < 0.03 * scale, "{found:?} {wanted:?}");
    }
}

#[test]
fn onnx_has_pairs_where_there_are_grids() {
    let file = |bits: u32| {
        let lowered = lowered(&model(bits), Target::Int8);
        let bytes = onnx::from_net(&lowered.net, &OnnxInfo::default()).unwrap();
        proto::Model::decode(bytes.as_slice()).unwrap().graph.unwrap()
    };
    let count = |graph: &proto::Graph, op: &str| graph.node.iter().filter(|node| node.op_type() == op).count();
    let graph = file(32);
    assert_eq!(count(&graph, "QuantizeLinear"), 0);
    assert_eq!(count(&graph, "DequantizeLinear"), 3, "the weights of three layers");
    assert_eq!((count(&graph, "Relu"), count(&graph, "Clip"), count(&graph, "Identity")), (2, 1, 1));
    let graph = file(8);
    assert_eq!(count(&graph, "QuantizeLinear"), 3, "behind three activation functions");
    assert_eq!(count(&graph, "Relu"), 0, "where a grid saturates");
    assert_eq!(graph.node.last().unwrap().op_type(), "Identity", "logits in float");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    /// Constants are decoded before anything runs: a damaged file makes an error at most there too.
    #[test]
    fn damaged_files_run_or_are_refused(bits in prop::collection::vec((any::<prop::sample::Index>(), 0u8..8), 1..6)) {
        let mut bytes = write(&build::from_net(&lowered(&model(8), Target::Int8).net).unwrap()).unwrap();
        for (at, bit) in bits {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        let Ok(model) = read(&bytes) else { return Ok(()) };
        let values: usize = model.tensors.iter().map(|tensor| tensor.shape.iter().product::<usize>()).sum();
        let Ok(mut interpreter) = Interpreter::new(&model) else { return Ok(()) };
        if values < 1 << 20 {
            let _ = interpreter.run(&[Data::Float(vec![0.5; 3 * 8 * 8])]);
        }
    }
}
