use super::*;
use crate::deployed::{FloatWeights, Grid};
use pocketflow::graph::{Add, Conv2d, GlobalAvgPool, Graph, GraphBuilder, Linear};
use pocketflow::integer::plan;
use pocketflow::model::ModelMeta;
use pocketflow::quant::{Buckets, QuantPlan};

/// conv - bn - relu, [conv - bn] + relu, relu, pool, fc
fn graph() -> Graph {
    let mut builder = GraphBuilder::new("small", [3, 8, 8]);
    let conv = builder.conv("conv1", 0, 4, 3, 1, 1);
    let norm = builder.batch_norm("bn1", conv, 1e-5);
    let relu = builder.relu("relu1", norm);
    let conv = builder.conv("conv2", relu, 4, 3, 1, 1);
    let norm = builder.batch_norm("bn2", conv, 1e-5);
    let add = builder.add("add", Add, &[norm, relu]);
    let relu = builder.relu("relu2", add);
    let pool = builder.add("pool", GlobalAvgPool, &[relu]);
    builder.add("fc", Linear { out: 10, bias: true }, &[pool]);
    builder.finish().unwrap()
}

fn model(graph: Graph, plan: QuantPlan) -> Model {
    let mut state = 7u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32
    };
    let params = graph.params().unwrap();
    let values = params.into_iter().map(|param| {
        let count = param.shape.iter().product::<usize>();
        let lowest = if param.name.ends_with("running_var") { 0.5 } else { -0.5 };
        (param.name, (0..count).map(|_| lowest + next()).collect())
    });
    let values = values.collect();
    let channels = graph.input_shape()[0];
    let meta = ModelMeta { mean: vec![127.5; channels], std: vec![64.0; channels], ..ModelMeta::default() };
    Model::new(graph, plan, meta, values).unwrap()
}

fn all_ranges(model: &Model, target: Target) -> BTreeMap<String, [f32; 2]> {
    let open = without_range(model, target).unwrap();
    open.into_iter().map(|name| (name, [-1.0, 2.0])).collect()
}

#[test]
fn a_float_model_becomes_integers_with_ranges_and_leave() {
    let model = model(graph(), QuantPlan::default());
    let refused = lower(&model, Target::Int8, &BTreeMap::new(), false).unwrap_err().to_string();
    assert!(refused.ends_with("in float: conv1, conv2, fc"), "{refused}");
    let refused = lower(&model, Target::Int8, &BTreeMap::new(), true).unwrap_err().to_string();
    assert!(refused.contains("relu1, conv2, relu2, pool, fc"), "{refused}");

    let Lowered { net, layers } = lower(&model, Target::Int8, &all_ranges(&model, Target::Int8), true).unwrap();
    let names: Vec<&str> = net.operators.iter().map(|operator| operator.name.as_str()).collect();
    assert_eq!(names, ["conv1", "conv2", "add", "pool", "fc"]);
    let values: Vec<&str> = net.values.iter().map(|value| value.name.as_str()).collect();
    assert_eq!(values, ["input", "relu1", "conv2", "relu2", "pool", "fc"]);
    assert_eq!(net.operators[2].inputs, [2, 1]);
    assert_eq!(net.operators[2].activation, Activation::Relu);
    let zero_point = |value: usize| net.values[value].grid.unwrap().zero_point;
    assert_eq!((zero_point(0), net.values[0].shape), (0, [8, 8, 3]), "a pixel is a code");
    assert!(layers.iter().all(|note| note.weights == Fate::PostQuantized && note.weight_error < 0.01));
    // 0 … 2 and −1 … 2 as int8.
    assert_eq!(zero_point(1), -128 + 85);
}

