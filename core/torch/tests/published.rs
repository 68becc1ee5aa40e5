//! Networks that others publish weights for compute here what they compute there: torchvision's
//! ResNet-18, ResNet-50 and MobileNet-v2, with weights and pixels that a formula makes on both
//! sides. `examples/compare_pytorch.py` made the figures (`pins`), and compares all logits where
//! torchvision is at hand.

use pocketflow::graph::{Graph, Role};
use pocketflow::model::{Model, ModelMeta};
use pocketflow::quant::QuantPlan;
use pocketflow_mobilenet::{DepthMultiplier, Style, mobilenet_v2};
use pocketflow_resnet_ilsvrc12::{Size, resnet};
use pocketflow_torch::engine::Engine;
use pocketflow_torch::kernels;
use pocketflow_torch::network::{Mode, Network};
use std::collections::BTreeMap;

const MEAN: [f32; 3] = [123.68, 116.78, 103.94];
const STD: [f32; 3] = [58.393, 57.12, 57.375];
const SIZE: usize = 64;
const BOUND: f32 = 1e-4;

/// Numbers in [-0.5, 0.5).
fn uniform(name: &str, count: usize) -> Vec<f64> {
    const MODULUS: u64 = 1 << 32;
    let seed = name.bytes().fold(0, |seed: u64, byte| (seed * 31 + u64::from(byte)) % MODULUS);
    let number = |index: u64| {
        let mut number = (index * 2_654_435_761 + seed) % MODULUS;
        number = (number ^ (number >> 15)) * 2_246_822_519 % MODULUS;
        number ^= number >> 13;
        number as f64 / MODULUS as f64 - 0.5
    };
    (0..count as u64).map(number).collect()
}

/// `factor`: about which the batch normalisations' scales lie.
fn weights(graph: &Graph, factor: f64) -> BTreeMap<String, Vec<f32>> {
    let values = |param: pocketflow::graph::Param| {
        let fan_in = param.shape[1..].iter().product::<usize>() as f64;
        let value = |u: f64| match param.role {
            Role::Weight => u * 2.0 * (6.0 / fan_in).sqrt(),
            Role::Scale => factor + 0.2 * u,
            Role::RunningVar => 1.0 + 0.2 * u,
            Role::Bias | Role::Shift | Role::RunningMean | Role::Slope => 0.2 * u,
        };
        let count = param.shape.iter().product();
        let values = uniform(&param.name, count).into_iter().map(|u| value(u) as f32).collect();
        (param.name, values)
    };
    graph.params().unwrap().into_iter().map(values).collect()
}

#[track_caller]
fn compare(graph: Graph, factor: f64, pinned: [f32; 10]) {
    tch::set_num_threads(1);
    let values = weights(&graph, factor);
    let meta = ModelMeta { mean: MEAN.into(), std: STD.into(), ..ModelMeta::default() };
    let model = Model::new(graph, QuantPlan::default(), meta, values).unwrap();
    let pixels: Vec<u8> = uniform("pixels", SIZE * SIZE * 3).into_iter().map(|u| ((u + 0.5) * 256.0) as u8).collect();
    let images = kernels::images(&pixels, [1, 3, SIZE, SIZE], &MEAN, &STD).unwrap();
    let network = Network::from_model(&Engine::cpu(), &model).unwrap();
    let logits = tch::no_grad(|| network.forward(&images, Mode::Eval)).unwrap();
    let logits = Vec::<f32>::try_from(logits.view(-1)).unwrap();
    assert_eq!(logits.len(), 1000);
    for (class, (found, pinned)) in logits.iter().step_by(100).zip(pinned).enumerate() {
        assert!((found - pinned).abs() < BOUND, "class {}: {found} instead of {pinned}", class * 100);
    }
}

#[test]
fn resnet_18() {
    let pinned =
        [-1.514207, 1.479614, 1.835775, -0.194788, -0.729073, -1.458905, 3.010815, 0.03862, -0.306576, -2.349828];
    compare(resnet(Size::R18, SIZE, 1000).unwrap(), 0.7, pinned);
}

#[test]
fn resnet_50() {
    let pinned =
        [-3.464457, -2.523319, 1.475412, -1.704367, 0.43055, -1.005039, 1.676863, 0.817786, -2.485677, 0.694738];
    compare(resnet(Size::R50, SIZE, 1000).unwrap(), 0.7, pinned);
}

#[test]
fn mobilenet_version_2() {
    let pinned = [1.585301, 1.615949, 1.004141, -7.947132, -0.80852, 2.772577, 0.417113, 3.214469, 2.872432, 2.877932];
    let multiplier = DepthMultiplier::new(1.0).unwrap();
    compare(mobilenet_v2(multiplier, Style::Torchvision, SIZE, 1000).unwrap(), 1.0, pinned);
}
