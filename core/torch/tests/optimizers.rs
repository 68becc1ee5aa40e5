//! The optimizers against their formulas, worked out in f64, and their state against interruption.

use pocketflow_resnet_cifar10::{Shortcut, resnet};
use pocketflow_torch::engine::Engine;
use pocketflow_torch::kernels::{StepLists, adam_step, sgd_step};
use pocketflow_torch::loss::cross_entropy;
use pocketflow_torch::network::{Mode, Network};
use pocketflow_torch::optimizer::{Optimizer, Rule};
use tch::{Device, Kind, Tensor};

const GRADIENTS: [f64; 3] = [0.5, -2.0, 0.25];
const DECAY: f64 = 0.01;
const RATE: f64 = 0.1;

/// A parameter of one value after three steps with [`GRADIENTS`].
fn after(step: impl Fn(&StepLists, i64)) -> f64 {
    let param = Tensor::from_slice(&[1.0f32]);
    let leaf = Tensor::from_slice(&[1.0f32]).set_requires_grad(true);
    let (first, second) =
        (Tensor::zeros([1], (Kind::Float, Device::Cpu)), Tensor::zeros([1], (Kind::Float, Device::Cpu)));
    for (index, gradient) in GRADIENTS.into_iter().enumerate() {
        (&leaf * gradient).sum(Kind::Float).backward();
        let lists = StepLists {
            params: vec![&param],
            leaves: vec![&leaf],
            first: vec![&first],
            second: vec![&second],
            decays: vec![DECAY],
            rates: vec![1.0],
        };
        step(&lists, index as i64 + 1);
        assert!(!leaf.grad().defined(), "a gradient is used once");
    }
    param.double_value(&[0])
}

#[test]
fn sgd_with_momentum_as_written() {
    for nesterov in [false, true] {
        let (mut w, mut m) = (1.0, 0.0);
        for gradient in GRADIENTS {
            let gradient = gradient + DECAY * w;
            m = 0.9 * m + gradient;
            w -= RATE * if nesterov { gradient + 0.9 * m } else { m };
        }
        let ours = after(|lists, _| sgd_step(lists, RATE, 0.9, nesterov).unwrap());
        assert!((ours - w).abs() < 1e-6, "{ours} for {w}");
    }
}

#[test]
fn adam_as_written() {
    let (mut w, mut m, mut v) = (1.0f64, 0.0, 0.0);
    for (step, gradient) in (1..).zip(GRADIENTS) {
        let gradient = gradient + DECAY * w;
        m = 0.9 * m + 0.1 * gradient;
        v = 0.999 * v + 0.001 * gradient * gradient;
        let (m, v) = (m / (1.0 - 0.9f64.powi(step)), v / (1.0 - 0.999f64.powi(step)));
        w -= RATE * m / (v.sqrt() + 1e-8);
    }
    let ours = after(|lists, step| adam_step(lists, RATE, step).unwrap());
    assert!((ours - w).abs() < 1e-5, "{ours} for {w}");
}

#[test]
fn its_state_is_all_there_is() {
    let graph = resnet(8, Shortcut::Pad, 10).unwrap();
    let images = Tensor::randn([8, 3, 32, 32], (Kind::Float, Device::Cpu));
    let labels = Tensor::arange(8, (Kind::Int64, Device::Cpu));
    let steps = |network: &mut Network, optimizer: &mut Optimizer| {
        for _ in 0..2 {
            cross_entropy(&network.forward(&images, Mode::Train).unwrap(), &labels).unwrap().backward();
            optimizer.step(network, 0.01).unwrap();
        }
    };
    for rule in [Rule::Adam, Rule::Sgd { momentum: 0.9, nesterov: true }] {
        let mut network = Network::initialised(&Engine::cpu(), &graph, 1).unwrap();
        let mut optimizer = Optimizer::new(rule, 1e-4, &network);
        steps(&mut network, &mut optimizer);
        let (values, state) = (network.values().unwrap(), optimizer.state().unwrap());
        steps(&mut network, &mut optimizer);

        let mut other = Network::initialised(&Engine::cpu(), &graph, 2).unwrap();
        other.set_values(&values).unwrap();
        let mut resumed = Optimizer::new(rule, 1e-4, &other);
        resumed.set_state(&state, 2).unwrap();
        steps(&mut other, &mut resumed);
        assert!(network.values().unwrap() == other.values().unwrap(), "{rule:?}");
    }
}
