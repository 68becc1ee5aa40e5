//! The training loop: every learner trains with it, each under its own schedule, optimizer and
//! plan.

mod meter;
mod run;
pub mod step;
#[cfg(test)]
mod tests;

use crate::checkpoint::Progress;
use crate::evaluate::Metrics;
use crate::loss::Distillation;
use crate::network::Network;
use crate::optimizer::{Optimizer, Rule};
use pocketflow::checkpoints::Checkpoints;
use pocketflow::dataset::Split;
use pocketflow::dataset::counted::without_images;
use pocketflow::dataset::options::DatasetOptions;
use pocketflow::job::Job;
use pocketflow::net::Schedule;
use pocketflow::option::{EvalSplit, HostOptions};
use pocketflow::{Error, Result};
use run::Run;
use std::time::Duration;

/// What to do.
pub struct Training<'a> {
    /// Names the phase in progress, curves and checkpoint: mostly the learner's name.
    pub phase: &'a str,
    /// How many passes over the training images, with their fraction.
    pub epochs: f64,
    /// How gradients change the parameters.
    pub rule: Rule,
    /// The learning rate over the epochs.
    pub schedule: Schedule,
    /// Of the squared weights, 0 or more.
    pub weight_decay: f64,
    /// A network to learn from, and how much it counts.
    pub teacher: Option<(&'a Network, Distillation)>,
    /// Steps before the network's quantizers are turned on.
    pub quant_delay: u64,
    /// Steps after which batch normalisation uses its running statistics and no longer updates
    /// them.
    pub freeze_delay: Option<u64>,
}

/// What a training did.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Trained {
    /// Over all attempts.
    pub steps: u64,
    /// Of training, without evaluations, over all attempts.
    pub seconds: f64,
    /// In the steps of this process; 0 if there were none.
    pub images_per_second: f64,
    /// Of this process's training time, the share spent waiting for batches.
    pub waiting: f64,
    /// The last evaluation; `None` without any step.
    pub last: Option<Metrics>,
}

/// Which images to train and evaluate on: with `eval_split = val` the validation images are held
/// out of training and evaluated on, else all training images and the test images.
///
/// # Errors
/// The setting is not declared; there are no images to evaluate on, which is better said before the
/// training than after it.
pub fn splits(job: &Job) -> Result<(Split, Split)> {
    let splits = match job.settings.get(HostOptions::eval_split())? {
        EvalSplit::Val => (Split::Fit, Split::Val),
        EvalSplit::Eval => (Split::Train, Split::Eval),
    };
    let info = job.dataset.info();
    match info.samples(splits.1) {
        0 => Err(without_images(&info, splits.1).context("there is nothing to measure the accuracy on")),
        _ => Ok(splits),
    }
}

/// Returns the word for the split of [`splits`] that is evaluated on.
pub(crate) fn split_name(split: Split) -> &'static str {
    if split == Split::Val { "val" } else { "eval" }
}

/// Trains the network: from the start, or with `resume` from the phase's checkpoint where there is
/// one. Evaluates after every epoch, saves checkpoints after every epoch and every `save_step`
/// steps, and when the host asks to stop.
///
/// # Errors
/// [`pocketflow::ErrorKind::Interrupted`] after saving; a loss that is no number; what data set,
/// disk or libtorch report.
pub fn train(network: &mut Network, job: &Job, training: &Training) -> Result<Trained> {
    train_on(network, job, training, splits(job)?)
}

/// As [`train`], on the images of the first split and evaluated on those of the second, whatever
/// the settings say.
///
/// # Errors
/// As there.
pub fn train_on(network: &mut Network, job: &Job, training: &Training, splits: (Split, Split)) -> Result<Trained> {
    let settings = &job.settings;
    let (split, evaluated) = splits;
    let info = job.dataset.info();
    let workers = u64::from(network.engine().workers().size());
    // Of all workers together.
    let batch_size = settings.get(DatasetOptions::batch_size())? as u64 * workers;
    let steps_per_epoch = info.samples(split) / batch_size;
    if steps_per_epoch == 0 {
        let (images, each) = (info.samples(split), if workers > 1 { " on each of the workers" } else { "" });
        let problem = format!("the training split has only {images} images: not one batch is full{each}");
        return Err(settings.invalid(&DatasetOptions::batch_size(), &problem));
    }
    let total_steps = (training.epochs * steps_per_epoch as f64).round() as u64;
    if total_steps == 0 && training.epochs > 0.0 {
        let (phase, epochs) = (training.phase, training.epochs);
        let problem =
            format!("{phase}: {epochs} epochs of {steps_per_epoch} steps are not one step: nothing would be trained");
        return Err(Error::config(format!(
            "{problem}; raise the number of epochs (nb_epochs_rat), or use more images"
        )));
    }
    let optimizer = Optimizer::new(training.rule, training.weight_decay, network);
    let progress = Progress {
        phase: training.phase.into(),
        graph: network.graph().name.clone(),
        dataset: info.name,
        seed: settings.get(HostOptions::seed())?,
        batch_size,
        total_steps,
        step: 0,
        seconds: 0.0,
        last: None,
        evaluation_due: false,
    };
    let mut run = Run {
        checkpoints: Checkpoints::of(&job.run_dir, training.phase),
        saved: None,
        steps: 0,
        busy: Duration::ZERO,
        network,
        job,
        training,
        evaluated,
        optimizer,
        progress,
        steps_per_epoch,
    };
    if settings.get(HostOptions::resume())? {
        run.take_up()?;
    }
    run.take_first()?;
    run.run(split)
}