#[test]
fn a_model_trained_on_the_targets_grids_stays_exact() {
    for target in [Target::Int8, Target::Uint8] {
        // As uniform-tf saves it: folded first, then quantized.
        let float = fold_model(&model(graph(), QuantPlan::default())).unwrap();
        let mut plan = plan(&float.graph, target, 8, 8);
        plan.activations.values_mut().for_each(|quant| quant.range = Some([-1.0, 3.0]));
        let values = float.tensors.keys().map(|name| (name.clone(), float.values(name).unwrap())).collect();
        let model = Model::new(float.graph.clone(), plan, float.meta.clone(), values).unwrap();
        let Lowered { net, layers } = lower(&model, target, &BTreeMap::new(), false).unwrap();
        assert!(layers.iter().all(|note| (note.weights, note.output) == (Fate::Exact, Fate::Exact)), "{layers:?}");
        let Some(Layer::Integer { weights, bias }) = &net.operators[0].layer else {
            panic!("a convolution comes first")
        };
        assert_eq!(weights.values(), model.values("conv1.weight").unwrap());
        let step = net.values[0].grid.unwrap().scale * weights.scale(0);
        assert!((bias[0] as f32 * step - model.values("conv1.bias").unwrap()[0]).abs() <= step);
        let pool = net.operators.iter().find(|operator| operator.name == "pool").unwrap();
        let same = net.values[pool.inputs[0]].grid == net.values[pool.output].grid;
        assert!(same || target == Target::Int8, "uint8 pools on its input's grid");
    }
}

#[test]
fn few_bits_after_a_relu_saturate_where_training_cut() {
    let mut plan = QuantPlan::uniform(&graph(), 4, 4, Buckets::Channel, true);
    plan.activations.values_mut().for_each(|quant| quant.range = Some([0.0, 3.0]));
    let model = model(graph(), plan);
    let lowered = lower(&model, Target::Int8, &all_ranges(&model, Target::Int8), true).unwrap();
    let relu = lowered.net.values.iter().find(|value| value.name == "relu1").unwrap();
    assert_eq!(relu.grid, Some(Grid { scale: 0.2, zero_point: 127 - 15 }));
    assert_eq!(lowered.layers[0].output, Fate::Exact);
    assert_eq!(lowered.layers[0].bits, 4);
}

#[test]
fn groups_are_integers() {
    let mut builder = GraphBuilder::new("grouped", [4, 8, 8]);
    let op =
        Conv2d { out: 4, kernel: [3; 2], stride: [1; 2], padding: [1; 4], dilation: [1; 2], groups: 2, bias: false };
    builder.add("conv", op, &[0]);
    let model = model(builder.finish().unwrap(), QuantPlan::default());
    let net = lower(&model, Target::Int8, &all_ranges(&model, Target::Int8), true).unwrap().net;
    let Some(Layer::Integer { weights, .. }) = &net.operators[0].layer else { panic!("integers go in and come out") };
    assert_eq!((weights.shape, weights.scales.len()), ([4, 2, 3, 3], 4));
}

#[test]
fn a_bias_too_large_for_its_grid_gets_room() {
    let mut made = model(graph(), QuantPlan::default());
    let weight = pocketflow::tensors::Stored::Full { shape: vec![10, 4], values: vec![1e-12; 40] };
    made.tensors.insert("fc.weight".into(), weight);
    let lowered = lower(&made, Target::Int8, &all_ranges(&made, Target::Int8), true).unwrap();
    let last = lowered.net.operators.last().unwrap();
    let Some(Layer::Integer { weights, bias }) = &last.layer else { panic!("the last is fully connected") };
    let step = lowered.net.values[last.inputs[0]].grid.unwrap().scale * weights.scale(0);
    let wanted = made.values("fc.bias").unwrap()[0];
    assert!((bias[0] as f32 * step - wanted).abs() < 1e-3 * wanted.abs(), "{} {wanted}", bias[0] as f32 * step);
}

/// conv1 - relu1 - conv2 - relu2, [conv3] + relu2, relu3, pool, fc
fn chain() -> Graph {
    let mut builder = GraphBuilder::new("chain", [3, 8, 8]);
    let mut last = 0;
    for index in 1..=2 {
        let conv = builder.conv(format!("conv{index}"), last, 4, 3, 1, 1);
        last = builder.relu(format!("relu{index}"), conv);
    }
    let conv = builder.conv("conv3", last, 4, 3, 1, 1);
    let add = builder.add("add", Add, &[conv, last]);
    let relu = builder.relu("relu3", add);
    let pool = builder.add("pool", GlobalAvgPool, &[relu]);
    builder.add("fc", Linear { out: 10, bias: true }, &[pool]);
    builder.finish().unwrap()
}

