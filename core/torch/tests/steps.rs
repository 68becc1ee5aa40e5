//! Learned steps: kernels against a composition of libtorch's operators, against the definition in
//! `pocketflow::quant`, and against finite differences; the file against the network that was
//! trained.

use pocketflow::affine::Affine;
use pocketflow::model::Model;
use pocketflow::quant::{ActivationQuant, Buckets, Grid, QuantPlan, WeightQuant, decode};
use pocketflow_resnet_cifar10::{Shortcut, resnet};
use pocketflow_torch::engine::Engine;
use pocketflow_torch::kernels::{
    self, Act, Fused, Norm, StepJob, StepQuantizer, norm_act, quantize_by_step, step_gradients, step_of,
};
use pocketflow_torch::loss;
use pocketflow_torch::network::{Mode, Network, Weights};
use pocketflow_torch::optimizer::{Optimizer, Rule};
use pocketflow_torch::quantizer::{BINS, LearnedValues, LearnedWeights, Pass, Quantizer, Spread, Stored};
use proptest::prelude::*;
use tch::{Device, Kind, Tensor};

const ON: Pass = Pass { tracks: false, quantizes: true };

fn values(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.detach().contiguous().view([-1])).unwrap()
}

/// Whether two lists are the same within a share of the largest, and where not.
fn near(one: &[f32], other: &[f32], share: f32) -> Result<(), String> {
    let largest = one.iter().chain(other).fold(1e-6f32, |largest, value| largest.max(value.abs()));
    match one.iter().zip(other).position(|(a, b)| (a - b).abs() > share * largest || a.is_nan() != b.is_nan()) {
        Some(at) => Err(format!("at {at}: {} and {}", one[at], other[at])),
        None if one.len() == other.len() => Ok(()),
        None => Err(format!("{} and {} values", one.len(), other.len())),
    }
}

fn logarithm(quantizer: &dyn Quantizer) -> Tensor {
    quantizer.learned().remove(0).tensor
}

/// Moves a tensor that is trained, as an optimizer does.
fn shift(tensor: &Tensor, by: f64) {
    tch::no_grad(|| {
        let _moved = tensor.shallow_clone().g_add_scalar_(by);
    });
}

