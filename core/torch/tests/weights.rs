//! The kernel that quantizes weights against the definition in `pocketflow::quant`: what is trained
//! with is what is saved.

use pocketflow::quant::{Buckets, Grid, QuantPlan, quantize};
use pocketflow_resnet_cifar10::{Shortcut, resnet};
use pocketflow_torch::engine::Engine;
use pocketflow_torch::kernels::{Fold, WeightGrid, WeightJob, quantize_weights};
use pocketflow_torch::network::{Mode, Network, Weights};
use proptest::prelude::*;
use tch::{Device, Kind, Tensor};

fn by_kernel(weights: &[f32], bits: u32, bucket_size: usize, grid: Grid, fold: Option<Fold>) -> Vec<f32> {
    let source = &Tensor::from_slice(weights);
    let result = &source.zeros_like();
    quantize_weights(&[WeightJob {
        source,
        result,
        grid: WeightGrid { bits, bucket_size, grid },
        fold,
        log_steps: None,
    }])
    .unwrap();
    Vec::<f32>::try_from(result).unwrap()
}

proptest! {
    #[test]
    fn equals_the_definition(
        weights in prop::collection::vec(-3.0f32..3.0, 1..2000),
        scale in prop::sample::select(vec![1e-20f32, 1e-3, 1.0, 1e10]),
        bits in 1u32..=31,
        size in prop::sample::select(vec![1usize, 7, 64, 256, 100_000]),
        shift in prop::sample::select(vec![0.0f32, 2.5, -4.0]),
    ) {
        let weights: Vec<f32> = weights.into_iter().map(|weight| (weight + shift) * scale).collect();
        for (grid, bits) in [(Grid::MinMax, bits), (Grid::Symmetric, bits.clamp(2, 16)), (Grid::Affine, bits.clamp(2, 16))] {
            let defined = quantize(&weights, bits, size, grid).unwrap().values();
            prop_assert_eq!(by_kernel(&weights, bits, size, grid, None), defined);
        }
    }

    /// What training uses before a batch normalisation is what is deployed, folded and quantized,
    /// divided by what it was multiplied by.
    #[test]
    fn folds_as_the_model_is_folded(
        weights in prop::collection::vec(-3.0f32..3.0, 60),
        gammas in prop::collection::vec(prop::sample::select(vec![0.0f32, 1e-30, 0.3, -2.0, 40.0]), 5),
        variances in prop::collection::vec(prop::sample::select(vec![0.0f32, 1e-3, 1.0, 1e4]), 5),
        bits in 2u32..=16,
        size in prop::sample::select(vec![12usize, 60, 7]),
    ) {
        let [gamma, variance] = [&gammas, &variances].map(|values| Tensor::from_slice(values));
        let fold = Fold { scale: &gamma, variance: &variance, eps: 1e-5 };
        let scales: Vec<f64> =
            gammas.iter().zip(&variances).map(|(g, v)| f64::from(*g) / (f64::from(*v) + 1e-5).sqrt()).collect();
        let folded: Vec<f32> = (0..60).map(|i| (f64::from(weights[i]) * scales[i / 12]) as f32).collect();
        for grid in [Grid::Symmetric, Grid::Affine] {
            let deployed = quantize(&folded, bits, size, grid).unwrap().values();
            let used = by_kernel(&weights, bits, size, grid, Some(fold));
            for i in 0..60 {
                match scales[i / 12] {
                    scale if scale.abs() < 1e-10 => prop_assert_eq!(used[i], weights[i]),
                    scale => prop_assert_eq!(used[i], (f64::from(deployed[i]) / scale) as f32),
                }
            }
        }
    }
}

#[test]
fn a_constant_bucket_stays() {
    assert_eq!(by_kernel(&[0.25; 40], 3, 16, Grid::MinMax, None), vec![0.25; 40]);
}

#[test]
fn no_number_stays_none() {
    for grid in [Grid::MinMax, Grid::Symmetric, Grid::Affine] {
        for bad in [f32::NAN, f32::INFINITY] {
            let values = by_kernel(&[0.1, bad, 0.2], 4, 3, grid, None);
            assert!(values.iter().any(|value| !value.is_finite()), "{grid:?} {values:?}");
        }
    }
}

#[test]
fn no_bits_change_nothing() {
    assert_eq!(by_kernel(&[0.1, 0.7, -0.2], 0, 3, Grid::Symmetric, None), [0.1, 0.7, -0.2]);
}

#[test]
fn a_batch_norm_of_other_channels_is_an_error() {
    let (source, result, gamma) =
        (Tensor::from_slice(&[1.0f32; 7]), Tensor::from_slice(&[0.0f32; 7]), Tensor::from_slice(&[1.0f32; 3]));
    let fold = Some(Fold { scale: &gamma, variance: &gamma, eps: 0.0 });
    let (source, result, grid) = (&source, &result, Grid::Affine);
    let error = quantize_weights(&[WeightJob {
        source,
        result,
        grid: WeightGrid { bits: 8, bucket_size: 7, grid },
        fold,
        log_steps: None,
    }])
    .unwrap_err();
    assert!(error.to_string().contains("channels"), "{error}");
}

/// The saved model gives, image by image, exactly what the network gave that it was saved from.
#[test]
fn a_saved_network_answers_the_same() {
    let graph = resnet(8, Shortcut::Pad, 10).unwrap();
    let values = Network::initialised(&Engine::cpu(), &graph, 5).unwrap().values().unwrap();
    let images = Tensor::randn([8, 3, 32, 32], (Kind::Float, Device::Cpu));
    for buckets in [Buckets::Layer, Buckets::Channel, Buckets::Split(100)] {
        let plan = QuantPlan::uniform(&graph, 3, 5, buckets, true);
        let network = Network::new(&Engine::cpu(), &graph, &plan, &values, Weights::FullPrecision).unwrap();
        let _ranges_and_statistics = tch::no_grad(|| network.forward(&images, Mode::Train)).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        network.to_model(Default::default()).unwrap().save(file.path()).unwrap();
        let model = pocketflow::model::Model::load(file.path()).unwrap();
        let again = Network::from_model(&Engine::cpu(), &model).unwrap();
        let [ours, theirs] =
            [&network, &again].map(|network| tch::no_grad(|| network.forward(&images, Mode::Eval)).unwrap());
        assert!(ours.equal(&theirs), "{buckets:?}");
    }
}

/// An image's answer in evaluation does not depend on its neighbours.
#[test]
fn evaluation_looks_at_one_image_at_a_time() {
    let graph = resnet(8, Shortcut::Projection, 10).unwrap();
    let values = Network::initialised(&Engine::cpu(), &graph, 6).unwrap().values().unwrap();
    let plan = QuantPlan::uniform(&graph, 4, 4, Buckets::Layer, false);
    let network = Network::new(&Engine::cpu(), &graph, &plan, &values, Weights::FullPrecision).unwrap();
    let images = Tensor::randn([16, 3, 32, 32], (Kind::Float, Device::Cpu));
    let _ranges_and_statistics = tch::no_grad(|| network.forward(&images, Mode::Train)).unwrap();
    let all = tch::no_grad(|| network.forward(&images, Mode::Eval)).unwrap();
    let alone = tch::no_grad(|| network.forward(&images.narrow(0, 3, 1), Mode::Eval)).unwrap();
    let off = (all.narrow(0, 3, 1) - alone).abs().max().double_value(&[]);
    assert!(off < 1e-4, "{off}");
}
