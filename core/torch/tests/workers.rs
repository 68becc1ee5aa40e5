//! Workers that share out batches learn what one worker learns of the whole batches: as threads
//! here, each in the group that it would join as a process.

use pocketflow::graph::{Conv2d, GlobalAvgPool, Graph, GraphBuilder, Linear, Relu};
use pocketflow::quant::{Buckets, QuantPlan};
use pocketflow::workers::Group;
use pocketflow_torch::engine::Engine;
use pocketflow_torch::loader::Loaded;
use pocketflow_torch::network::{Mode, Network, Weights};
use pocketflow_torch::optimizer::{Optimizer, Rule};
use pocketflow_torch::train::step::{Step, Stepped, step};
use pocketflow_torch::workers::Together;
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

const BATCH: i64 = 32;

/// No batch normalisation: each worker would normalise by its own images.
fn graph() -> Graph {
    let mut builder = GraphBuilder::new("small", [3, 8, 8]);
    let mut last = 0;
    for name in ["a", "b", "c"] {
        let conv =
            Conv2d { out: 8, kernel: [3, 3], stride: [1, 1], padding: [1; 4], dilation: [1; 2], groups: 1, bias: true };
        last = builder.add(name, conv, &[last]);
        last = builder.add(format!("{name}.relu"), Relu, &[last]);
    }
    last = builder.add("pool", GlobalAvgPool, &[last]);
    builder.add("fc", Linear { out: 4, bias: true }, &[last]);
    builder.finish().unwrap()
}

/// What a training leaves: losses, values, ranges.
struct Left {
    losses: Vec<f64>,
    values: BTreeMap<String, Vec<f32>>,
    ranges: BTreeMap<String, Vec<f32>>,
}

/// Trains on the share `rank` of `size` of every batch, at a learning rate.
fn trained(engine: &Engine, [rank, size]: [i64; 2], bits: u32, rate: f64) -> Left {
    let graph = graph();
    let plan = QuantPlan::uniform(&graph, bits, bits, Buckets::Channel, true);
    // Worker 0 gives its own to the others, which begin elsewhere.
    let values = Network::initialised(&Engine::cpu(), &graph, 3 + rank as u64).unwrap().values().unwrap();
    let mut network = Network::new(engine, &graph, &plan, &values, Weights::FullPrecision).unwrap();
    network.take_first().unwrap();
    let mut optimizer = Optimizer::new(Rule::Sgd { momentum: 0.9, nesterov: true }, 1e-4, &network);
    let share = BATCH / size;
    let losses = (0..50).map(|index| {
        let places = Tensor::arange(BATCH * 3 * 64, (Kind::Float, Device::Cpu));
        let images = (places * (1.7 + f64::from(index))).sin().view([BATCH, 3, 8, 8]) * 1.5;
        let labels = Tensor::arange(BATCH, (Kind::Int64, Device::Cpu)).remainder(4);
        let own = |all: &Tensor| all.narrow(0, rank * share, share);
        let images = channels_last(&own(&images));
        let batch = Loaded { images, labels: own(&labels) };
        let how = Step { mode: Mode::Train, teacher: None, rate };
        match step(&mut network, &mut optimizer, &batch, &how).unwrap() {
            Stepped::Done(found) => found.loss.double_value(&[]),
            Stepped::Diverged(loss) => panic!("the loss is {loss}"),
        }
    });
    let losses = losses.collect();
    Left { losses, values: network.values().unwrap(), ranges: network.quantizer_state().unwrap() }
}

/// Returns images in the layout that a loader gives them.
fn channels_last(images: &Tensor) -> Tensor {
    images.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
}

/// What each of `size` workers leaves.
fn together(size: u32, bits: u32, rate: f64) -> Vec<Left> {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let work = move |rank| {
        let mut group = Group::alone();
        (group.rank, group.size, group.host, group.port) = (rank, size, "127.0.0.1".into(), port);
        (group.serves, group.timeout) = (true, 60);
        let workers = Together::join(&group, "").unwrap();
        let engine = Engine::cpu().with_workers(Arc::new(workers));
        trained(&engine, [rank, size].map(i64::from), bits, rate)
    };
    let workers: Vec<_> = (0..size).map(|rank| std::thread::spawn(move || work(rank))).collect();
    workers.into_iter().map(|worker| worker.join().unwrap()).collect()
}

/// The largest difference, as a share of the largest value.
fn apart(one: &BTreeMap<String, Vec<f32>>, other: &BTreeMap<String, Vec<f32>>) -> f32 {
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    let of = |(key, values): (&String, &Vec<f32>)| {
        let most = values.iter().fold(f32::MIN_POSITIVE, |most, value| most.max(value.abs()));
        let difference = values.iter().zip(&other[key]).fold(0_f32, |most, (a, b)| most.max((a - b).abs()));
        difference / most
    };
    one.iter().map(of).fold(0.0, f32::max)
}

#[test]
fn two_and_four_workers_follow_one() {
    let one = trained(&Engine::cpu(), [0, 1], 32, 0.01);
    assert!(one.losses[49] < one.losses[0], "{:?}", one.losses);
    for size in [2, 4] {
        let workers = together(size, 32, 0.01);
        for worker in &workers {
            for (one, other) in one.losses.iter().zip(&worker.losses) {
                assert!((one - other).abs() <= 1e-4 * one, "{size} workers: {one} {other}");
            }
            assert_eq!(worker.losses, workers[0].losses);
            assert_eq!(worker.values, workers[0].values, "the same bits on every worker");
        }
        let apart = apart(&one.values, &workers[0].values);
        assert!(apart < 1e-3, "{size} workers: {apart}");
    }
}

/// Without a change of the weights, which would part by rounding and the values with them.
#[test]
fn ranges_are_those_of_one_worker() {
    let one = trained(&Engine::cpu(), [0, 1], 8, 0.0);
    assert!(!one.ranges.is_empty());
    for (rank, worker) in together(2, 8, 0.0).iter().enumerate() {
        for (name, range) in &one.ranges {
            let width = range[1] - range[0];
            assert!(width > 0.0, "{name}: {range:?}");
            for (one, other) in range.iter().zip(&worker.ranges[name]) {
                assert!((one - other).abs() <= 1e-6 * width, "{name}, worker {rank}: {one} {other}");
            }
        }
    }
}
