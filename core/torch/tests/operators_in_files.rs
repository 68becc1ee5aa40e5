//! Every operator as it is trained and as files compute it: in float, and under the quantization of
//! `uniform` and `uniform-tf`, by the reference interpreter.

use pocketflow::graph::{Dropout, Graph, GraphBuilder, Linear, Op};
use pocketflow::integer::Target;
use pocketflow::model::{Model, ModelMeta};
use pocketflow::quant::{Buckets, QuantPlan};
use pocketflow_export::deployed::{DeployedNet, lower};
use pocketflow_export::interpret::Interpreter;
use pocketflow_export::tflite::build;
use pocketflow_export::tflite::model::TfliteModel;
use pocketflow_testing::operators::{self, CHANNELS, SIZE};
use pocketflow_torch::engine::Engine;
use pocketflow_torch::kernels::Generator;
use pocketflow_torch::loss::cross_entropy;
use pocketflow_torch::network::{Integers, Mode, Network, Weights};
use pocketflow_torch::optimizer::{Optimizer, Rule};
use std::collections::BTreeMap;
use tch::{Device, Kind, Tensor};

const IMAGES: i64 = 8;
const CLASSES: i64 = 5;
const MEAN: [f32; CHANNELS] = [128.0; CHANNELS];
const STD: [f32; CHANNELS] = [64.0; CHANNELS];

fn networks() -> Vec<Graph> {
    [operators::each(), operators::convolutions(), operators::pools(), operators::blocks()].concat()
}

/// Whole pixels, normalised: `[n, c, h, w]`.
fn images(seed: u64) -> Tensor {
    let drawn = Generator::new(seed).unwrap().uniform(&[IMAGES, CHANNELS as i64, SIZE as i64, SIZE as i64]).unwrap();
    ((drawn * 256.0).floor() - 128.0) / 64.0
}

fn initial(graph: &Graph) -> BTreeMap<String, Vec<f32>> {
    tch::set_num_threads(1);
    Network::initialised(&Engine::cpu(), graph, 3).unwrap().values().unwrap()
}

/// Some steps; every parameter moves.
fn train(network: &mut Network) {
    let before = network.values().unwrap();
    let labels = Tensor::arange(IMAGES, (Kind::Int64, Device::Cpu)).remainder(CLASSES);
    let mut optimizer = Optimizer::new(Rule::Sgd { momentum: 0.9, nesterov: true }, 1e-4, network);
    for seed in 0..6 {
        let loss = cross_entropy(&network.forward(&images(seed), Mode::Train).unwrap(), &labels).unwrap();
        assert!(loss.double_value(&[]).is_finite(), "{}", network.graph().name);
        loss.backward();
        optimizer.step(network, 0.01).unwrap();
    }
    for (name, values) in network.values().unwrap() {
        assert_ne!(values, before[&name], "`{name}` of {} learns nothing", network.graph().name);
    }
}

fn meta() -> ModelMeta {
    ModelMeta { mean: MEAN.to_vec(), std: STD.to_vec(), ..ModelMeta::default() }
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.contiguous().view([-1])).unwrap()
}

/// What a network answers in evaluation: probabilities where its files end in them.
fn answers(network: &Network) -> Vec<f32> {
    let logits = tch::no_grad(|| network.forward(&images(99), Mode::Eval)).unwrap();
    let ends = network.graph().nodes.last().unwrap().op.ends();
    floats(&if ends { logits.softmax(-1, Kind::Float) } else { logits })
}

/// What a file makes of the same images. `uint8`: of the logits, which a softmax may follow.
fn computed(file: &TfliteModel) -> Vec<f32> {
    let mut interpreter = Interpreter::new(file).unwrap();
    let images = images(99).permute([0, 2, 3, 1]);
    let outputs = (0..IMAGES).flat_map(|index| {
        let pixels = floats(&images.get(index));
        let input = interpreter.encode(interpreter.inputs()[0], &pixels).unwrap();
        let output = interpreter.run(&[input]).unwrap().remove(0);
        interpreter.decode(interpreter.outputs()[0], &output).unwrap()
    });
    outputs.collect()
}

fn gap(found: &[f32], wanted: &[f32]) -> f32 {
    assert_eq!(found.len(), wanted.len());
    found.iter().zip(wanted).map(|(found, wanted)| (found - wanted).abs()).fold(0.0, f32::max)
}

#[test]
fn floats_are_the_same() {
    for graph in networks() {
        let values = initial(&graph);
        let mut network =
            Network::new(&Engine::cpu(), &graph, &QuantPlan::default(), &values, Weights::FullPrecision).unwrap();
        train(&mut network);
        let model = network.to_model(meta()).unwrap();
        let found = computed(&build::from_model(&model).unwrap());
        let gap = gap(&found, &answers(&network));
        assert!(gap < 1e-4, "{}: {gap}", graph.name);
    }
}

