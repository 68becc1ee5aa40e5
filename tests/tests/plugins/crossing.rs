//! Data, errors, buffers and services that cross, in both directions.

use crate::fixtures::{settings, toy};
use crate::job::{Recorder, job, job_on};
use pocketflow::dataset::{Batch, Batches, Dataset, DatasetInfo, Shard, Split};
use pocketflow::job::Event;
use pocketflow::report::Report;
use pocketflow::{ErrorKind, Result};
use std::sync::{Arc, Mutex};

fn train(given: &[(&str, &str)]) -> (Result<Report>, Arc<Recorder>) {
    let registry = toy();
    let settings = settings(&registry, given);
    let host = Arc::new(Recorder::default());
    let mut learner = registry.learner("toy", &settings).unwrap();
    (learner.train(&job(&registry, settings, Arc::clone(&host))), host)
}

#[test]
fn a_job_crosses_whole_and_so_does_its_report() {
    let (report, host) = train(&[("toy_width", "7"), ("toy_count", "12"), ("toy_steps", "2")]);
    let report = report.unwrap();
    assert_eq!(report.net, "toy toy7 12");
    assert_eq!(report.dataset, r#"toy computed [1.5, 2.5, 3.5] ["zero", "one"]"#);
    assert!(report.stand_in_data && report.loss.is_nan());
    assert_eq!(report.model_path, "/tmp/runs/x");
    assert_eq!(report.layers.iter().map(|layer| layer.name.as_str()).collect::<Vec<_>>(), ["fc.weight", "fc.bias"]);
    let events: Vec<Event> = host.events.lock().unwrap().iter().map(|(event, _)| event.clone()).collect();
    let scalar = |step| Event::Scalar { phase: "toy".into(), name: "x".into(), step, value: f64::INFINITY };
    assert_eq!(events, [Event::Phase { name: "toy".into(), steps: 2, done: 0 }, scalar(0), scalar(1)]);
}

#[test]
fn an_instance_keeps_its_state_and_evaluates_the_model_it_is_given() {
    let registry = toy();
    let settings = settings(&registry, &[]);
    let mut learner = registry.learner("plaything", &settings).unwrap();
    let mut job = job(&registry, settings, Arc::default());
    assert_eq!(learner.train(&job).unwrap().seed, 1);
    assert_eq!(learner.train(&job).unwrap().seed, 2);
    assert_eq!(learner.evaluate(&job).unwrap_err().to_string(), "no model is named");
    job.model = Some("/tmp/model.ckpt".into());
    let report = learner.evaluate(&job).unwrap();
    assert_eq!((report.model_path.as_str(), report.seed), ("/tmp/model.ckpt", 2));
}

#[test]
fn errors_keep_their_kind_and_their_causes() {
    let (failed, _) = train(&[("toy_mode", "fail")]);
    let failed = failed.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Config);
    assert_eq!(failed.chain(), ["cannot train", "layer `fc`", "7 bits"]);

    let registry = toy();
    let settings = settings(&registry, &[("toy_missing", "true")]);
    let missing = registry.dataset("toy", &settings).err().unwrap();
    assert_eq!(missing.kind(), ErrorKind::DataNotFound);
    assert_eq!(missing.to_string(), "the data set `toy` is not found: there is no `toy.bin`");
}

#[test]
fn a_wish_to_stop_arrives() {
    let registry = toy();
    let settings = settings(&registry, &[("toy_mode", "interrupted")]);
    for stop in [false, true] {
        let host = Arc::new(Recorder { stop, ..Recorder::default() });
        let result = registry.learner("toy", &settings).unwrap().train(&job(&registry, settings.clone(), host));
        match stop {
            true => assert_eq!(result.unwrap_err().kind(), ErrorKind::Interrupted),
            false => assert_eq!(result.unwrap().top1, 0.25),
        }
    }
}

#[test]
fn learners_run_other_learners() {
    let (report, _) = train(&[("toy_mode", "delegate")]);
    let report = report.unwrap();
    assert_eq!(report.learner, "another");
    assert_eq!(report.layers.iter().map(|layer| layer.name.as_str()).collect::<Vec<_>>(), ["toy_mode=all", "seed=5"]);
}

