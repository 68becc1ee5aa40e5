//! Networks trained for integer runtimes: what is deployed computes what was trained.

use pocketflow::graph::{Add, Conv2d, GlobalAvgPool, Graph, GraphBuilder, Linear, MaxPool, Relu6};
use pocketflow::integer::Target;
use pocketflow::model::{Model, ModelMeta};
use pocketflow_resnet_cifar10::{Shortcut, resnet};
use pocketflow_torch::engine::Engine;
use pocketflow_torch::kernels::Generator;
use pocketflow_torch::loss::cross_entropy;
use pocketflow_torch::network::{Integers, Mode, Network};
use pocketflow_torch::optimizer::{Optimizer, Rule};
use tch::{Device, Kind, Tensor};

const MEAN: [f32; 3] = [125.3, 123.0, 113.9];
const STD: [f32; 3] = [63.0, 62.1, 66.7];
const TARGETS: [Target; 2] = [Target::Int8, Target::Uint8];

/// Every kind of operator: a padded and a depth-wise convolution, ReLU6, a pool, a sum without
/// activation, a layer behind a layer.
fn every_operator() -> Graph {
    let mut builder = GraphBuilder::new("every", [3, 17, 17]);
    let op = Conv2d {
        out: 8,
        kernel: [3; 2],
        stride: [2; 2],
        padding: [0, 0, 1, 1],
        dilation: [1; 2],
        groups: 1,
        bias: false,
    };
    let conv = builder.add("conv1", op, &[0]);
    let norm = builder.batch_norm("bn1", conv, 1e-3);
    let relu = builder.add("relu1", Relu6, &[norm]);
    let pool = builder.add("max", MaxPool { kernel: 3, stride: 1, padding: 1 }, &[relu]);
    let op =
        Conv2d { out: 8, kernel: [3; 2], stride: [1; 2], padding: [1; 4], dilation: [1; 2], groups: 8, bias: false };
    let conv = builder.add("depthwise", op, &[pool]);
    let norm = builder.batch_norm("bn2", conv, 1e-3);
    let relu = builder.add("relu2", Relu6, &[norm]);
    let conv = builder.conv("linear", relu, 8, 1, 1, 0);
    let norm = builder.batch_norm("bn3", conv, 1e-3);
    let add = builder.add("add", Add, &[norm, pool]);
    let op =
        Conv2d { out: 12, kernel: [1; 2], stride: [1; 2], padding: [0; 4], dilation: [1; 2], groups: 1, bias: true };
    let conv = builder.add("biased", op, &[add]);
    let pool = builder.add("pool", GlobalAvgPool, &[conv]);
    builder.add("fc", Linear { out: 10, bias: true }, &[pool]);
    builder.finish().unwrap()
}

fn images(graph: &Graph, seed: u64) -> Tensor {
    let [c, h, w] = graph.input_shape().map(|size| size as i64);
    // Of its own: other tests draw at the same time.
    Generator::new(seed).unwrap().normal(&[16, c, h, w]).unwrap().clamp(-1.9, 2.1)
}

fn network(graph: &Graph, target: Target, weight_bits: u32, activation_bits: u32) -> Network {
    // Threads that wait for each other crawl where the tests' processes share few cores.
    tch::set_num_threads(1);
    let mut values = Network::initialised(&Engine::cpu(), graph, 3).unwrap().values().unwrap();
    // A channel that batch normalisation turns off, and one that it turns around.
    let scale = values.get_mut("bn1.weight").unwrap();
    (scale[0], scale[1]) = (0.0, -0.7);
    Network::for_integers(
        &Engine::cpu(),
        graph,
        Integers { target, weight_bits, activation_bits, range_decay: 0.99 },
        [&MEAN, &STD],
        &values,
    )
    .unwrap()
}

/// Some steps, so that statistics, ranges and weights are what a training leaves.
fn train(network: &mut Network, mode: Mode) -> Vec<f64> {
    let images = images(&network.graph().clone(), 5);
    let labels = Tensor::arange(16, (Kind::Int64, Device::Cpu)).remainder(10);
    let mut optimizer = Optimizer::new(Rule::Sgd { momentum: 0.9, nesterov: true }, 1e-4, network);
    let step = |_| {
        let loss = cross_entropy(&network.forward(&images, mode).unwrap(), &labels).unwrap();
        loss.backward();
        optimizer.step(network, 0.02).unwrap();
        loss.double_value(&[])
    };
    (0..12).map(step).collect()
}