/// As `uniform` trains: what it leaves in float stays so in files.
#[test]
fn uniform_quantization_is_the_same() {
    for graph in networks() {
        let plan = QuantPlan::uniform(&graph, 8, 8, Buckets::Channel, true);
        let mut network =
            Network::new(&Engine::cpu(), &graph, &plan, &initial(&graph), Weights::FullPrecision).unwrap();
        train(&mut network);
        let model = through_a_file(&network.to_model(meta()).unwrap());
        let net = lower(&model, Target::Int8, &BTreeMap::new(), false).unwrap().net;
        let wanted = answers(&network);
        let size = wanted.iter().fold(0.0f32, |most, value| most.max(value.abs()));
        let gap = gap(&computed(&build::from_net(&net).unwrap()), &wanted);
        assert!(gap < 0.04 * size.max(1.0), "{}: {gap} of {size}", graph.name);
    }
}

/// As `uniform-tf` trains: integers from end to end.
#[test]
fn integers_are_the_same() {
    for graph in networks() {
        let integers = Integers { target: Target::Int8, weight_bits: 8, activation_bits: 8, range_decay: 0.9 };
        let mut network =
            Network::for_integers(&Engine::cpu(), &graph, integers, [&MEAN, &STD], &initial(&graph)).unwrap();
        train(&mut network);
        let model = through_a_file(&network.to_folded_model(meta()).unwrap());
        let net = lower(&model, Target::Int8, &BTreeMap::new(), false).unwrap().net;
        for operator in &net.operators {
            // Behind an activation function it is a layer in files alone, which nobody quantized:
            // it computes in float, and so does what reads it.
            let is_alone =
                |name: &str| graph.nodes.iter().any(|node| node.name == name && matches!(node.op, Op::BatchNorm(_)));
            let reads_alone = operator.inputs.iter().any(|input| is_alone(&net.values[*input].name));
            assert!(
                is_alone(&operator.name) || reads_alone || !net.computes_in_float(operator).unwrap(),
                "`{}` of {}",
                operator.name,
                graph.name
            );
        }
        let deployed = Network::from_model(&Engine::cpu(), &model).unwrap();
        let wanted = answers(&deployed);
        let size = wanted.iter().fold(0.0f32, |most, value| most.max(value.abs()));
        // A code on the border of two may fall either way, and later codes with it.
        let flips = net.values[net.output].grid.map_or(0.04 * size, |grid| 4.5 * grid.scale);
        let bound = flips + rounded_means(&graph, &net, &model);
        let gap = gap(&computed(&build::from_net(&net).unwrap()), &wanted);
        assert!(gap < bound, "{}: {gap} of {bound}", graph.name);
    }
}

/// What a runtime rounds means by, which a saved model does not: half a code of each value that the
/// classifier reads, times its weights.
fn rounded_means(graph: &Graph, net: &DeployedNet, model: &Model) -> f32 {
    let Some(pool) = graph.nodes.iter().find(|node| matches!(node.op, Op::AvgPool2d(_))) else { return 0.0 };
    let grid = net.values.iter().find(|value| value.name == pool.name).unwrap().grid.unwrap();
    let weights = model.values("fc.weight").unwrap();
    let sums = weights.chunks(weights.len() / CLASSES as usize).map(|row| row.iter().map(|w| w.abs()).sum::<f32>());
    0.5 * grid.scale * sums.fold(0.0, f32::max)
}

fn through_a_file(model: &Model) -> Model {
    let file = tempfile::NamedTempFile::new().unwrap();
    model.save(file.path()).unwrap();
    Model::load(file.path()).unwrap()
}

/// Dropout drops its share in training, the same again for the same values, and nothing elsewhere.
#[test]
fn dropout_is_of_training_alone() {
    let mut net = GraphBuilder::new("dropout", [4, 16, 16]);
    net.add("drop", Dropout { probability: 0.25 }, &[0]);
    net.add("fc", Linear { out: 4 * 16 * 16, bias: false }, &[1]);
    let graph = net.finish().unwrap();
    assert!(matches!(graph.nodes[1].op, Op::Dropout(_)));
    let mut values = initial(&graph);
    // A layer that hands on what it reads.
    let count = 4 * 16 * 16;
    let weights = values.get_mut("fc.weight").unwrap();
    weights.iter_mut().enumerate().for_each(|(at, weight)| *weight = f32::from(u8::from(at / count == at % count)));
    let network = Network::new(&Engine::cpu(), &graph, &QuantPlan::default(), &values, Weights::FullPrecision).unwrap();
    let ones = Tensor::ones([2, 4, 16, 16], (Kind::Float, Device::Cpu));
    let evaluated = floats(&network.forward(&ones, Mode::Eval).unwrap());
    assert!(evaluated.iter().all(|value| *value == 1.0));
    let [first, second] = [0, 1].map(|_| floats(&network.forward(&ones, Mode::Train).unwrap()));
    assert_eq!(first, second);
    assert!(first.iter().all(|value| *value == 0.0 || (value - 4.0 / 3.0).abs() < 1e-6));
    let dropped = first.iter().filter(|value| **value == 0.0).count() as f64 / first.len() as f64;
    assert!((dropped - 0.25).abs() < 0.05, "{dropped}");
    let other = floats(&network.forward(&(ones * 1.5), Mode::Train).unwrap());
    let differently = first.iter().zip(&other).filter(|(one, other)| (**one == 0.0) != (**other == 0.0)).count();
    assert!(differently > first.len() / 5, "{differently}");
}