#[test]
fn what_training_left_in_float_stays_so() {
    let mut plan = QuantPlan::uniform(&chain(), 4, 8, Buckets::Channel, false);
    plan.activations.values_mut().for_each(|quant| quant.range = Some([0.0, 3.0]));
    let model = model(chain(), plan);
    let Lowered { net, layers } = lower(&model, Target::Int8, &BTreeMap::new(), false).unwrap();
    let on_grids: Vec<&str> =
        net.values.iter().filter(|value| value.grid.is_some()).map(|value| value.name.as_str()).collect();
    assert_eq!(on_grids, ["relu1", "relu2", "relu3"]);
    let notes: Vec<_> =
        layers.iter().map(|note| (note.name.as_str(), note.weights, note.output, note.integer)).collect();
    let expected = [
        ("conv1", Fate::Float, Fate::Exact, false),
        ("conv2", Fate::Requantized, Fate::Exact, true),
        ("conv3", Fate::Requantized, Fate::Float, false),
        ("fc", Fate::Float, Fate::Float, false),
    ];
    assert_eq!(notes, expected);
    let in_float: Vec<bool> = net.operators.iter().map(|operator| net.computes_in_float(operator).unwrap()).collect();
    assert_eq!(in_float, [true, false, true, true, true, true]);
    let layer = |index: usize| net.operators[index].layer.as_ref().unwrap();
    assert!(matches!(layer(0), Layer::Float { weights: FloatWeights::Values { .. }, .. }));
    assert!(matches!(layer(2), Layer::Float { weights: FloatWeights::Codes(_), .. }), "small in the file all the same");
    // With leave to, all of it becomes integers.
    let Lowered { net, .. } = lower(&model, Target::Int8, &all_ranges(&model, Target::Int8), true).unwrap();
    assert!(net.operators.iter().all(|operator| !net.computes_in_float(operator).unwrap()));
}

#[test]
fn more_bits_than_a_byte_are_named() {
    let mut plan = QuantPlan::uniform(&chain(), 4, 10, Buckets::Channel, false);
    plan.activations.values_mut().for_each(|quant| quant.range = Some([0.0, 3.0]));
    let error = lower(&model(chain(), plan), Target::Int8, &BTreeMap::new(), false).unwrap_err().to_string();
    assert!(error.contains("relu1 (10)"), "{error}");
    let mut plan = QuantPlan::uniform(&graph(), 12, FULL_PRECISION_BITS, Buckets::Layer, false);
    let error = lower(&model(graph(), plan.clone()), Target::Int8, &BTreeMap::new(), false).unwrap_err().to_string();
    assert!(error.contains("weights of conv2 (12)"), "{error}");
    plan.weights.values_mut().for_each(|quant| quant.bits = 8);
    assert!(lower(&model(graph(), plan), Target::Int8, &BTreeMap::new(), false).is_ok(), "weights alone");
    let plan = QuantPlan::uniform(&chain(), 4, 8, Buckets::Channel, false);
    let error = lower(&model(chain(), plan), Target::Int8, &BTreeMap::new(), false).unwrap_err().to_string();
    assert!(error.contains("no range: relu1, relu2, relu3"), "{error}");
}

#[test]
fn weights_that_are_no_numbers_are_refused() {
    let mut plan = QuantPlan::uniform(&chain(), 8, FULL_PRECISION_BITS, Buckets::Layer, false);
    for quantized in [true, false] {
        let mut made = model(chain(), plan.clone());
        let mut values = vec![0.5; 4 * 4 * 9];
        values[7] = f32::NAN;
        let weight = pocketflow::tensors::Stored::Full { shape: vec![4, 4, 3, 3], values };
        made.tensors.insert("conv2.weight".into(), weight);
        let error = lower(&made, Target::Int8, &BTreeMap::new(), false).unwrap_err().to_string();
        assert!(error.contains("`conv2`") && error.contains("not finite"), "{quantized}: {error}");
        plan.weights.remove("conv2");
    }
}
