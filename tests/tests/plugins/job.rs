//! A job whose host keeps what it is told.

use crate::fixtures::toy;
use host::registry::Registry;
use pocketflow::agent::Agent;
use pocketflow::dataset::Dataset;
use pocketflow::job::{Event, Host, Job};
use pocketflow::report::{LayerReport, Report};
use pocketflow::settings::Settings;
use pocketflow::{Error, Result};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;

/// The host's services, recorded.
#[derive(Default)]
pub struct Recorder {
    pub events: Mutex<Vec<(Event, ThreadId)>>,
    pub stop: bool,
}

impl Host for Recorder {
    fn event(&self, event: Event) {
        self.events.lock().unwrap().push((event, std::thread::current().id()));
    }

    fn interrupted(&self) -> bool {
        self.stop
    }

    fn run_learner(&self, learner: &str, replaced: &[(String, String)]) -> Result<Report> {
        if learner != "another" {
            return Err(Error::config(format!("there is no learner `{learner}`")));
        }
        let layer =
            |(key, value): &(String, String)| LayerReport { name: format!("{key}={value}"), ..Default::default() };
        Ok(Report { learner: learner.into(), layers: replaced.iter().map(layer).collect(), ..Report::default() })
    }

    fn agent(&self, name: &str) -> Result<Box<dyn Agent>> {
        let registry = toy();
        let settings = crate::fixtures::settings(&registry, &[]);
        registry.agent(name, &settings)
    }
}

/// A job on a registry's net and data set `toy`.
pub fn job(registry: &Registry, settings: Settings, host: Arc<Recorder>) -> Job {
    let dataset = registry.dataset("toy", &settings).unwrap();
    job_on(registry, dataset, settings, host)
}

pub fn job_on(registry: &Registry, dataset: Arc<dyn Dataset>, settings: Settings, host: Arc<Recorder>) -> Job {
    Job {
        net_id: "toy".into(),
        net: registry.net("toy", &settings).unwrap(),
        dataset,
        host,
        run_dir: "/tmp/runs/x".into(),
        model: None,
        group: pocketflow::workers::Group::alone(),
        settings,
    }
}
