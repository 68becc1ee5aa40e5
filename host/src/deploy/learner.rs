//! The learner's own evaluation of a model, image by image: what exported files are compared with.

use super::own_graph::OwnGraph;
use crate::registry::Registry;
use crate::select::Selected;
use pocketflow::agent::Agent;
use pocketflow::job::{Event, Host, Job};
use pocketflow::model::Model;
use pocketflow::report::Report;
use pocketflow::{Error, Result};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// What the learner says of a model.
pub struct Verdict {
    pub report: Report,
    /// The class of each test image, in file order; `None` where this learner does not tell.
    pub classes: Option<Vec<u32>>,
}

/// Has the learner that made a model evaluate it on the test images; `folder` is for its files of a
/// while.
///
/// # Errors
/// The learner's.
pub fn evaluate(
    registry: &Registry,
    selected: &Selected,
    path: &Path,
    model: &Model,
    folder: &Path,
) -> Result<Verdict> {
    let host = Arc::new(Listener::default());
    let net = selected.selection.net_plugin(registry, &selected.settings)?;
    let job = Job {
        settings: selected.settings.clone(),
        net_id: selected.selection.net.name.clone(),
        net: Box::new(OwnGraph::new(model.graph.clone(), net)),
        dataset: Arc::clone(&selected.dataset),
        host: host.clone(),
        run_dir: folder.to_owned(),
        model: Some(path.to_owned()),
        group: pocketflow::workers::Group::alone(),
    };
    let report = registry.learner(&selected.selection.learner.name, &job.settings)?.evaluate(&job)?;
    drop(job);
    let classes = host.classes.lock().unwrap_or_else(PoisonError::into_inner).take();
    Ok(Verdict { report, classes })
}

/// Hears what the learner decides, and nothing else.
#[derive(Default)]
struct Listener {
    classes: Mutex<Option<Vec<u32>>>,
}

impl Host for Listener {
    fn event(&self, event: Event) {
        if let Event::Decisions { classes, .. } = event {
            // The first is of the model; a learner may evaluate its parent after.
            self.classes.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(classes);
        }
    }

    fn interrupted(&self) -> bool {
        // Who wishes to stop ends the program: there is nothing to save.
        false
    }

    fn run_learner(&self, learner: &str, _replaced: &[(String, String)]) -> Result<Report> {
        Err(Error::failed(format!("an evaluation does not train: it asks for learner `{learner}`")))
    }

    fn agent(&self, name: &str) -> Result<Box<dyn Agent>> {
        Err(Error::failed(format!("an evaluation needs no agent: it asks for `{name}`")))
    }
}
