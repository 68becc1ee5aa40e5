//! The pieces of training together: a network, an optimizer and a loss learn a handful of images by
//! heart.

use pocketflow::quant::{Buckets, QuantPlan};
use pocketflow_resnet_cifar10::{Shortcut, resnet};
use pocketflow_torch::engine::Engine;
use pocketflow_torch::loss::cross_entropy;
use pocketflow_torch::network::{Mode, Network, Weights};
use pocketflow_torch::optimizer::{Optimizer, Rule};
use tch::{Device, Kind, Tensor};

fn losses(plan: &QuantPlan, rule: Rule, rate: f64) -> Vec<f64> {
    // Threads that wait for each other crawl where the tests' processes share few cores.
    tch::set_num_threads(1);
    let graph = resnet(8, Shortcut::Projection, 10).unwrap();
    let values = Network::initialised(&Engine::cpu(), &graph, 3).unwrap().values().unwrap();
    let mut network = Network::new(&Engine::cpu(), &graph, plan, &values, Weights::FullPrecision).unwrap();
    let mut optimizer = Optimizer::new(rule, 1e-4, &network);
    let images = Tensor::randn([16, 3, 32, 32], (Kind::Float, Device::Cpu));
    let labels = Tensor::arange(16, (Kind::Int64, Device::Cpu)).remainder(10);
    let mut losses = Vec::new();
    for _ in 0..40 {
        let loss = cross_entropy(&network.forward(&images, Mode::Train).unwrap(), &labels).unwrap();
        loss.backward();
        optimizer.step(&mut network, rate).unwrap();
        losses.push(loss.double_value(&[]));
    }
    losses
}

#[test]
fn learns_by_heart_at_full_precision_and_quantized() {
    let graph = resnet(8, Shortcut::Projection, 10).unwrap();
    let sgd = Rule::Sgd { momentum: 0.9, nesterov: true };
    for (name, plan, rule, rate) in [
        ("full precision", QuantPlan::default(), sgd, 0.05),
        ("4/4 bits", QuantPlan::uniform(&graph, 4, 4, Buckets::Layer, false), sgd, 0.05),
        ("4/4 bits, channel buckets", QuantPlan::uniform(&graph, 4, 4, Buckets::Channel, false), Rule::Adam, 3e-3),
    ] {
        let losses = losses(&plan, rule, rate);
        let (first, last) = (losses[0], losses[losses.len() - 1]);
        assert!(first > 1.8 && last < 0.3, "{name}: {losses:.2?}");
    }
}
