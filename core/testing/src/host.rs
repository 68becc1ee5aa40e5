//! The services of a host, for tests.

use pocketflow::agent::Agent;
use pocketflow::job::{Event, Host};
use pocketflow::report::Report;
use pocketflow::{Error, Result};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Runs another learner: its name, and the settings that are replaced.
type Learner = Box<dyn Fn(&str, &[(String, String)]) -> Result<Report> + Send + Sync>;

/// A host that keeps what it is told. It offers no agent, and no learner but the one it is given.
#[derive(Default)]
pub struct TestHost {
    /// After so many training steps it asks to stop; `None`: never.
    stop_after: Option<u64>,
    /// How often it is asked after these steps before it asks to stop.
    patience: AtomicU64,
    steps: AtomicU64,
    events: Mutex<Vec<Event>>,
    learner: Option<Learner>,
}

impl TestHost {
    /// Asks to stop after so many training steps, at the question after `patience` others.
    pub fn stopping_after(steps: u64, patience: u64) -> Self {
        Self { stop_after: Some(steps), patience: patience.into(), ..Self::default() }
    }

    /// Runs `learner` where another learner is asked for, whatever its name.
    pub fn with_learner(learner: impl Fn(&str, &[(String, String)]) -> Result<Report> + Send + Sync + 'static) -> Self {
        Self { learner: Some(Box::new(learner)), ..Self::default() }
    }

    /// What it was told, in order.
    pub fn events(&self) -> Vec<Event> {
        self.events.lock().map(|events| events.clone()).unwrap_or_default()
    }

    /// The texts of the notes and warnings among the events.
    pub fn notes(&self) -> Vec<String> {
        let note = |event| match event {
            Event::Note { text, .. } => Some(text),
            _ => None,
        };
        self.events().into_iter().filter_map(note).collect()
    }

    /// The number of evaluations among the events.
    pub fn evaluations(&self) -> usize {
        self.events().iter().filter(|event| matches!(event, Event::Evaluation { .. })).count()
    }
}

impl Host for TestHost {
    fn event(&self, event: Event) {
        if matches!(event, Event::Step { .. }) {
            self.steps.fetch_add(1, Ordering::SeqCst);
        }
        if let Ok(mut events) = self.events.lock() {
            events.push(event);
        }
    }

    fn interrupted(&self) -> bool {
        let waits = |left: u64| left.checked_sub(1);
        self.stop_after.is_some_and(|after| self.steps.load(Ordering::SeqCst) >= after)
            && self.patience.fetch_update(Ordering::SeqCst, Ordering::SeqCst, waits).is_err()
    }

    fn run_learner(&self, learner: &str, replaced: &[(String, String)]) -> Result<Report> {
        match &self.learner {
            Some(run) => run(learner, replaced),
            None => Err(Error::failed(format!("{learner} is not here"))),
        }
    }

    fn agent(&self, name: &str) -> Result<Box<dyn Agent>> {
        Err(Error::failed(format!("{name} is not here")))
    }
}