#[test]
fn agents_act_record_learn_and_are_restored() {
    let (report, _) = train(&[("toy_mode", "agent")]);
    let report = report.unwrap();
    assert_eq!(report.net, "the agent is not prepared");
    assert_eq!(report.dataset, "[1.75, 1.75] a state of 1 values, not 3");
    // (1.75 + 3.5 + 2) once, and ten times where the roll-out ends, and the reward.
    assert_eq!(report.loss, 11.0 * 7.25 + 0.5);
    assert!(report.top1.is_nan());
    assert_eq!(report.model_bytes, 5);
    assert_eq!(report.model_path, "bytes of another agent");
}

#[test]
fn services_and_data_sets_are_used_from_many_threads() {
    let (report, host) = train(&[("toy_mode", "threads"), ("toy_count", "40")]);
    report.unwrap();
    let events = host.events.lock().unwrap();
    let mut texts: Vec<String> = Vec::new();
    for (event, thread) in events.iter() {
        let Event::Note { text, .. } = event else { panic!("{event:?}") };
        assert_ne!(*thread, std::thread::current().id());
        texts.push(text.clone());
    }
    texts.sort();
    let want: Vec<String> = (0..4).flat_map(|thread| [16, 16, 8].map(|count| format!("{thread}: {count}"))).collect();
    let mut want = want;
    want.sort();
    assert_eq!(texts, want);
}

/// A data set of the host's that keeps where the buffers lie that it is given.
struct Watched {
    inner: Arc<dyn Dataset>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Dataset for Watched {
    fn info(&self) -> DatasetInfo {
        self.inner.info()
    }

    fn open(&self, split: Split, shard: Shard, seed: u64) -> Result<Box<dyn Batches>> {
        let inner = self.inner.open(split, shard, seed)?;
        Ok(Box::new(WatchedBatches { inner, seen: Arc::clone(&self.seen) }))
    }
}

struct WatchedBatches {
    inner: Box<dyn Batches>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Batches for WatchedBatches {
    fn next(&mut self, out: &mut Batch) -> Result<bool> {
        let place = |out: &Batch| format!("{:p} {:p}", out.images.as_ptr(), out.labels.as_ptr());
        let before = place(out);
        let more = self.inner.next(out)?;
        assert_eq!(place(out), before, "the plugin's data set fills the same buffers");
        self.seen.lock().unwrap().push(before);
        Ok(more)
    }

    fn skip(&mut self, samples: u64) -> Result<()> {
        self.inner.skip(samples)
    }
}

#[test]
fn batches_fill_the_learners_own_buffers() {
    let registry = toy();
    let settings = settings(&registry, &[("toy_mode", "batches"), ("toy_count", "6")]);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let inner = registry.dataset("toy", &settings).unwrap();
    let watched = Arc::new(Watched { inner, seen: Arc::clone(&seen) });
    let mut learner = registry.learner("toy", &settings).unwrap();
    let report = learner.train(&job_on(&registry, watched, settings, Arc::default())).unwrap();
    let image = |split: &str, id: u32| format!("{split} {} {:?}", id % 2, vec![(id % 256) as u8; 12]);
    // Seed 3; the second half of the training images and all test images, each without its first.
    let want: Vec<String> = [32, 33].map(|label| image("Train", label)).into_iter().collect();
    let first_eval = Split::Eval as u32 * 100 + 30;
    let want: Vec<String> = want.into_iter().chain((1..6).map(|at| image("Eval", first_eval + at))).collect();
    assert_eq!(report.layers.into_iter().map(|layer| layer.name).collect::<Vec<_>>(), want);
    assert_eq!(report.net, "cannot open the data set `toy`\n  because: `fit.bin` is cut");
    let seen = seen.lock().unwrap();
    assert!(seen.len() >= 4 && seen.iter().all(|place| *place == report.dataset), "{seen:?} {}", report.dataset);
}

#[test]
fn a_batch_longer_than_its_buffers_is_refused() {
    let registry = toy();
    let settings = settings(&registry, &[("toy_overlong", "true")]);
    let dataset = registry.dataset("toy", &settings).unwrap();
    let mut batch = Batch::new(4, dataset.info().shape);
    let mut batches = dataset.open(Split::Train, Shard::WHOLE, 0).unwrap();
    let message = batches.next(&mut batch).unwrap_err().to_string();
    assert!(message.contains("a batch of 5 images in buffers for 4"), "{message}");
    assert_eq!((batch.capacity(), batch.images.len()), (4, 48), "the buffers come back");
}
