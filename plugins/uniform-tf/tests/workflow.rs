//! The learner's workflow on a small net and stand-in images: what it saves, what it reports, and
//! that a run which was stopped ends in the same bytes as one that was not.

use pocketflow::dataset::Split;
use pocketflow::graph::Op;
use pocketflow::job::Job;
use pocketflow::learner::Learner;
use pocketflow::model::Model;
use pocketflow::option::Value;
use pocketflow::plugin::Plugin;
use pocketflow::report::Report;
use pocketflow::settings::Settings;
use pocketflow::{ErrorKind, Result};
use pocketflow_resnet_cifar10::ResnetAtCifar10;
use pocketflow_synthetic::Synthetic;
use pocketflow_testing::TestHost;
use pocketflow_torch::engine::Engine;
use pocketflow_torch::evaluate::judge;
use pocketflow_torch::network::Network;
use pocketflow_uniform_tf::UniformTf;
use std::path::Path;
use std::sync::Arc;

/// A job in `dir`: ResNet-8, 10 steps an epoch, 2 epochs; parent there.
fn job(dir: &Path, run: &str, host: TestHost, changed: &[(&str, Value)]) -> (Job, Arc<TestHost>) {
    let mut settings = Settings::default();
    for spec in [ResnetAtCifar10::options(), Synthetic::options(), UniformTf::options()].concat() {
        match spec.default {
            Some(value) => settings.derive(&spec.key, value, "the default"),
            None => settings.insert(
                spec.key.clone(),
                pocketflow::settings::Setting {
                    value: None,
                    origin: pocketflow::settings::Origin::Derived { reason: "unset".into() },
                    overrode: Vec::new(),
                    owner: "test".into(),
                },
            ),
        }
    }
    let text = |text: &str| Value::Text(text.into());
    let path = |name: &str| Value::Text(dir.join(run).join(name).display().to_string());
    for (key, value) in [
        ("device", text("cpu")),
        ("amp", Value::Bool(false)),
        ("n", Value::Int(1)),
        ("threads", Value::Int(1)),
        ("seed", Value::Int(7)),
        ("eval_split", text("eval")),
        ("enbl_dst", Value::Bool(false)),
        ("summ_step", Value::Int(1)),
        ("save_step", Value::Int(1000)),
        ("resume", Value::Bool(true)),
        ("save_path", Value::Text(dir.join("parent.ckpt").display().to_string())),
        ("resnet_size", Value::Int(8)),
        ("nb_epochs_rat", Value::Float(0.008)),
        ("nb_smpls_train", Value::Int(160)),
        ("nb_smpls_val", Value::Int(0)),
        ("nb_smpls_eval", Value::Int(40)),
        ("batch_size", Value::Int(16)),
        ("batch_size_eval", Value::Int(20)),
        ("uqtf_save_path", path("train.ckpt")),
        ("uqtf_save_path_eval", path("eval.ckpt")),
        ("uqtf_lrn_rate_dcy", Value::Float(0.3)),
    ] {
        settings.derive(key, value, "the test");
    }
    for (key, value) in changed {
        settings.derive(key, value.clone(), "the test case");
    }
    let host = Arc::new(host);
    let job = Job {
        net_id: "resnet_at_cifar10".into(),
        net: Box::new(ResnetAtCifar10::configure(&settings).unwrap()),
        dataset: Arc::new(Synthetic::configure(&settings).unwrap()),
        host: host.clone(),
        run_dir: dir.join(run),
        model: None,
        group: pocketflow::workers::Group::alone(),
        settings,
    };
    std::fs::create_dir_all(&job.run_dir).unwrap();
    (job, host)
}

/// A folder with a parent of fresh weights.
fn place() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (job, _) = job(dir.path(), "parent", TestHost::default(), &[]);
    let network = Network::initialised(&Engine::cpu(), &job.net.graph().unwrap(), 3).unwrap();
    let meta = pocketflow_torch::outcome::meta(&job, "full-prec", network.graph(), None).unwrap();
    network.to_model(meta).unwrap().save(&dir.path().join("parent.ckpt")).unwrap();
    dir
}

fn train(job: &Job) -> Result<Report> {
    UniformTf::configure(&job.settings).unwrap().train(job)
}