fn buckets(kind: usize) -> Buckets {
    [Buckets::Layer, Buckets::Channel, Buckets::Split(7)][kind]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// What is trained with is what the file holds, and decodes to alpha and beta of the step.
    #[test]
    fn trained_weights_are_the_files_bit_for_bit(
        weights in prop::collection::vec(-2.0f32..2.0, 60),
        bits in 2u32..=16,
        kind in 0usize..3,
        moved in -3.0f64..1.0,
        operators in any::<bool>(),
    ) {
        let weights = Tensor::from_slice(&weights).view([5, 3, 2, 2]);
        let quant = WeightQuant { bits, buckets: buckets(kind), grid: Grid::MinMax };
        let quantizer = LearnedWeights::new(&weights, quant, 1.0).unwrap();
        shift(&logarithm(&quantizer), moved);
        kernels::operators_only(operators);
        let trained = values(&quantizer.quantize(&weights, ON).unwrap());
        kernels::operators_only(false);
        let packed = quantizer.packed(&weights).unwrap().unwrap();
        prop_assert_eq!(&packed.values(), &trained);
        let steps: Vec<f32> = values(&logarithm(&quantizer)).into_iter().map(step_of).collect();
        for ([alpha, beta], step) in packed.ranges.iter().zip(&steps) {
            let below = (1u32 << (bits - 1)) as f32;
            prop_assert_eq!((*alpha, *beta), (step * ((1u32 << bits) - 1) as f32, -(step * below)));
            let zero = decode(1 << (bits - 1), *alpha, *beta, bits);
            prop_assert!(zero.abs() <= 1e-6 * alpha, "zero is on the grid: {}", zero);
        }
    }

    /// The one call after the backward pass against autograd through the composed quantizer.
    #[test]
    fn gradients_of_weights_are_those_of_the_composition(
        weights in prop::collection::vec(-2.0f32..2.0, 60),
        gradient in prop::collection::vec(-1.0f32..1.0, 60),
        bits in 2u32..=8,
        kind in 0usize..3,
        moved in -1.5f64..0.5,
        operators in any::<bool>(),
    ) {
        let weights = Tensor::from_slice(&weights).view([5, 3, 2, 2]).set_requires_grad(true);
        let gradient = Tensor::from_slice(&gradient).view([5, 3, 2, 2]);
        let quant = WeightQuant { bits, buckets: buckets(kind), grid: Grid::MinMax };
        let quantizer = LearnedWeights::new(&weights, quant, 1.0).unwrap();
        let log_steps = logarithm(&quantizer);
        shift(&log_steps, moved);
        (quantizer.quantize(&weights, ON).unwrap() * &gradient).sum(Kind::Float).backward();
        let expected = [values(&weights.grad()), values(&log_steps.grad())];

        let leaf = weights.detach().copy().set_requires_grad(true);
        (&leaf * &gradient).sum(Kind::Float).backward();
        let size = quant.buckets.size(&[5, 3, 2, 2]);
        let above = f64::from((1u32 << (bits - 1)) - 1);
        let job = StepJob {
            weights: &weights.detach(),
            leaf: &leaf,
            log_steps: &log_steps,
            bits,
            bucket_size: size,
            factor: 1.0 / (size as f64 * above).sqrt(),
        };
        kernels::operators_only(operators);
        step_gradients(&[job]).unwrap();
        kernels::operators_only(false);
        // The composition multiplies by the step and divides again.
        let masked = near(&values(&leaf.grad()), &expected[0], 1e-6);
        prop_assert!(masked.is_ok(), "{:?}", masked);
        prop_assert!(near(&values(&log_steps.grad()), &expected[1], 1e-4).is_ok(), "{:?}", log_steps.grad());
    }

    /// Both gradients against differences of the surrogate, whose rounding stays what it was:
    /// s (clip(w / s) + r) with the rounding error r.
    #[test]
    fn gradients_of_weights_are_finite_differences(
        weights in prop::collection::vec(-2.0f32..2.0, 12),
        step in 0.05f64..0.8,
        bits in 2u32..=5,
    ) {
        let below = f64::from(1u32 << (bits - 1));
        let clip = |u: f64| u.clamp(-below, below - 1.0);
        let exact: Vec<f64> = weights.iter().map(|w| f64::from(*w)).collect();
        // Away from the ends, where there is no derivative.
        prop_assume!(exact.iter().all(|w| (w / step + below).abs() > 1e-2 && (w / step - below + 1.0).abs() > 1e-2));
        let errors: Vec<f64> = exact.iter().map(|w| clip(w / step).round_ties_even() - clip(w / step)).collect();
        let sum = |log: f64, move_first: f64| -> f64 {
            let step = log.exp();
            let value = |index: usize| exact[index] + if index == 0 { move_first } else { 0.0 };
            (0..exact.len()).map(|index| (index + 1) as f64 * step * (clip(value(index) / step) + errors[index])).sum()
        };
        let log = step.ln();
        let by_step = (sum(log + 1e-5, 0.0) - sum(log - 1e-5, 0.0)) / 2e-5;
        let by_weight = (sum(log, 1e-5) - sum(log, -1e-5)) / 2e-5;

        let source = Tensor::from_slice(&weights);
        let leaf = source.copy().set_requires_grad(true);
        let slopes = Tensor::from_slice(&(1..=12).map(|slope| slope as f32).collect::<Vec<_>>());
        (&leaf * slopes).sum(Kind::Float).backward();
        let log_steps = Tensor::from_slice(&[log as f32]).set_requires_grad(true);
        let (weights, leaf) = (&source, &leaf);
        step_gradients(&[StepJob { weights, leaf, log_steps: &log_steps, bits, bucket_size: 12, factor: 1.0 }]).unwrap();
        let found = log_steps.grad().double_value(&[0]);
        prop_assert!((found - by_step).abs() < 1e-3 * by_step.abs().max(1.0), "{found} {by_step}");
        prop_assert!((leaf.grad().double_value(&[0]) - by_weight).abs() < 1e-3);
    }
}

/// act(norm(x) + residual), then the learned quantizer, out of libtorch's operators alone.
struct Composed<'a> {
    act: Act,
    norm: Option<Norm<'a>>,
    residual: Option<&'a Tensor>,
    training: bool,
}

