//! The loop on a net of one layer: what it does, that a stopped training ends as one that was not,
//! and what it refuses.

use super::*;
use crate::engine::Engine;
use crate::network::Weights;
use crate::quantizer::LearnedWeights;
use pocketflow::ErrorKind;
use pocketflow::job::Event;
use pocketflow::option::{HostOptions, Value};
use pocketflow::quant::{Buckets, QuantPlan};
use pocketflow_testing::{TestHost, job};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Six steps of four images an epoch.
fn training(epochs: f64) -> Training<'static> {
    Training {
        phase: "phase",
        epochs,
        rule: Rule::Sgd { momentum: 0.9, nesterov: false },
        schedule: Schedule::Cosine { init: 0.05 },
        weight_decay: 1e-4,
        teacher: None,
        quant_delay: 0,
        freeze_delay: None,
    }
}

fn run(job: &Job, training: &Training) -> Result<(Trained, BTreeMap<String, Vec<f32>>)> {
    let mut network = Network::initialised(&Engine::cpu(), &job.net.graph()?, 3)?;
    let trained = train(&mut network, job, training)?;
    Ok((trained, network.values()?))
}

fn refused(dir: &Path, training: &Training, changes: &[(&str, Value)]) -> String {
    let error = run(&job(dir, Arc::default(), changes), training).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    error.to_string()
}

#[test]
fn it_learns_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let host = Arc::new(TestHost::default());
    let (trained, _) = run(&job(dir.path(), host.clone(), &[]), &training(4.0)).unwrap();
    let events = host.events();
    let steps = events.iter().filter(|event| matches!(event, Event::Step { .. })).count();
    assert_eq!((trained.steps, steps, host.evaluations()), (24, 24, 4));
    let losses: Vec<f64> = events
        .iter()
        .filter_map(|event| match event {
            Event::Evaluation { loss, .. } => Some(*loss),
            _ => None,
        })
        .collect();
    assert!(losses[3] < losses[0], "{losses:?}");
    assert_eq!(trained.last.map(|metrics| metrics.loss), Some(losses[3]));
}

#[test]
fn a_stopped_training_ends_in_the_same_bits() {
    let [whole, stopped] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let (trained, values) = run(&job(whole.path(), Arc::default(), &[]), &training(2.0)).unwrap();
    let resume = [("resume", Value::Bool(true))];
    // In the middle of an epoch, and in the evaluation at its end.
    for (steps, patience) in [(4, 0), (2, 1)] {
        let host = Arc::new(TestHost::stopping_after(steps, patience));
        let error = run(&job(stopped.path(), host, &resume), &training(2.0)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}");
    }
    let (again, same) = run(&job(stopped.path(), Arc::default(), &resume), &training(2.0)).unwrap();
    assert_eq!((again.steps, again.last), (trained.steps, trained.last));
    assert_eq!(same, values);
}

#[test]
fn a_training_that_is_over_is_not_trained_again() {
    let dir = tempfile::tempdir().unwrap();
    let resume = [("resume", Value::Bool(true))];
    let first = run(&job(dir.path(), Arc::default(), &resume), &training(1.0)).unwrap();
    let host = Arc::new(TestHost::default());
    let second = run(&job(dir.path(), host.clone(), &resume), &training(1.0)).unwrap();
    assert_eq!((second.0.steps, second.0.last, second.1), (first.0.steps, first.0.last, first.1));
    assert!(!host.events().iter().any(|event| matches!(event, Event::Step { .. })));
}

#[test]
fn no_epochs_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let job = job(dir.path(), Arc::default(), &[]);
    let (trained, values) = run(&job, &training(0.0)).unwrap();
    let fresh = Network::initialised(&Engine::cpu(), &job.net.graph().unwrap(), 3).unwrap();
    assert_eq!((trained.steps, trained.last), (0, None));
    assert_eq!(values, fresh.values().unwrap());
}

#[test]
fn what_is_no_training_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let said = refused(dir.path(), &training(1.0), &[("batch_size", 25_usize.into())]);
    assert!(said.contains("`batch_size` = 25") && said.contains("only 24 images"), "{said}");
    let said = refused(dir.path(), &training(0.01), &[]);
    assert!(said.contains("nothing would be trained"), "{said}");
    let said = refused(dir.path(), &training(1.0), &[("eval_split", "val".into())]);
    assert!(said.contains("nothing to measure the accuracy on"), "{said}");
}

#[test]
fn a_loss_that_is_no_number_ends_it_and_names_the_step() {
    let dir = tempfile::tempdir().unwrap();
    let hot = Training { schedule: Schedule::Cosine { init: 1e38 }, ..training(2.0) };
    let error = run(&job(dir.path(), Arc::default(), &[]), &hot).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed);
    let said = error.to_string();
    assert!(said.contains("phase diverged") && said.contains("step "), "{said}");
}

#[test]
fn a_step_that_is_no_longer_one_ends_it_and_the_last_good_checkpoint_stays() {
    let dir = tempfile::tempdir().unwrap();
    let job = job(dir.path(), Arc::default(), &[(HostOptions::save_step().name(), 1_u32.into())]);
    let graph = job.net.graph().unwrap();
    let plan = QuantPlan::uniform(&graph, 4, 32, Buckets::Layer, true);
    let values = Network::initialised(&Engine::cpu(), &graph, 3).unwrap().values().unwrap();
    let mut network = Network::new(&Engine::cpu(), &graph, &plan, &values, Weights::FullPrecision).unwrap();
    let weights = network.tensor("fc.weight").unwrap().shallow_clone();
    // Adam moves ln s by about 40 in a step, and the weights by 0.01: after some steps s is 0 or
    // infinite as f32, while no weight is.
    let steps = LearnedWeights::new(&weights, plan.weights["fc"], 4000.0).unwrap();
    network.set_weight_quantizer("fc", Box::new(steps)).unwrap();
    let hot = Training { rule: Rule::Adam, schedule: Schedule::Cosine { init: 0.01 }, ..training(4.0) };
    let error = train(&mut network, &job, &hot).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed);
    let said = error.to_string();
    assert!(said.contains("`fc.weight`: the learned step is") && said.contains("last good checkpoint stays"), "{said}");
    let checkpoints = Checkpoints::of(&job.run_dir, "phase");
    assert!(checkpoints.exist(), "{said}");
}
