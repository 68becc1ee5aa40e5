//! What learners may ask of the host while they run: show and keep progress, say whether to stop,
//! run another learner, give an agent.

use crate::layers::Layers;
use crate::logging::SHOWN;
use crate::normalised;
use crate::options;
use crate::progress::Progress;
use crate::provenance::{self, Kept};
use crate::registry::Registry;
use crate::report::Recorder;
use crate::select::Selection;
use crate::signals::Stop;
use pocketflow::agent::Agent;
use pocketflow::dataset::Dataset;
use pocketflow::job::{Event, Host, Job};
use pocketflow::option::{HostOptions, OptionSpec};
use pocketflow::plugin::PluginKind;
use pocketflow::report::Report;
use pocketflow::settings::Settings;
use pocketflow::workers::Group;
use pocketflow::{Error, ErrorKind, Result};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The host's side of one run.
pub struct Services {
    me: Weak<Self>,
    registry: Arc<Registry>,
    layers: Layers,
    options: Vec<OptionSpec>,
    selection: Selection,
    dataset: Arc<dyn Dataset>,
    run_dir: PathBuf,
    kept: Mutex<Kept>,
    /// Files that were missing, by their names in `kept`: whoever is asked to make them does.
    awaited: Vec<(String, PathBuf)>,
    progress: Arc<Progress>,
    stop: Stop,
    recorder: Mutex<Recording>,
    group: Group,
    /// Jobs that were given so far.
    jobs: AtomicU32,
    /// The learners at work, the outermost first: each asked for the next.
    at_work: Mutex<Vec<String>>,
}

struct Recording {
    recorder: Recorder,
    /// The first failure; a full disk would otherwise be told of at each step.
    failed: Option<Error>,
}

/// What a run is made of, for [`Services::new`].
pub struct Parts {
    pub registry: Arc<Registry>,
    pub layers: Layers,
    pub selection: Selection,
    pub dataset: Arc<dyn Dataset>,
    pub run_dir: PathBuf,
    pub kept: Kept,
    /// [`provenance::Files::missing`].
    pub awaited: Vec<(String, PathBuf)>,
    pub progress: Arc<Progress>,
    pub stop: Stop,
    pub group: Group,
    pub recorder: Recorder,
}

impl Services {
    pub fn new(parts: Parts) -> Arc<Self> {
        let Parts { registry, layers, selection, dataset, run_dir, kept, awaited, progress, stop, group, recorder } =
            parts;
        let at_work = Mutex::new(vec![selection.learner.name.clone()]);
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            registry,
            layers,
            options: options::host_options(),
            selection,
            dataset,
            run_dir,
            kept: Mutex::new(kept),
            awaited,
            progress,
            stop,
            group,
            jobs: AtomicU32::new(0),
            recorder: Mutex::new(Recording { recorder, failed: None }),
            at_work,
        })
    }

    /// The group of workers of the next job.
    pub fn next_group(&self) -> Group {
        let mut group = self.group.clone();
        group.job = self.jobs.fetch_add(1, Ordering::Relaxed);
        group
    }

    /// Sees to it that all events are on disk.
    ///
    /// # Errors
    /// Any event, or the end, could not be written.
    pub fn finish(&self) -> Result<()> {
        let mut recording = held(&self.recorder);
        let finished = recording.recorder.finish();
        recording.failed.take().map_or(finished, Err)
    }

    fn run_inner(&self, learner: &str, replaced: &[(String, String)]) -> Result<Report> {
        let declaration = self.registry.find(PluginKind::Learner, learner)?.declaration.clone();
        let name = declaration.name.clone();
        let asking = {
            let mut at_work = held(&self.at_work);
            let asking = at_work.last().cloned().unwrap_or_default();
            if at_work.contains(&name) {
                let message =
                    format!("learner `{asking}` asks for `{name}`, which waits for it; no learner can finish");
                return Err(Error::failed(message));
            }
            at_work.push(name.clone());
            asking
        };
        let _left = Left(&self.at_work);
        let mut selection = self.selection.clone();
        let outer = std::mem::replace(&mut selection.learner, declaration);
        // The outer learner's flags are no mistakes while it waits for this one.
        let mut settings = selection.settings_with(&self.layers, &[&outer])?;
        let reason = format!("learner {asking} runs {name}");
        settings.derive(&HostOptions::learner(), name.clone(), &reason);
        let data_changed = self.replace(&selection, &mut settings, replaced, &reason)?;
        let dataset = match data_changed {
            true => normalised::as_set(self.registry.dataset(&selection.dataset.name, &settings)?, &settings)?,
            false => Arc::clone(&self.dataset),
        };
        let host: Arc<dyn Host> =
            self.me.upgrade().ok_or_else(|| Error::failed("the run that asks for a learner is over"))?;
        let net = self.registry.net(&selection.net.name, &settings)?;
        if data_changed {
            normalised::expect_fit(&net.graph()?, &dataset.info())?;
        }
        let job = Job {
            net,
            net_id: selection.net.name.clone(),
            dataset,
            host,
            run_dir: self.run_dir.clone(),
            model: None,
            group: self.next_group(),
            settings,
        };
        self.keep_plugin(PluginKind::Learner, &name)?;
        let report = self.registry.learner(&name, &job.settings)?.train(&job)?;
        self.keep_awaited()?;
        Ok(report)
    }

    /// Keeps what a plugin is that the run asks for.
    fn keep_plugin(&self, kind: PluginKind, name: &str) -> Result<()> {
        let (name, print) = provenance::plugin_print(&self.registry, kind, name)?;
        held(&self.kept).add(name, print)
    }

    /// Keeps what files are that were missing.
    fn keep_awaited(&self) -> Result<()> {
        for (name, path) in &self.awaited {
            let mut kept = held(&self.kept);
            if kept.is_missing(name)
                && let Some(print) = provenance::appeared(path)?
            {
                kept.add(name.clone(), print)?;
            }
        }
        Ok(())
    }

    /// Puts the values in place that a learner wants for another; true where one is the data set's.
    fn replace(
        &self,
        selection: &Selection,
        settings: &mut Settings,
        replaced: &[(String, String)],
        reason: &str,
    ) -> Result<bool> {
        let mut data_changed = false;
        for (key, text) in replaced {
            let Some((spec, kind)) = selection.spec(&self.options, key) else {
                return Err(Error::config(format!("`{key}` = {text} ({reason}): none of the plugins has this option")));
            };
            let value = spec
                .kind
                .parse(text)
                .map_err(|error| Error::config(format!("`{}` = {text} ({reason}): {error}", spec.key)))?;
            settings.derive(&spec.key, value, reason);
            data_changed |= kind == Some(PluginKind::Dataset);
        }
        Ok(data_changed)
    }
}

