//! The training loop: every learner trains with it, each under its own schedule, optimizer and
//! plan.

use crate::checkpoint::{self, Progress, Saved};
use crate::evaluate::{Metrics, evaluate};
use crate::loader::{Loaded, Loader, Stream};
use crate::loss::{self, Distillation};
use crate::network::{Mode, Network};
use crate::optimizer::{Optimizer, Rule};
use crate::{device, kernels};
use pocketflow::checkpoints::{Checkpoints, Found};
use pocketflow::dataset::Split;
use pocketflow::dataset::counted::without_images;
use pocketflow::job::{Event, Job};
use pocketflow::net::Schedule;
use pocketflow::{Error, ErrorKind, Result};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tch::Kind;

/// How often a running training shows a sign of life.
const TICK: Duration = Duration::from_millis(200);

/// What to do.
pub struct Training<'a> {
    /// Names the phase in progress, curves and checkpoint: `full-prec`, `uniform`.
    pub phase: &'a str,
    pub epochs: f64,
    pub rule: Rule,
    pub schedule: Schedule,
    pub weight_decay: f64,
    /// A network to learn from, and how much it counts.
    pub teacher: Option<(&'a Network, Distillation)>,
    /// Steps before the network's quantizers are turned on.
    pub quant_delay: u64,
    /// Steps after which batch normalisation uses its running statistics and no longer updates
    /// them.
    pub freeze_delay: Option<u64>,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Trained {
    pub steps: u64,
    /// Of training, without evaluations, over all attempts.
    pub seconds: f64,
    /// In the steps of this process; 0 if there were none.
    pub images_per_second: f64,
    /// Of this process's training time, the share spent waiting for batches.
    pub waiting: f64,
    /// Of the last evaluation, if this process made one.
    pub last: Option<Metrics>,
}

/// Which images to train and evaluate on: with `eval_split = val` the validation images are held
/// out of training and evaluated on, else all training images and the test images.
///
/// # Errors
/// The setting is not declared; there are no images to evaluate on, which is better said before the
/// training than after it.
pub fn splits(job: &Job) -> Result<(Split, Split)> {
    let splits = match job.settings.get::<String>("eval_split")?.as_str() {
        "val" => (Split::Fit, Split::Val),
        _ => (Split::Train, Split::Eval),
    };
    let info = job.dataset.info();
    match info.samples(splits.1) {
        0 => Err(without_images(&info, splits.1).context("there is nothing to measure the accuracy on")),
        _ => Ok(splits),
    }
}

/// The word for the split of [`splits`] that is evaluated on.
pub(crate) fn split_name(split: Split) -> &'static str {
    if split == Split::Val { "val" } else { "eval" }
}

/// Mean loss and hits since they were last taken.
#[derive(Default)]
struct Running {
    loss: f64,
    hits: f64,
    images: u64,
    steps: u64,
}

/// A training under way.
struct Run<'a> {
    network: &'a mut Network,
    job: &'a Job,
    training: &'a Training<'a>,
    evaluated: Split,
    optimizer: Optimizer,
    progress: Progress,
    checkpoints: Checkpoints,
    /// The step that the newest of them is of.
    saved: Option<u64>,
    steps_per_epoch: u64,
    /// Steps of this process, and the time they took without evaluations.
    steps: u64,
    busy: Duration,
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
    let batch_size: u64 = settings.get("batch_size")?;
    let steps_per_epoch = info.samples(split) / batch_size;
    if steps_per_epoch == 0 {
        let problem = format!("the training split has only {} images: not one batch is full", info.samples(split));
        return Err(settings.invalid("batch_size", &problem));
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
        seed: settings.get("seed")?,
        batch_size,
        total_steps,
        step: 0,
        seconds: 0.0,
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
    if settings.get("resume")? {
        run.take_up()?;
    }
    run.finish(split)
}