fn evaluated(network: &Network, images: &Tensor) -> Tensor {
    tch::no_grad(|| network.forward(images, Mode::Eval)).unwrap()
}

/// Through a file, as it is deployed.
fn deployed(network: &Network) -> (Model, Network) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let meta = ModelMeta { mean: MEAN.to_vec(), std: STD.to_vec(), ..ModelMeta::default() };
    network.to_folded_model(meta).unwrap().save(file.path()).unwrap();
    let model = Model::load(file.path()).unwrap();
    let network = Network::from_model(&Engine::cpu(), &model).unwrap();
    (model, network)
}

fn graphs() -> [Graph; 3] {
    [every_operator(), resnet(8, Shortcut::Projection, 10).unwrap(), resnet(8, Shortcut::Pad, 10).unwrap()]
}

#[test]
fn quantized_weights_are_those_of_the_folded_network() {
    for graph in graphs() {
        for target in TARGETS {
            for bits in [3, 8, 16] {
                let mut network = network(&graph, target, bits, 32);
                train(&mut network, Mode::Train);
                let images = images(&graph, 6);
                let [ours, theirs] = [&network, &deployed(&network).1].map(|network| evaluated(network, &images));
                let off = (&ours - theirs).abs().max().double_value(&[]);
                let size = ours.abs().max().double_value(&[]);
                assert!(off < 2e-5 * size.max(1.0), "{} {target:?} {bits} bits: {off} of {size}", graph.name);
            }
        }
    }
}

/// A float on the border of two codes may fall either way, after which later codes differ too, by
/// few steps.
#[test]
fn what_is_deployed_computes_what_was_trained() {
    for graph in graphs() {
        for target in TARGETS {
            let mut network = network(&graph, target, 8, 8);
            train(&mut network, Mode::Train);
            let images = images(&graph, 6);
            let (model, other) = deployed(&network);
            let [ours, theirs] = [&network, &other].map(|network| evaluated(network, &images));
            let [min, max] = model.plan.activations["fc"].range.unwrap();
            let steps = ((&ours - &theirs) / (f64::from(max - min) / 255.0)).abs();
            let same = steps.lt(0.5).to_kind(Kind::Float).mean(Kind::Float).double_value(&[]);
            let most = steps.max().double_value(&[]);
            assert!(same > 0.85 && most < 4.5, "{} {target:?}: {same} the same, up to {most} steps off", graph.name);
            let agree = ours.argmax(-1, false).eq_tensor(&theirs.argmax(-1, false)).sum(Kind::Int64).int64_value(&[]);
            assert!(agree >= 15, "{} {target:?}: {agree} of 16 decisions", graph.name);
        }
    }
}

#[test]
fn all_values_lie_on_their_grids() {
    let graph = every_operator();
    for (target, names) in [
        (Target::Int8, "add biased fc input linear pool relu1 relu2"),
        (Target::Uint8, "add biased fc input linear pool relu1 relu2"),
    ] {
        let mut network = network(&graph, target, 8, 8);
        train(&mut network, Mode::Train);
        let (model, _) = deployed(&network);
        let found: Vec<&str> = model.plan.activations.keys().map(String::as_str).collect();
        assert_eq!(found.join(" "), names, "{target:?}");
        assert!(model.plan.activations.values().all(|quant| quant.range.is_some()));
        assert_eq!(model.plan.weights.len(), 5);
        let shared = model.plan.activations["pool"] == model.plan.activations["biased"];
        assert_eq!(shared, target == Target::Uint8, "an average pool of uint8 keeps the grid");
        let [min, _] = model.plan.activations["input"].range.unwrap();
        assert!((min + MEAN[0] / STD[0]).abs() < 1e-6, "the input's range is that of pixels");
    }
}

