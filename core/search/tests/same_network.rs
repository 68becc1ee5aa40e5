//! A search judges the network that a learner makes of the same bits, ranges of activations
//! included.

use pocketflow::clip::WeightRange;
use pocketflow::job::Job;
use pocketflow::model::ModelMeta;
use pocketflow::option::Value;
use pocketflow::plugin::Plugin;
use pocketflow::quant::Buckets;
use pocketflow::settings::Settings;
use pocketflow_resnet_cifar10::ResnetAtCifar10;
use pocketflow_search::evaluator::Evaluator;
use pocketflow_search::quantization::Quantization;
use pocketflow_synthetic::Synthetic;
use pocketflow_testing::TestHost;
use pocketflow_torch::calibrate::{Preparation, prepare};
use pocketflow_torch::engine::Engine;
use pocketflow_torch::images::ImageSet;
use pocketflow_torch::network::{Mode, Network, Weights};
use std::sync::Arc;
use tch::Tensor;

fn job() -> Job {
    let mut settings = Settings::defaults([("net", ResnetAtCifar10::options()), ("data", Synthetic::options())]);
    for (key, value) in [
        ("seed", 7),
        ("resnet_size", 8),
        ("nb_smpls_train", 160),
        ("nb_smpls_val", 40),
        ("nb_smpls_eval", 40),
        ("batch_size", 16),
    ] {
        settings.derive(key, Value::Int(value), "the test");
    }
    Job {
        net_id: "resnet_at_cifar10".into(),
        net: Box::new(ResnetAtCifar10::configure(&settings).unwrap()),
        dataset: Arc::new(Synthetic::configure(&settings).unwrap()),
        host: Arc::new(TestHost::default()),
        run_dir: "run".into(),
        model: None,
        group: pocketflow::workers::Group::alone(),
        settings,
    }
}

fn logits(network: &Network, images: &Tensor) -> Vec<f32> {
    let logits = tch::no_grad(|| network.forward(images, Mode::Eval)).unwrap();
    Vec::try_from(logits.view([-1])).unwrap()
}

#[test]
fn the_network_of_an_allocation_is_that_of_the_learner() {
    let (job, engine) = (job(), Engine::cpu());
    let graph = job.net.graph().unwrap();
    let parent = Network::initialised(&engine, &graph, 3).unwrap().to_model(ModelMeta::default()).unwrap();
    let pool = ImageSet::calibration(&engine, &job).unwrap();
    for range in [WeightRange::MinMax, WeightRange::Mse] {
        let quantization = Quantization {
            activation_bits: 4,
            save_path: "model.ckpt".into(),
            buckets: Buckets::Channel,
            all_layers: false,
            edge_bits: 32,
            range,
            reestimate: false,
        };
        let mut plan = quantization.plan(&graph, 8);
        let bits: Vec<u32> = (0..plan.weights.len() as u32).map(|layer| 2 + layer % 3).collect();
        let mut evaluator = Evaluator::new(&engine, &job, &parent, &quantization, &pool).unwrap();
        evaluator.allocate(&bits).unwrap();
        evaluator.take_ranges().unwrap();

        for (layer, bits) in evaluator.layers().iter().zip(&bits) {
            plan.weights.get_mut(&layer.name).unwrap().bits = *bits;
        }
        let values = parent.all_values().unwrap();
        let mut made = Network::new(&engine, &graph, &plan, &values, Weights::FullPrecision).unwrap();
        prepare(&mut made, &job, &pool, Preparation { range, steps: None, statistics: false }).unwrap();

        let judged = evaluator.network();
        assert_eq!(judged.plan().unwrap(), made.plan().unwrap(), "bits and ranges, {range:?}");
        let images = pool.tensors(&job).next().unwrap().unwrap();
        assert_eq!(logits(judged, &images), logits(&made, &images), "{range:?}");
    }
}
