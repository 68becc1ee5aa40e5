//! What a learner is given: the job, and the services of the host.

use crate::agent::Agent;
use crate::dataset::Dataset;
use crate::error::Result;
use crate::net::Net;
use crate::report::Report;
use crate::settings::Settings;
use crate::workers::Group;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;

/// One job for one learner.
pub struct Job {
    /// All settings of host, net, data set and learner, resolved.
    pub settings: Settings,
    /// The id of the net, as files record it: `resnet_at_cifar10`.
    pub net_id: String,
    /// The network to train, as a graph, and its recipe.
    pub net: Box<dyn Net>,
    /// The images to train and evaluate on.
    pub dataset: Arc<dyn Dataset>,
    /// The services of the program that runs the job.
    pub host: Arc<dyn Host>,
    /// Where this run keeps what it leaves and what it needs to resume; exists.
    pub run_dir: PathBuf,
    /// For [`crate::learner::Learner::evaluate`]: the model file to evaluate; `None`: where the
    /// learner saves.
    pub model: Option<PathBuf>,
    /// The workers that do this job together.
    pub group: Group,
}

impl Job {
    /// Says something once that a person should know.
    pub fn note(&self, text: impl Into<String>) {
        self.host.event(Event::Note { text: text.into(), warning: false });
    }

    /// As [`Job::note`], but so that it stands out.
    pub fn warn(&self, text: impl Into<String>) {
        self.host.event(Event::Note { text: text.into(), warning: true });
    }
}

/// The services of the host. Callable from any thread.
pub trait Host: Send + Sync {
    /// Reports progress; shown, logged and kept for the run's report.
    fn event(&self, event: Event);

    /// True once the user asked to stop: save and return [`crate::ErrorKind::Interrupted`].
    fn interrupted(&self) -> bool;

    /// Runs another learner on the same net and data, with some settings replaced (`key`, text as
    /// in a flag).
    ///
    /// # Errors
    /// No such learner, a setting it does not take, or its own failure.
    fn run_learner(&self, learner: &str, replaced: &[(String, String)]) -> Result<Report>;

    /// An agent, by plugin name.
    ///
    /// # Errors
    /// No such agent; the message lists those there are.
    fn agent(&self, name: &str) -> Result<Box<dyn Agent>>;
}

/// Progress, as plain data.
///
/// What is new comes as a new event, never as a field of one that is there: a program that does not
/// know an event drops it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// A stage of the work begins, by the name of a learner or of a part of its work; `steps` from
    /// the very start, `done` of them before a resume.
    Phase {
        /// Unique among the stages of a run: the name of a learner or of a part of its work.
        name: String,
        /// Steps of the whole stage, counted from its very start.
        steps: u64,
        /// Of them, those done before a resume; 0 without one.
        done: u64,
    },
    /// One training step is done. Loss and accuracy are means since the last event of this kind.
    Step {
        /// The stage, as [`Event::Phase`] names it.
        phase: String,
        /// Steps of the stage that are done.
        step: u64,
        /// Passes over the training data that are done; may be a fraction.
        epoch: f64,
        /// Mean over the steps' batches.
        loss: f64,
        /// Fraction of the images told right, 0–1.
        top1: f64,
        /// Learning rate of the next step.
        lrn_rate: f64,
        /// Throughput of the training in this process, without evaluations.
        images_per_second: f64,
    },
    /// A sign of life between two `Step`s, for the screen only: not kept.
    Tick {
        /// The stage, as [`Event::Phase`] names it.
        phase: String,
        /// Steps of the stage that are done.
        step: u64,
        /// Passes over the training data that are done; may be a fraction.
        epoch: f64,
        /// Mean over the batches since the last `Step`.
        loss: f64,
        /// Fraction of their images told right, 0–1.
        top1: f64,
        /// Throughput of the training in this process, without evaluations.
        images_per_second: f64,
    },
    /// What there is to say of a step that is no training step: a roll-out, a layer that was
    /// measured. For the screen and the log only; its figures come as [`Event::Scalar`].
    Progress {
        /// The stage, as [`Event::Phase`] names it.
        phase: String,
        /// Steps of the stage that are done.
        step: u64,
        /// A line for people.
        text: String,
    },
    /// An evaluation on the named split after `epoch` epochs. Fractions 0–1.
    Evaluation {
        /// The stage, as [`Event::Phase`] names it.
        phase: String,
        /// Name of the split: `val` or `eval`.
        split: String,
        /// Steps of the stage that are done.
        step: u64,
        /// Passes over the training data that are done; may be a fraction.
        epoch: f64,
        /// Mean cross-entropy.
        loss: f64,
        /// Fraction of images whose class has the largest logit.
        top1: f64,
        /// Fraction of images whose class is among the five largest logits.
        top5: f64,
    },
    /// Any other figure worth a curve.
    Scalar {
        /// The stage, as [`Event::Phase`] names it.
        phase: String,
        /// Name of the curve: `reward`.
        name: String,
        /// Where the point lies on the curve, in steps of the stage.
        step: u64,
        /// The figure; may be infinite or not a number.
        value: f64,
    },
    /// What an evaluation decided: the class with the largest logit for each image of the split, in
    /// file order. For comparing exported files image by image; not kept.
    Decisions {
        /// Name of the split: `eval`.
        split: String,
        /// One class for each image.
        classes: Vec<u32>,
    },
    /// The stage is over.
    PhaseEnd {
        /// The stage, as [`Event::Phase`] names it.
        name: String,
        /// Seconds that it took; of a training without its evaluations, but with the time before a
        /// resume.
        seconds: f64,
    },
    /// Something a person should know, said once: `warning` stands out.
    Note {
        /// A sentence for people.
        text: String,
        /// Whether it is shown as a warning.
        warning: bool,
    },
    /// An event of a newer version. It is dropped where it arrives: no [`Host`] is given one.
    #[serde(other)]
    Unknown,
}
