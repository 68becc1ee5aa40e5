//! A panic in any function of a plugin is an error that says who panicked, in what and where; the
//! process goes on, quietly.

use crate::fixtures::{discover, in_child, library, settings};
use crate::job::{Recorder, job, job_on};
use host::registry::Registry;
use pocketflow::agent::{AgentSpace, Transition};
use pocketflow::dataset::{Batch, Shard, Split};
use pocketflow::{Error, Result};
use std::sync::Arc;

fn registry() -> Registry {
    discover([library("panics"), library("toy")])
}

fn assert_panicked(error: &Error, function: &str) {
    let text = error.to_string();
    let start = format!("plugin `panics` panicked in `{function}`: boom in {function} (");
    assert!(text.starts_with(&start) && text.contains("lib.rs:"), "{text}");
}

/// Calls everything of a plugin whose setting is to panic in `function`; gives the first error.
fn first_error(registry: &Registry, kind: &str, function: &str) -> Result<()> {
    let settings = settings(registry, &[(&format!("panic_in_{kind}"), function)]);
    match kind {
        "net" => {
            let net = registry.net("panics", &settings)?;
            net.graph()?;
            pocketflow::abi::catch("recipe", || Ok(net.recipe(1)))?;
        }
        "dataset" => {
            let dataset = registry.dataset("panics", &settings)?;
            let mut batch = Batch::new(2, [1, 1, 1]);
            let mut batches = dataset.open(Split::Train, Shard::WHOLE, 0)?;
            batches.skip(1)?;
            let next = batches.next(&mut batch);
            assert_eq!((batch.capacity(), batch.images.len()), (2, 2), "the buffers come back");
            next?;
        }
        "agent" => {
            let mut agent = registry.agent("panics", &settings)?;
            agent.prepare(&AgentSpace::new(1, 1, 1.0, 1, 1))?;
            agent.begin()?;
            agent.act(&[1.0])?;
            agent.record(Transition { state: vec![], action: vec![], next_state: vec![], terminal: true })?;
            agent.finish(1.0)?;
            agent.learn()?;
            let saved = agent.save()?;
            agent.restore(&saved)?;
        }
        _ => {
            let mut learner = registry.learner("panics", &settings)?;
            let job = job(registry, settings, Arc::default());
            learner.train(&job)?;
            learner.evaluate(&job)?;
        }
    }
    Ok(())
}

const FUNCTIONS: [(&str, &[&str]); 4] = [
    ("net", &["configure", "graph", "recipe"]),
    ("dataset", &["configure", "info", "open", "next", "skip"]),
    ("agent", &["configure", "prepare", "begin", "act", "record", "finish", "learn", "save", "restore"]),
    ("learner", &["configure", "train", "evaluate"]),
];

#[test]
fn every_function_of_every_kind() {
    if let Some((_, stderr)) = in_child("panics::every_function_of_every_kind", &[]) {
        assert!(!stderr.contains("panicked at") && !stderr.contains("boom"), "the hook is quiet: {stderr}");
        return;
    }
    let registry = registry();
    for (kind, functions) in FUNCTIONS {
        for function in functions {
            assert_panicked(&first_error(&registry, kind, function).unwrap_err(), function);
        }
        first_error(&registry, kind, "nothing").unwrap();
        first_error(&registry, kind, "drop").unwrap();
    }
}

#[test]
fn a_panic_in_options_costs_that_plugin_alone() {
    let registry = registry();
    let mut reasons = registry.failures().iter().map(|failure| &failure.reason);
    let reason = reasons.find(|reason| reason.contains("panics-in-options")).unwrap();
    let want = "net `panics-in-options`: plugin `panics-in-options` panicked in `options`: boom in options (";
    assert!(reason.starts_with(want), "{reason}");
    assert_eq!(registry.entries().iter().filter(|entry| entry.declaration.name == "panics").count(), 4);
}

#[test]
fn a_failure_without_a_result_reaches_the_learners_caller() {
    let registry = registry();
    let settings = settings(&registry, &[("panic_in_net", "recipe"), ("toy_mode", "recipe")]);
    let mut job = job(&registry, settings.clone(), Arc::default());
    job.net = registry.net("panics", &settings).unwrap();
    // Through three libraries: the net's, the host, the learner's.
    for learner in ["panics", "toy"] {
        let result = registry.learner(learner, &settings).unwrap().train(&job);
        assert_panicked(&result.unwrap_err(), "recipe");
    }
}

#[test]
fn a_panic_of_the_hosts_is_the_learners_error() {
    struct Grumpy;
    impl pocketflow::dataset::Dataset for Grumpy {
        fn info(&self) -> pocketflow::dataset::DatasetInfo {
            panic!("no information")
        }

        fn open(&self, _: Split, _: Shard, _: u64) -> Result<Box<dyn pocketflow::dataset::Batches>> {
            Err(Error::failed("closed"))
        }
    }
    let registry = registry();
    let settings = settings(&registry, &[]);
    let job = job_on(&registry, Arc::new(Grumpy), settings.clone(), Arc::new(Recorder::default()));
    let error = registry.learner("toy", &settings).unwrap().train(&job).unwrap_err();
    assert!(error.to_string().starts_with("the host panicked in `info`: no information ("), "{error}");
}
