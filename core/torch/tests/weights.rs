//! The kernel that quantizes weights against the definition in `pocketflow::quant`: what is trained with is what is saved.

use pocketflow::quant::{Buckets, Grid, QuantPlan, quantize};
use pocketflow_resnet_cifar10::{Shortcut, resnet};
use pocketflow_torch::kernels::quantize_weights;
use pocketflow_torch::network::{Mode, Network, Weights};
use proptest::prelude::*;
use tch::{Device, Kind, Tensor};

fn by_kernel(weights: &[f32], bits: u32, bucket_size: usize) -> Vec<f32> {
    let source = Tensor::from_slice(weights);
    let result = source.zeros_like();
    quantize_weights(&[&source], &[&result], &[bits.into()], &[bucket_size as i64]).unwrap();
    Vec::<f32>::try_from(result).unwrap()
}

proptest! {
    #[test]
    fn equals_the_definition(
        weights in prop::collection::vec(-3.0f32..3.0, 1..2000),
        scale in prop::sample::select(vec![1e-20f32, 1e-3, 1.0, 1e10]),
        bits in 1u32..=31,
        size in prop::sample::select(vec![1usize, 7, 64, 256, 100_000]),
    ) {
        let weights: Vec<f32> = weights.into_iter().map(|weight| weight * scale).collect();
        prop_assert_eq!(by_kernel(&weights, bits, size), quantize(&weights, bits, size, Grid::MinMax).unwrap().values());
    }
}

#[test]
fn a_constant_bucket_stays() {
    assert_eq!(by_kernel(&[0.25; 40], 3, 16), vec![0.25; 40]);
}

#[test]
fn no_number_stays_none() {
    assert!(by_kernel(&[0.1, f32::NAN, 0.2], 4, 3).iter().any(|value| value.is_nan()));
}

/// The saved model gives, image by image, exactly what the network gave that it was saved from.
#[test]
fn a_saved_network_answers_the_same() {
    let graph = resnet(8, Shortcut::Pad, 10).unwrap();
    let values = Network::initialised(&graph, 5).unwrap().values().unwrap();
    let images = Tensor::randn([8, 3, 32, 32], (Kind::Float, Device::Cpu));
    for buckets in [Buckets::Layer, Buckets::Channel, Buckets::Split(100)] {
        let plan = QuantPlan::uniform(&graph, 3, 5, buckets, true);
        let network = Network::new(&graph, &plan, &values, Weights::FullPrecision).unwrap();
        let _ranges_and_statistics = tch::no_grad(|| network.forward(&images, Mode::Train)).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        network.to_model(Default::default()).unwrap().save(file.path()).unwrap();
        let model = pocketflow::model::Model::load(file.path()).unwrap();
        let again = Network::from_model(&model).unwrap();
        let [ours, theirs] =
            [&network, &again].map(|network| tch::no_grad(|| network.forward(&images, Mode::Eval)).unwrap());
        assert!(ours.equal(&theirs), "{buckets:?}");
    }
}

/// An image's answer in evaluation does not depend on its neighbours.
#[test]
fn evaluation_looks_at_one_image_at_a_time() {
    let graph = resnet(8, Shortcut::Projection, 10).unwrap();
    let values = Network::initialised(&graph, 6).unwrap().values().unwrap();
    let plan = QuantPlan::uniform(&graph, 4, 4, Buckets::Layer, false);
    let network = Network::new(&graph, &plan, &values, Weights::FullPrecision).unwrap();
    let images = Tensor::randn([16, 3, 32, 32], (Kind::Float, Device::Cpu));
    let _ranges_and_statistics = tch::no_grad(|| network.forward(&images, Mode::Train)).unwrap();
    let all = tch::no_grad(|| network.forward(&images, Mode::Eval)).unwrap();
    let alone = tch::no_grad(|| network.forward(&images.narrow(0, 3, 1), Mode::Eval)).unwrap();
    let off = (all.narrow(0, 3, 1) - alone).abs().max().double_value(&[]);
    assert!(off < 1e-4, "{off}");
}