impl Composed<'_> {
    fn run(&self, x: &Tensor, quantizer: StepQuantizer) -> Tensor {
        let mut v = x.shallow_clone();
        if let Some(Norm { scale, shift, running_mean, running_var, eps, momentum }) = self.norm {
            let running = (Some(running_mean), Some(running_var));
            v = v.batch_norm(Some(scale), Some(shift), running.0, running.1, self.training, momentum, eps, false);
        }
        if let Some(residual) = self.residual {
            v = &v + residual;
        }
        v = match self.act {
            Act::None => v,
            Act::Relu => v.relu(),
            Act::Relu6 => v.clamp(0.0, 6.0),
        };
        let StepQuantizer { bits, log_step, zero, factor } = quantizer;
        let top = f64::from((1u32 << bits) - 1);
        let part = |tensor: &Tensor| tensor.detach() + (tensor - tensor.detach()) * factor;
        let step = part(log_step).exp();
        let below = zero.map_or(Tensor::from_slice(&[0.0f32]), |zero| {
            let zero = part(zero);
            let rounded = zero.clamp(0.0, top).round();
            &rounded.detach() + (&zero - zero.detach())
        });
        let (low, high) = (-&below, -&below + top);
        let clipped = (v / &step).maximum(&low).minimum(&high);
        (&clipped + (clipped.round() - &clipped).detach()) * step
    }
}

/// Deterministic values, spread around zero.
fn made(shape: &[i64], seed: f64) -> Tensor {
    let count: i64 = shape.iter().product();
    ((Tensor::arange(count, (Kind::Float, Device::Cpu)) * (1.37 + seed) + seed).sin() * 2.5).view(shape)
}

