use super::*;
use pocketflow::graph::GraphBuilder;
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
    let add = builder.add("add", Op::Add, &[norm, relu]);
    let relu = builder.relu("relu2", add);
    let pool = builder.add("pool", Op::GlobalAvgPool, &[relu]);
    builder.add("fc", Op::Linear { out: 10, bias: true }, &[pool]);
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
    let meta = ModelMeta { mean: vec![127.5; 3], std: vec![64.0; 3], ..ModelMeta::default() };
    Model::new(graph, plan, meta, values).unwrap()
}

fn all_ranges(model: &Model, target: Target) -> BTreeMap<String, [f32; 2]> {
    let open = without_range(model, target, true).unwrap();
    open.into_iter().map(|name| (name, [-1.0, 2.0])).collect()
}

#[test]
fn a_float_model_becomes_integers_with_ranges_and_leave() {
    let model = model(graph(), QuantPlan::default());
    let refused = lower(&model, Target::Int8, &BTreeMap::new(), false).unwrap_err().to_string();
    assert!(refused.contains("conv1, conv2, fc") && refused.contains("--enbl_post_quant"), "{refused}");
    let refused = lower(&model, Target::Int8, &BTreeMap::new(), true).unwrap_err().to_string();
    assert!(refused.contains("relu1, conv2, relu2, pool, fc"), "{refused}");

    let Lowered { net, layers } = lower(&model, Target::Int8, &all_ranges(&model, Target::Int8), true).unwrap();
    let names: Vec<&str> = net.operators.iter().map(|operator| operator.name.as_str()).collect();
    assert_eq!(names, ["conv1", "conv2", "add", "pool", "fc"]);
    let values: Vec<&str> = net.values.iter().map(|value| value.name.as_str()).collect();
    assert_eq!(values, ["input", "relu1", "conv2", "relu2", "pool", "fc"]);
    assert_eq!(net.operators[2].inputs, [2, 1]);
    assert_eq!(net.operators[2].activation, Activation::Relu);
    assert_eq!((net.values[0].zero_point, net.values[0].shape), (0, [8, 8, 3]), "a pixel is a code");
    assert!(layers.iter().all(|note| note.weights == Fate::PostQuantized && note.weight_error < 0.01));
    // 0 … 2 and −1 … 2 as int8.
    assert_eq!(net.values[1].zero_point, -128 + 85);
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
        let Kind::Conv { weights, bias, .. } = &net.operators[0].kind else { panic!("a convolution comes first") };
        assert_eq!(weights.values(), model.values("conv1.weight").unwrap());
        let step = net.values[0].scale * weights.scale(0);
        assert!((bias[0] as f32 * step - model.values("conv1.bias").unwrap()[0]).abs() <= step);
        let pool = net.operators.iter().find(|operator| operator.name == "pool").unwrap();
        let same = net.values[pool.inputs[0]].scale == net.values[pool.output].scale;
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
    assert_eq!((relu.scale, relu.zero_point), (0.2, 127 - 15));
    assert_eq!(lowered.layers[0].output, Fate::Exact);
    assert_eq!(lowered.layers[0].bits, 4);
}

#[test]
fn what_integers_cannot_do_is_named() {
    let mut builder = GraphBuilder::new("grouped", [4, 8, 8]);
    let op = Op::Conv2d { out: 4, kernel: [3; 2], stride: [1; 2], padding: [1; 4], groups: 2, bias: false };
    builder.add("conv", op, &[0]);
    let model = model(builder.finish().unwrap(), QuantPlan::default());
    let error = lower(&model, Target::Int8, &all_ranges(&model, Target::Int8), true).unwrap_err().to_string();
    assert!(error.contains("`conv`") && error.contains("2 groups"), "{error}");
}

#[test]
fn a_bias_too_large_for_its_grid_gets_room() {
    let mut made = model(graph(), QuantPlan::default());
    let weight = pocketflow::tensors::Stored::Full { shape: vec![10, 4], values: vec![1e-12; 40] };
    made.tensors.insert("fc.weight".into(), weight);
    let lowered = lower(&made, Target::Int8, &all_ranges(&made, Target::Int8), true).unwrap();
    let last = lowered.net.operators.last().unwrap();
    let Kind::Linear { weights, bias } = &last.kind else { panic!("the last is fully connected") };
    let step = lowered.net.values[last.inputs[0]].scale * weights.scale(0);
    let wanted = made.values("fc.bias").unwrap()[0];
    assert!((bias[0] as f32 * step - wanted).abs() < 1e-3 * wanted.abs(), "{} {wanted}", bias[0] as f32 * step);
}