impl Host for Services {
    fn event(&self, event: Event) {
        let mut recording = held(&self.recorder);
        if recording.failed.is_none()
            && let Err(error) = recording.recorder.event(&event)
        {
            tracing::warn!("the figures of this run are no longer kept: {error}");
            recording.failed = Some(error);
        }
        drop(recording);
        log(&event);
        self.progress.event(&event);
    }

    fn interrupted(&self) -> bool {
        self.stop.requested()
    }

    fn run_learner(&self, learner: &str, replaced: &[(String, String)]) -> Result<Report> {
        self.run_inner(learner, replaced).map_err(|error| match error.kind() {
            ErrorKind::Interrupted => error,
            _ => error.context(format!("learner `{learner}` did not finish")),
        })
    }

    fn agent(&self, name: &str) -> Result<Box<dyn Agent>> {
        let declaration = &self.registry.find(PluginKind::Agent, name)?.declaration;
        let settings = self.selection.settings_with(&self.layers, &[declaration])?;
        self.keep_plugin(PluginKind::Agent, &declaration.name)?;
        self.registry.agent(&declaration.name, &settings)
    }
}

/// Takes a learner off the list, however it ended.
struct Left<'a>(&'a Mutex<Vec<String>>);

impl Drop for Left<'_> {
    fn drop(&mut self) {
        held(self.0).pop();
    }
}

/// A thread that panicked with the lock held left the data whole: each change is a single step.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What [`Progress`] shows, as lines for `log.txt`. Steps are left to `metrics.jsonl`.
fn log(event: &Event) {
    match event {
        Event::Phase { name, steps, done } => {
            tracing::info!(target: SHOWN, "{name} begins: {done} of {steps} steps done")
        }
        Event::PhaseEnd { name, seconds } => tracing::info!(target: SHOWN, "{name} done in {seconds:.1} s"),
        Event::Evaluation { phase, split, step, epoch, loss, top1, top5 } => tracing::info!(
            target: SHOWN,
            "{phase}: {split} after {epoch:.2} epochs (step {step}): top-1 {top1:.4}, top-5 {top5:.4}, loss {loss:.4}"
        ),
        Event::Note { text, warning: true } => tracing::warn!(target: SHOWN, "{text}"),
        Event::Note { text, warning: false } => tracing::info!(target: SHOWN, "{text}"),
        Event::Step { phase, step, loss, .. } | Event::Tick { phase, step, loss, .. } => {
            tracing::trace!(target: SHOWN, "{phase}: step {step}, loss {loss:.4}")
        }
        Event::Scalar { phase, name, step, value } => {
            tracing::trace!(target: SHOWN, "{phase}: step {step}, {name} {value}")
        }
        Event::Progress { phase, step, text } => tracing::info!(target: SHOWN, "{phase}: {step}: {text}"),
        _ => {}
    }
}