#[test]
fn the_fused_pass_is_the_composition() {
    let shape = [4, 5, 6, 3];
    for (case, act) in [Act::None, Act::Relu, Act::Relu6].into_iter().cycle().take(24).enumerate() {
        let (has_norm, has_residual, has_zero) = (case % 2 == 0, case % 3 != 1 || case > 11, case % 4 > 1);
        let (bits, training, operators) = ([2, 3, 4, 8][case % 4], case % 5 != 0, case >= 18);
        let about =
            format!("case {case}: {act:?}, norm {has_norm}, residual {has_residual}, zero {has_zero}, {bits} bits");
        let step = 0.9f32 / (1 << (bits - 1)) as f32 * 2.3;
        let run = |composed: bool| -> Vec<Vec<f32>> {
            let leaf = |tensor: Tensor| tensor.set_requires_grad(true);
            let x = leaf(made(&shape, 0.1 + case as f64));
            let residual = leaf(made(&shape, 0.7 + case as f64));
            let [scale, shift] = [leaf(made(&[5], 0.3) + 3.0), leaf(made(&[5], 0.9))];
            let (mean, var) = (made(&[5], 0.2), made(&[5], 0.4).abs() + 0.5);
            let log_step = leaf(Tensor::from_slice(&[step.ln()]));
            let zero = leaf(Tensor::from_slice(&[0.37f32 * (1 << bits) as f32]));
            let norm = has_norm.then_some(Norm {
                scale: &scale,
                shift: &shift,
                running_mean: &mean,
                running_var: &var,
                eps: 1e-3,
                momentum: 0.1,
            });
            let quantizer = StepQuantizer { bits, log_step: &log_step, zero: has_zero.then_some(&zero), factor: 0.25 };
            let residual_used = has_residual.then_some(&residual);
            let training = training && has_norm;
            let y = if composed {
                Composed { act, norm, residual: residual_used, training }.run(&x, quantizer)
            } else {
                kernels::operators_only(operators);
                let fused =
                    Fused { norm, residual: residual_used, learned: Some(quantizer), training, ..Fused::default() };
                let y = norm_act(&x, act, &fused).unwrap();
                kernels::operators_only(false);
                y
            };
            (&y * made(&shape, 0.55)).sum(Kind::Float).backward();
            let grad = |tensor: &Tensor| if tensor.grad().defined() { values(&tensor.grad()) } else { Vec::new() };
            let grads = [&x, &residual, &scale, &shift, &log_step, &zero].map(grad);
            std::iter::once(values(&y)).chain(grads).collect()
        };
        let (found, expected) = (run(false), run(true));
        for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
            // Of a step's gradient, rounding errors are a share of what was added up, not of the
            // sum.
            if index == 5 {
                let added = made(&shape, 0.55).abs().sum(Kind::Float).double_value(&[]) * 0.25 * f64::from(step);
                let gap = f64::from((found[0] - expected[0]).abs());
                assert!(gap < 2e-5 * added, "{about}: {} and {} of {added}", found[0], expected[0]);
                continue;
            }
            near(found, expected, 2e-4).unwrap_or_else(|problem| panic!("{about}, result {index}, {problem}"));
        }
        assert!(!found[5].is_empty() && found[6].is_empty() != has_zero, "{about}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Values are those of the grid that the file's range gives.
    #[test]
    fn values_are_those_of_the_stored_range(
        inputs in prop::collection::vec(-3.0f32..3.0, 40),
        bits in 2u32..=16,
        negative in any::<bool>(),
        moved in -2.0f64..1.0,
        operators in any::<bool>(),
    ) {
        let mut spread = Spread::over([if negative { -3.0 } else { 0.0 }, 3.0]);
        spread.add(&[1.0; BINS]);
        let quantizer = LearnedValues::new(bits, &spread, 40, 1.0, Device::Cpu).unwrap();
        prop_assert_eq!(quantizer.learned().len(), if negative { 2 } else { 1 });
        shift(&logarithm(&quantizer), moved);
        kernels::operators_only(operators);
        let found = values(&quantizer.quantize(&Tensor::from_slice(&inputs).view([4, 10]), ON).unwrap());
        kernels::operators_only(false);
        let Stored::Value(ActivationQuant { range: Some(range), .. }) = quantizer.stored() else { panic!("no range") };
        let Affine { scale, zero_point, max_code, .. } = Affine::of_range(range, bits);
        let (low, high) = (-zero_point as f32, (max_code - zero_point) as f32);
        let inverse = (1.0 / f64::from(scale)) as f32;
        let expected: Vec<f32> =
            inputs.iter().map(|v| (v * inverse).clamp(low, high).round_ties_even() * scale).collect();
        prop_assert_eq!(found, expected);
    }
}

fn learned_network(bits: u32, granularity: Buckets, seed: u64) -> Network {
    let graph = resnet(8, Shortcut::Pad, 10).unwrap();
    let initial = Network::initialised(&Engine::cpu(), &graph, seed).unwrap().values().unwrap();
    let plan = QuantPlan::uniform(&graph, bits, bits, granularity, true);
    let mut network = Network::new(&Engine::cpu(), &graph, &plan, &initial, Weights::FullPrecision).unwrap();
    for (layer, quant) in &plan.weights {
        let weights = network.tensor(&format!("{layer}.weight")).unwrap().shallow_clone();
        network.set_weight_quantizer(layer, Box::new(LearnedWeights::new(&weights, *quant, 1.0).unwrap())).unwrap();
    }
    for node in plan.activations.keys() {
        let mut spread = Spread::over([0.0, 4.0]);
        spread.add(&[1.0; BINS]);
        let quantizer = LearnedValues::new(bits, &spread, 16 * 32 * 32, 1.0, Device::Cpu).unwrap();
        network.set_value_quantizer(node, Box::new(quantizer)).unwrap();
    }
    network
}

fn train(network: &mut Network, rule: Rule, steps: i32) {
    let mut optimizer = Optimizer::new(rule, 1e-4, network);
    for step in 0..steps {
        let images = made(&[8, 3, 32, 32], 1.7 + f64::from(step));
        let labels = Tensor::arange(8, (Kind::Int64, Device::Cpu));
        let logits = network.forward(&images, Mode::Train).unwrap();
        loss::cross_entropy(&logits, &labels).unwrap().backward();
        optimizer.step(network, 1e-2).unwrap();
    }
}

/// The saved model gives, image by image, exactly what the network gave that it was saved from, and
/// holds its weights bit for bit.
#[test]
fn a_saved_network_answers_the_same() {
    for granularity in [Buckets::Layer, Buckets::Channel, Buckets::Split(100)] {
        let mut network = learned_network(3, granularity, 5);
        let before = network.learned().unwrap();
        train(&mut network, Rule::Adam, 3);
        let after = network.learned().unwrap();
        for (name, steps) in &before {
            assert_ne!(steps, &after[name], "{granularity:?}: `{name}` was not trained");
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        network.to_model(Default::default()).unwrap().save(file.path()).unwrap();
        let model = Model::load(file.path()).unwrap();
        let layers = model.plan.weights.keys();
        for name in layers.map(|layer| format!("{layer}.weight")) {
            assert_eq!(model.values(&name).unwrap(), values(network.leaf(&name).unwrap()), "{granularity:?}: {name}");
        }
        let again = Network::from_model(&Engine::cpu(), &model).unwrap();
        let images = made(&[8, 3, 32, 32], 0.77);
        let [ours, theirs] =
            [&network, &again].map(|network| tch::no_grad(|| network.forward(&images, Mode::Eval)).unwrap());
        assert!(ours.equal(&theirs), "{granularity:?}");
        assert!(network.to_folded_model(Default::default()).is_err(), "folded, the weights have no grid");
    }
}

/// Quantizers that are off are not there: values and gradients are those of full precision.
#[test]
fn off_they_do_nothing() {
    let mut network = learned_network(2, Buckets::Channel, 4);
    network.set_quantizing(false).unwrap();
    let graph = network.graph().clone();
    let full =
        Network::new(&Engine::cpu(), &graph, &QuantPlan::default(), &network.values().unwrap(), Weights::FullPrecision);
    let mut full = full.unwrap();
    let steps = network.learned().unwrap();
    train(&mut network, Rule::Sgd { momentum: 0.9, nesterov: true }, 2);
    train(&mut full, Rule::Sgd { momentum: 0.9, nesterov: true }, 2);
    assert_eq!(network.values().unwrap(), full.values().unwrap());
    assert_eq!(network.learned().unwrap(), steps);
}

#[test]
fn a_step_that_is_zero_or_no_number_is_named() {
    let mut network = learned_network(4, Buckets::Channel, 3);
    assert_eq!(network.problem(), None);
    let mut learned = network.learned().unwrap();
    let good = learned.clone();
    learned.get_mut("layer1.0.conv1.weight:step").unwrap()[2] = -200.0;
    network.set_learned(&learned).unwrap();
    let problem = network.problem().unwrap();
    assert!(problem.contains("`layer1.0.conv1.weight`") && problem.contains("of bucket 2 is 0"), "{problem}");
    assert!(network.to_model(Default::default()).is_err());
    let mut learned = good;
    learned.get_mut("layer1.0.relu1:step").unwrap()[0] = f32::NAN;
    network.set_learned(&learned).unwrap();
    let problem = network.problem().unwrap();
    assert!(problem.contains("`layer1.0.relu1`") && problem.contains("NaN"), "{problem}");
}

/// What a checkpoint holds brings another network to the same Q(w), in whatever order it is read.
#[test]
fn weights_follow_the_steps_that_are_taken_over() {
    let mut trained = learned_network(3, Buckets::Channel, 5);
    train(&mut trained, Rule::Adam, 3);
    let mut resumed = learned_network(3, Buckets::Channel, 5);
    resumed.set_values(&trained.values().unwrap()).unwrap();
    resumed.set_learned(&trained.learned().unwrap()).unwrap();
    for name in ["layer1.0.conv1.weight", "layer3.0.conv2.weight", "fc.weight"] {
        assert_eq!(values(resumed.leaf(name).unwrap()), values(trained.leaf(name).unwrap()), "{name}");
    }
}

#[test]
fn bits_that_no_step_has_are_refused() {
    for bits in [1, 17] {
        let quant = WeightQuant { bits, buckets: Buckets::Layer, grid: Grid::MinMax };
        let error = LearnedWeights::new(&made(&[8], 0.1), quant, 1.0).err().unwrap().to_string();
        assert!(error.contains(&format!("2 to 16 bits, not {bits}")), "{error}");
        assert!(LearnedValues::new(bits, &Spread::over([0.0, 1.0]), 1, 1.0, Device::Cpu).is_err());
    }
}

/// Weights and values that are all the same still have a grid.
#[test]
fn nothing_but_zeros() {
    let quant = WeightQuant { bits: 2, buckets: Buckets::Channel, grid: Grid::MinMax };
    let weights = Tensor::from_slice(&[0.0f32, 0.0, 0.5, -1.0]).view([2, 2]);
    let quantizer = LearnedWeights::new(&weights, quant, 1.0).unwrap();
    assert_eq!(values(&quantizer.quantize(&weights, ON).unwrap()), [0.0, 0.0, 0.5, -1.0]);
    let zeros = LearnedWeights::new(&weights.zeros_like(), quant, 1.0).unwrap();
    assert_eq!(zeros.problem(), None);
    let quantizer = LearnedValues::new(2, &Spread::over([0.0, 0.0]), 4, 1.0, Device::Cpu).unwrap();
    let out = quantize_by_step(
        &weights.zeros_like(),
        StepQuantizer { bits: 2, log_step: &logarithm(&quantizer), zero: None, factor: 1.0 },
    );
    assert_eq!(values(&out.unwrap()), [0.0; 4]);
}