impl Run<'_> {
    /// Goes on from the phase's checkpoint where there is one.
    fn take_up(&mut self) -> Result<()> {
        let found = checkpoint::load(&self.checkpoints, &self.progress, self.network, &mut self.optimizer)?;
        if let Some(Found { state, warning }) = found {
            self.progress = state;
            self.saved = Some(self.progress.step);
            if let Some(warning) = warning {
                self.job.warn(warning);
            }
            let Progress { phase, step, total_steps, .. } = &self.progress;
            tracing::info!("{phase} goes on after step {step} of {total_steps}");
        }
        Ok(())
    }

    fn finish(&mut self, split: Split) -> Result<Trained> {
        let before = self.progress.seconds;
        let (phase, done) = (self.training.phase.to_owned(), self.progress.step);
        self.event(Event::Phase { name: phase.clone(), steps: self.progress.total_steps, done });
        let mut loader = Loader::start(Stream {
            dataset: Arc::clone(&self.job.dataset),
            split,
            batch_size: self.progress.batch_size as usize,
            seed: self.progress.seed,
            first: done,
            per_epoch: Some(self.steps_per_epoch),
        })?;
        let every: (u64, u64) = (self.job.settings.get("summ_step")?, self.job.settings.get("save_step")?);
        let mut running = Running::default();
        let mut last = None;
        let mut ticked = Instant::now();
        while self.progress.step < self.progress.total_steps {
            let start = Instant::now();
            let batch = match loader.next_batch(&*self.job.host) {
                Ok(batch) => batch.ok_or_else(|| Error::failed("the data loader ended before the training"))?,
                Err(error) if error.kind() == ErrorKind::Interrupted => return Err(self.stop()?),
                Err(error) => return Err(error),
            };
            self.step(&batch, &mut running)?;
            self.steps += 1;
            self.busy += start.elapsed();
            self.progress.step += 1;
            self.progress.seconds = before + self.busy.as_secs_f64();
            let step = self.progress.step;
            if step.is_multiple_of(every.0) || step == self.progress.total_steps {
                self.summarise(&mut running);
            } else if ticked.elapsed() > TICK {
                self.tick(&running);
                ticked = Instant::now();
            }
            let epoch_ends = step.is_multiple_of(self.steps_per_epoch) || step == self.progress.total_steps;
            if self.job.host.interrupted() {
                return Err(self.stop()?);
            }
            if epoch_ends || step.is_multiple_of(every.1) {
                self.save()?;
            }
            if epoch_ends {
                last = Some(self.evaluate()?);
            }
        }
        let images = self.steps * self.progress.batch_size;
        let seconds = self.busy.as_secs_f64();
        let per_second = |amount: f64| if seconds > 0.0 { amount / seconds } else { 0.0 };
        let waiting = per_second(loader.waited().as_secs_f64());
        tracing::info!("{phase}: {:.1} % of the training time was spent waiting for images", 100.0 * waiting);
        self.event(Event::PhaseEnd { name: phase, seconds: self.progress.seconds });
        Ok(Trained {
            steps: self.progress.step,
            seconds: self.progress.seconds,
            images_per_second: per_second(images as f64),
            waiting,
            last,
        })
    }

    /// Saves, and says that the training stopped on request.
    fn stop(&mut self) -> Result<Error> {
        self.save()?;
        let Progress { phase, step, total_steps, .. } = &self.progress;
        Ok(Error::interrupted(format!("{phase} stopped, saved after step {step} of {total_steps}")))
    }

    fn step(&mut self, batch: &Loaded, running: &mut Running) -> Result<()> {
        // From the step alone, so that a resumed run is in the same mode.
        let step = self.progress.step;
        self.network.set_quantizing(step >= self.training.quant_delay)?;
        let frozen = self.training.freeze_delay.is_some_and(|delay| step >= delay);
        let mode = if frozen { Mode::Calibrate } else { Mode::Train };
        let logits = kernels::mixed_precision(device::mixed(), || self.network.forward(&batch.images, mode))?;
        let logits = logits.to_kind(Kind::Float);
        let mut loss = loss::cross_entropy(&logits, &batch.labels)?;
        if let Some((teacher, with)) = self.training.teacher {
            let taught = tch::no_grad(|| teacher.forward(&batch.images, Mode::Eval))?;
            loss += loss::distillation(&logits, &taught, with);
        }
        let value = loss.double_value(&[]);
        if !value.is_finite() {
            return Err(self.diverged(&format!("the loss is {value} at"), self.progress.step + 1));
        }
        loss.f_backward().map_err(|error| crate::torch_error("backward pass", &error))?;
        let rate = self.training.schedule.rate(self.epoch(), self.training.epochs);
        self.optimizer.step(self.network, rate)?;
        running.loss += value;
        running.hits += loss::hits(&logits, &batch.labels, 1).0;
        running.images += self.progress.batch_size;
        running.steps += 1;
        Ok(())
    }

    /// Epochs done, with their fraction.
    fn epoch(&self) -> f64 {
        self.progress.step as f64 / self.steps_per_epoch as f64
    }

    /// The end of a training whose numbers are none: `what` was found at a step.
    fn diverged(&self, what: &str, step: u64) -> Error {
        let kept = match self.checkpoints.exist() {
            true => format!("the last good checkpoint stays at {}", self.checkpoints.newest().display()),
            false => "no checkpoint was saved yet".into(),
        };
        let epoch = self.epoch();
        let rate = self.training.schedule.rate(epoch, self.training.epochs);
        Error::failed(format!("{what} step {step} (epoch {epoch:.2}), with learning rate {rate:.2e}"))
            .context(format!("{} diverged; {kept}; lower the learning rate (lrn_rate_init)", self.training.phase))
    }

    /// Saves, unless this step is saved already: two files of one step would be no use where one is
    /// damaged.
    fn save(&mut self) -> Result<()> {
        if self.saved == Some(self.progress.step) {
            return Ok(());
        }
        match checkpoint::save(&self.checkpoints, &self.progress, self.network, &self.optimizer)? {
            Saved::Yes => {
                self.saved = Some(self.progress.step);
                Ok(())
            }
            Saved::NotFinite(what) => Err(self.diverged(&format!("{what} after"), self.progress.step)),
        }
    }

    fn evaluate(&self) -> Result<Metrics> {
        let split = self.evaluated;
        let metrics = evaluate(self.network, self.job, split)?;
        self.event(Event::Evaluation {
            phase: self.training.phase.into(),
            split: split_name(split).into(),
            step: self.progress.step,
            epoch: self.epoch(),
            loss: metrics.loss,
            top1: metrics.top1,
            top5: metrics.top5,
        });
        Ok(metrics)
    }

    fn rates(&self) -> (f64, f64) {
        let lrn_rate = self.training.schedule.rate(self.epoch(), self.training.epochs);
        (lrn_rate, (self.steps * self.progress.batch_size) as f64 / self.busy.as_secs_f64().max(1e-9))
    }

    fn summarise(&self, running: &mut Running) {
        let running = std::mem::take(running);
        let (lrn_rate, images_per_second) = self.rates();
        self.event(Event::Step {
            phase: self.training.phase.into(),
            step: self.progress.step,
            epoch: self.epoch(),
            loss: running.loss / running.steps.max(1) as f64,
            top1: running.hits / running.images.max(1) as f64,
            lrn_rate,
            images_per_second,
        });
    }

    fn tick(&self, running: &Running) {
        let (_, images_per_second) = self.rates();
        self.event(Event::Tick {
            phase: self.training.phase.into(),
            step: self.progress.step,
            epoch: self.epoch(),
            loss: running.loss / running.steps.max(1) as f64,
            top1: running.hits / running.images.max(1) as f64,
            images_per_second,
        });
    }

    fn event(&self, event: Event) {
        self.job.host.event(event);
    }
}
