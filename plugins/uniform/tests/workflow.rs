//! The learner's workflow on a net of one layer: the bits that it is told, the file that it leaves,
//! and that a run which was stopped ends in the same bytes as one that was not.

use pocketflow::job::Job;
use pocketflow::learner::Learner;
use pocketflow::model::Model;
use pocketflow::option::Value;
use pocketflow::plugin::Plugin;
use pocketflow::report::Report;
use pocketflow::settings::Settings;
use pocketflow::{ErrorKind, Result};
use pocketflow_testing::TestHost;
use pocketflow_torch::engine::Engine;
use pocketflow_torch::network::Network;
use pocketflow_torch::outcome;
use pocketflow_uniform::Uniform;
use std::path::Path;
use std::sync::Arc;

/// A job whose quantized model is saved as `name`, with a parent of fresh weights.
fn job(dir: &Path, name: &str, host: TestHost, changes: &[(&str, Value)]) -> Job {
    let mut job = pocketflow_testing::job(dir, Arc::new(host), &[("resume", true.into())]);
    let own = Settings::defaults([("uniform", Uniform::options())]);
    own.iter().for_each(|(key, setting)| job.settings.insert(key, setting.clone()));
    job.settings.derive("uql_save_quant_model_path", dir.join(name).display().to_string(), "the test");
    job.settings.derive("uql_quantize_all_layers", true, "the test");
    job.settings.derive("uql_quant_epoch", 2_u32, "the test");
    changes.iter().for_each(|(key, value)| job.settings.derive(key, value.clone(), "the test case"));
    job.run_dir = dir.join(name).with_extension("run");
    std::fs::create_dir_all(&job.run_dir).unwrap();
    let parent = dir.join("parent.ckpt");
    if !parent.exists() {
        let graph = job.net.graph().unwrap();
        let meta = outcome::meta(&job, "a-parent", &graph, None).unwrap();
        let network = Network::initialised(&Engine::cpu(), &graph, 3).unwrap();
        network.to_model(meta).unwrap().save(&parent).unwrap();
    }
    job
}

fn train(job: &Job) -> Result<Report> {
    Uniform::configure(&job.settings)?.train(job)
}

#[test]
fn what_is_reported_is_what_is_saved() {
    let dir = tempfile::tempdir().unwrap();
    for (bits, name) in [(4_u32, "four.ckpt"), (8, "eight.ckpt")] {
        let job = job(dir.path(), name, TestHost::default(), &[("uql_weight_bits", bits.into())]);
        let report = train(&job).unwrap();
        let model = Model::load(&dir.path().join(name)).unwrap();
        assert_eq!(model.plan.weights["fc"].bits, bits);
        assert_eq!((report.layers[0].weight_bits, report.weight_bits_mean), (bits, f64::from(bits)));
        assert!(report.top1_full_precision.is_some());
        let again = Uniform::configure(&job.settings).unwrap().evaluate(&job).unwrap();
        assert_eq!((again.top1, again.loss), (report.top1, report.loss));
    }
}

#[test]
fn without_fine_tuning_the_parent_is_quantized() {
    let dir = tempfile::tempdir().unwrap();
    let at_once = job(dir.path(), "at_once.ckpt", TestHost::default(), &[("uql_quant_epoch", 0_u32.into())]);
    train(&at_once).unwrap();
    let [parent, quantized] = ["parent.ckpt", "at_once.ckpt"].map(|name| {
        let model = Model::load(&dir.path().join(name)).unwrap();
        model.values("fc.weight").unwrap()
    });
    let [least, most] = [f32::min, f32::max].map(|of| parent.iter().copied().reduce(of).unwrap());
    let half_a_step = (most - least) / 15.0 / 2.0;
    for (full, coded) in parent.iter().zip(&quantized) {
        assert!((full - coded).abs() <= half_a_step * 1.001, "{full} became {coded}");
    }
    assert_ne!(parent, quantized);
}

#[test]
fn a_stopped_run_ends_in_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    train(&job(dir.path(), "whole.ckpt", TestHost::default(), &[])).unwrap();
    for _ in 0..2 {
        let error = train(&job(dir.path(), "stopped.ckpt", TestHost::stopping_after(4, 0), &[])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}");
    }
    train(&job(dir.path(), "stopped.ckpt", TestHost::default(), &[])).unwrap();
    let [whole, stopped] = ["whole.ckpt", "stopped.ckpt"].map(|name| std::fs::read(dir.path().join(name)).unwrap());
    assert!(whole == stopped);
}

#[test]
fn what_does_not_go_together_is_refused_before_anything_is_trained() {
    let dir = tempfile::tempdir().unwrap();
    let search = [("uql_bit_search", Value::from("uniform"))];
    let job = job(dir.path(), "none.ckpt", TestHost::default(), &search);
    let error = train(&job).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("`nb_smpls_val` = 0"), "{error}");
    assert!(!dir.path().join("none.ckpt").exists());
}