#[test]
fn what_is_reported_is_what_is_saved() {
    let dir = place();
    for target in ["int8", "uint8"] {
        let (job, _) = job(dir.path(), target, TestHost::default(), &[("uqtf_target", Value::Text(target.into()))]);
        let report = train(&job).unwrap();
        let saved = |name: &str| Model::load(&dir.path().join(target).join(name)).unwrap();
        let (training, evaluation) = (saved("train.ckpt"), saved("eval.ckpt"));

        assert!(evaluation.graph.nodes.iter().all(|node| !matches!(node.op, Op::BatchNorm(_))));
        assert!(training.graph.nodes.iter().any(|node| matches!(node.op, Op::BatchNorm(_))));
        assert_eq!(evaluation.meta.top1.map(f64::is_finite), Some(true));
        assert_eq!(report.weight_bits_mean, 8.0);
        for layer in &report.layers {
            assert_eq!((layer.weight_bits, layer.activation_bits), (8, Some(8)), "{}", layer.name);
            assert!(layer.weight_error > 0.0 && layer.weight_error < 0.05, "{}: {}", layer.name, layer.weight_error);
        }
        assert!(report.compression_ratio > 3.0, "{}", report.compression_ratio);
        assert!(report.top1_full_precision.is_some());

        let again = UniformTf::configure(&job.settings).unwrap().evaluate(&job).unwrap();
        assert_eq!((again.top1, again.loss), (report.top1, report.loss));
        let network = Network::from_model(&Engine::cpu(), &evaluation).unwrap();
        let (metrics, classes) = judge(&network, &job, Split::Eval).unwrap();
        assert_eq!((metrics.top1, classes.len()), (report.top1, 40));
    }
}

#[test]
fn a_stopped_run_ends_in_the_same_bytes() {
    let dir = place();
    let delays = [("uqtf_quant_delay", Value::Int(6)), ("uqtf_freeze_bn_delay", Value::Int(13))];
    train(&job(dir.path(), "whole", TestHost::default(), &delays).0).unwrap();
    // In each of the three modes: before quantization, before freezing, after both.
    for _ in 0..3 {
        let error = train(&job(dir.path(), "stopped", TestHost::stopping_after(5, 0), &delays).0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}");
    }
    train(&job(dir.path(), "stopped", TestHost::default(), &delays).0).unwrap();
    for name in ["train.ckpt", "eval.ckpt"] {
        let [whole, stopped] = ["whole", "stopped"].map(|run| std::fs::read(dir.path().join(run).join(name)).unwrap());
        assert!(whole == stopped, "{name}");
    }
    train(&job(dir.path(), "undelayed", TestHost::default(), &[]).0).unwrap();
    let [whole, undelayed] =
        ["whole", "undelayed"].map(|run| std::fs::read(dir.path().join(run).join("eval.ckpt")).unwrap());
    assert!(whole != undelayed, "delays do something");
}

/// The loop asks once after the last step of an epoch, and the evaluation after each batch: the
/// second answer stops the evaluation.
#[test]
fn an_evaluation_that_was_stopped_is_made_up_for() {
    let dir = place();
    let (whole, counted) = job(dir.path(), "whole", TestHost::default(), &[]);
    train(&whole).unwrap();
    assert_eq!(counted.evaluations(), 2, "one an epoch");
    let (stopped, first) = job(dir.path(), "stopped", TestHost::stopping_after(10, 1), &[]);
    assert_eq!(train(&stopped).unwrap_err().kind(), ErrorKind::Interrupted);
    assert_eq!(first.evaluations(), 0, "it was stopped in the first evaluation");
    let (again, second) = job(dir.path(), "stopped", TestHost::default(), &[]);
    train(&again).unwrap();
    assert_eq!(second.evaluations(), 2, "that of the first epoch, too");
    for name in ["train.ckpt", "eval.ckpt"] {
        let [whole, stopped] = ["whole", "stopped"].map(|run| std::fs::read(dir.path().join(run).join(name)).unwrap());
        assert!(whole == stopped, "{name}");
    }
}

#[test]
fn a_delay_beyond_the_training_quantizes_at_its_end() {
    let dir = place();
    let (job, host) = job(dir.path(), "delayed", TestHost::default(), &[("uqtf_quant_delay", Value::Int(1000))]);
    let report = train(&job).unwrap();
    assert!(host.notes().iter().any(|note| note.contains("uqtf_quant_delay = 1000")));
    assert_eq!(report.weight_bits_mean, 8.0);
}
