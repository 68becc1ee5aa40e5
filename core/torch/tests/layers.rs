//! A network that goes to other bits and back, its batch-norm statistics taken anew, and single
//! layers of it.

use pocketflow::clip::WeightRange;
use pocketflow::graph::{BatchNorm, Conv2d, GlobalAvgPool, Graph, GraphBuilder, Linear, Relu};
use pocketflow::quant::{Buckets, QuantPlan};
use pocketflow_torch::engine::Engine;
use pocketflow_torch::kernels::Generator;
use pocketflow_torch::network::{Mode, Network, Statistics, Weights};
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

fn graph() -> Graph {
    let mut builder = GraphBuilder::new("small", [3, 8, 8]);
    let mut last = 0;
    for name in ["a", "b", "c"] {
        let conv = Conv2d {
            out: 8,
            kernel: [3, 3],
            stride: [1, 1],
            padding: [1; 4],
            dilation: [1; 2],
            groups: 1,
            bias: false,
        };
        last = builder.add(name, conv, &[last]);
        last = builder.add(format!("{name}.norm"), BatchNorm { eps: 1e-5 }, &[last]);
        last = builder.add(format!("{name}.relu"), Relu, &[last]);
    }
    last = builder.add("pool", GlobalAvgPool, &[last]);
    builder.add("fc", Linear { out: 4, bias: true }, &[last]);
    builder.finish().unwrap()
}

fn values(graph: &Graph) -> BTreeMap<String, Vec<f32>> {
    Network::initialised(&Engine::cpu(), graph, 3).unwrap().values().unwrap()
}

fn network(graph: &Graph, bits: u32) -> Network {
    let plan = QuantPlan::uniform(graph, bits, 32, Buckets::Channel, false);
    Network::new(&Engine::cpu(), graph, &plan, &values(graph), Weights::FullPrecision).unwrap()
}

fn images(count: i64, seed: u64) -> Tensor {
    // Of its own: other tests draw at the same time.
    Generator::new(seed).unwrap().normal(&[count, 3, 8, 8]).unwrap()
}

fn logits(network: &Network) -> Vec<f32> {
    let logits = tch::no_grad(|| network.forward(&images(5, 9), Mode::Eval)).unwrap();
    Vec::<f32>::try_from(logits.view([-1])).unwrap()
}

#[test]
fn other_bits_are_those_of_a_network_made_with_them() {
    let graph = graph();
    let mut moved = network(&graph, 8);
    for bits in [2, 5, 32, 8] {
        for layer in ["b", "c"] {
            let weights = moved.layer_weights(layer, bits, WeightRange::MinMax).unwrap();
            moved.set_layer_weights(layer, &weights).unwrap();
        }
        let made = network(&graph, bits);
        assert_eq!(logits(&moved), logits(&made), "{bits} bits");
        assert_eq!(moved.plan().unwrap(), made.plan().unwrap());
        // What the next step of a training would make of it.
        moved.quantize_weights().unwrap();
        assert_eq!(logits(&moved), logits(&made), "{bits} bits, quantized anew");
    }
    assert!(moved.layer_weights("a", 4, WeightRange::MinMax).is_err(), "the first layer is not quantized");
}

#[test]
fn clipped_weights_stay_clipped_in_the_saved_model() {
    let graph = graph();
    let mut network = network(&graph, 2);
    let before = logits(&network);
    network.clip_weights().unwrap();
    assert_ne!(logits(&network), before);
    let model = network.to_model(pocketflow::model::ModelMeta::default()).unwrap();
    assert_eq!(logits(&Network::from_model(&Engine::cpu(), &model).unwrap()), logits(&network));
}

#[test]
fn statistics_taken_anew_are_the_mean_of_the_batches_whatever_was_there() {
    let graph = graph();
    let batches = || [1, 2, 3].map(|seed| Ok(images(40, seed))).into_iter();
    let anew = |mut network: Network| {
        let mut seen = 0;
        let count = |index: usize, logits: &Tensor| {
            assert_eq!((index, logits.size()), (seen, vec![40, 4]));
            seen += 1;
            Ok(())
        };
        network.reestimate(Statistics::OfImages, batches(), count).unwrap();
        network.values().unwrap()
    };
    let first = anew(network(&graph, 3));
    let mut other = network(&graph, 3);
    let mut spoilt = other.values().unwrap();
    spoilt.iter_mut().filter(|(name, _)| name.contains("running")).for_each(|(_, values)| values.fill(7.0));
    other.set_values(&spoilt).unwrap();
    assert_eq!(anew(other), first);
    // Of the first layer, whose input depends on no statistics, by hand.
    let weight = Tensor::from_slice(&first["a.weight"]).view([8, 3, 3, 3]);
    let means = [1, 2, 3].map(|seed| {
        let maps = images(40, seed).conv2d(&weight, None::<&Tensor>, [1, 1], [1, 1], [1, 1], 1);
        maps.mean_dim([0i64, 2, 3].as_slice(), false, Kind::Float)
    });
    let mean = Vec::<f32>::try_from((&means[0] + &means[1] + &means[2]) / 3.0).unwrap();
    for (mean, found) in mean.iter().zip(&first["a.norm.running_mean"]) {
        assert!((mean - found).abs() < 1e-5, "{mean} {found}");
    }
}

#[test]
fn a_layer_makes_its_output_of_its_input() {
    let network = network(&graph(), 3);
    let images = images(4, 1);
    for layer in ["a", "c", "fc"] {
        let (input, output) = tch::no_grad(|| network.layer_values(&images, Mode::Eval, layer)).unwrap();
        let again = network.layer_output(layer, &input).unwrap();
        assert!(again.detach().equal(&output), "{layer}");
    }
    assert!(network.layer_values(&images, Mode::Eval, "c.norm").is_err());
}