/// Where all channels have one mean of half a pixel value, a code is a pixel.
#[test]
fn pixels_are_codes_where_they_can_be() {
    let mut builder = GraphBuilder::new("pixels", [3, 16, 16]);
    builder.conv("conv", 0, 3, 1, 1, 0);
    let graph = builder.finish().unwrap();
    let values = [("conv.weight".to_owned(), vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0])].into();
    for (mean, std) in [(127.5f32, 127.5f32), (127.5, 40.0), (128.0, 60.0), (0.0, 255.0)] {
        let integers = Integers { target: Target::Int8, weight_bits: 32, activation_bits: 8, range_decay: 0.99 };
        let network =
            Network::for_integers(&Engine::cpu(), &graph, integers, [&[mean; 3], &[std; 3]], &values).unwrap();
        let pixels: Vec<f32> = (0..3 * 256).map(|index| (index % 256) as f32).collect();
        let images = (Tensor::from_slice(&pixels).view([1, 3, 16, 16]) - f64::from(mean)) / f64::from(std);
        let out = evaluated(&network, &images);
        let zero = f64::from((mean + 0.5).floor());
        let codes = Vec::<f32>::try_from((out * f64::from(std) + zero).reshape([-1])).unwrap();
        let off = codes.iter().zip(&pixels).map(|(code, pixel)| (code - pixel).abs()).fold(0.0, f32::max);
        assert!(off < 1e-3, "mean {mean}, std {std}: {off} off");
    }
}

#[test]
fn learns_for_either_target() {
    let graph = resnet(8, Shortcut::Projection, 10).unwrap();
    for target in TARGETS {
        let mut network = network(&graph, target, 4, 8);
        let (before, losses) = (network.values().unwrap(), train(&mut network, Mode::Train));
        assert!(losses[11] < 0.9 * losses[0], "{target:?}: {losses:.2?}");
        let after = network.values().unwrap();
        assert!(before.iter().all(|(name, values)| *values != after[name]), "everything learns through the quantizers");
    }
}

#[test]
fn turned_off_it_is_the_full_precision_network() {
    let graph = resnet(8, Shortcut::Pad, 10).unwrap();
    let images = images(&graph, 6);
    let mut network = network(&graph, Target::Uint8, 4, 4);
    network.set_quantizing(false).unwrap();
    train(&mut network, Mode::Train);
    let plain = Network::new(
        &Engine::cpu(),
        &graph,
        &Default::default(),
        &network.values().unwrap(),
        pocketflow_torch::network::Weights::FullPrecision,
    );
    let full = evaluated(&plain.unwrap(), &images);
    assert!(evaluated(&network, &images).equal(&full));
    assert!(
        network.plan().unwrap().activations.values().all(|quant| quant.range.is_some()),
        "ranges are tracked meanwhile"
    );
    network.set_quantizing(true).unwrap();
    assert!((evaluated(&network, &images) - full).abs().max().double_value(&[]) > 1e-3);
}

#[test]
fn frozen_statistics_stay_while_weights_learn() {
    let graph = resnet(8, Shortcut::Pad, 10).unwrap();
    let mut network = network(&graph, Target::Int8, 8, 8);
    train(&mut network, Mode::Train);
    let (before, ranges) = (network.values().unwrap(), network.quantizer_state().unwrap());
    train(&mut network, Mode::TrackRanges);
    let after = network.values().unwrap();
    for (name, values) in &before {
        assert_eq!(*values == after[name], name.contains("running_"), "{name}");
    }
    assert_ne!(ranges, network.quantizer_state().unwrap());
    assert_eq!(ranges["input"], network.quantizer_state().unwrap()["input"]);
}

#[test]
fn its_state_is_all_there_is() {
    let graph = every_operator();
    for target in TARGETS {
        let mut network_a = network(&graph, target, 8, 8);
        train(&mut network_a, Mode::Train);
        let mut network_b = network(&graph, target, 8, 8);
        network_b.set_values(&network_a.values().unwrap()).unwrap();
        network_b.set_quantizer_state(&network_a.quantizer_state().unwrap()).unwrap();
        let losses = [&mut network_a, &mut network_b].map(|network| train(network, Mode::Train));
        assert_eq!(losses[0], losses[1], "{target:?}");
        assert_eq!(network_a.values().unwrap(), network_b.values().unwrap());
        assert_eq!(network_a.quantizer_state().unwrap(), network_b.quantizer_state().unwrap());
    }
}

/// The training model keeps what training goes on from.
#[test]
fn the_training_model_is_in_full_precision() {
    let graph = resnet(8, Shortcut::Pad, 10).unwrap();
    let mut network = network(&graph, Target::Int8, 8, 8);
    train(&mut network, Mode::Train);
    let model = network.to_model(Default::default()).unwrap();
    assert!(model.plan.weights.is_empty() && model.plan.activations.len() == network.plan().unwrap().activations.len());
    for (name, values) in network.values().unwrap() {
        assert_eq!(model.values(&name).unwrap(), values);
    }
}
