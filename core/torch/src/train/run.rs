//! A training under way: the loop over batches, with evaluations, checkpoints and progress.

use super::meter::Meter;
use super::step::{Step, Stepped, step};
use super::{Trained, Training, split_name};
use crate::checkpoint::{self, Progress, Saved};
use crate::evaluate::evaluate;
use crate::loader::{Loaded, Loader, Share, Stream};
use crate::network::{Mode, Network};
use crate::optimizer::Optimizer;
use pocketflow::checkpoints::{Checkpoints, Found};
use pocketflow::dataset::Split;
use pocketflow::job::{Event, Job};
use pocketflow::option::HostOptions;
use pocketflow::{Error, ErrorKind, Result};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tch::Device;

/// How often a running training tells the progress bar that it goes on.
const TICK: Duration = Duration::from_millis(200);

/// A training under way.
pub struct Run<'a> {
    pub network: &'a mut Network,
    pub job: &'a Job,
    pub training: &'a Training<'a>,
    pub evaluated: Split,
    pub optimizer: Optimizer,
    pub progress: Progress,
    pub checkpoints: Checkpoints,
    /// The step that the newest of them is of.
    pub saved: Option<u64>,
    pub steps_per_epoch: u64,
    /// Steps of this process, and the time they took without evaluations.
    pub steps: u64,
    pub busy: Duration,
}

impl Run<'_> {
    /// Gives all workers what worker 0 begins with.
    pub fn take_first(&mut self) -> Result<()> {
        let engine = self.network.engine().clone();
        let workers = engine.workers();
        if workers.size() == 1 {
            return Ok(());
        }
        let unreadable = |error: serde_json::Error| Error::failed(format!("what worker 0 begins with: {error}"));
        let progress = workers.share(serde_json::to_vec(&self.progress).map_err(unreadable)?)?;
        self.progress = serde_json::from_slice(&progress).map_err(unreadable)?;
        self.network.take_first()?;
        self.optimizer.take_first(workers, self.progress.step as i64)
    }

    /// Goes on from the phase's checkpoint where there is one; worker 0 alone has them.
    pub fn take_up(&mut self) -> Result<()> {
        if !self.network.engine().workers().leads() {
            return Ok(());
        }
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

    /// Trains to the end, on the images of a split.
    pub fn run(mut self, split: Split) -> Result<Trained> {
        let (phase, done) = (self.training.phase.to_owned(), self.progress.step);
        self.event(Event::Phase { name: phase.clone(), steps: self.progress.total_steps, done });
        let mut loader = Loader::start(Stream {
            engine: self.network.engine().clone(),
            dataset: Arc::clone(&self.job.dataset),
            split,
            batch_size: self.progress.batch_size as usize / self.network.engine().workers().size() as usize,
            seed: self.progress.seed,
            first: done,
            per_epoch: Some(self.steps_per_epoch),
            share: Share::of(self.network.engine()),
        })?;
        if self.progress.evaluation_due {
            self.evaluate()?;
        }
        self.steps(&mut loader)?;
        let waiting = self.per_second(loader.waited().as_secs_f64());
        tracing::info!("{phase}: {:.1} % of the training time was spent waiting for images", 100.0 * waiting);
        self.event(Event::PhaseEnd { name: phase, seconds: self.progress.seconds });
        Ok(Trained {
            steps: self.progress.step,
            seconds: self.progress.seconds,
            images_per_second: self.images_per_second(),
            waiting,
            last: self.progress.last,
        })
    }

    fn steps(&mut self, loader: &mut Loader) -> Result<()> {
        let before = self.progress.seconds;
        let settings = &self.job.settings;
        let every = (settings.get(HostOptions::summ_step())?, settings.get(HostOptions::save_step())?);
        let mut meter = Meter::default();
        let mut ticked = Instant::now();
        while self.progress.step < self.progress.total_steps {
            let start = Instant::now();
            let batch = match loader.next_batch(&*self.job.host) {
                Ok(batch) => batch.ok_or_else(|| Error::failed("the data loader ended before the training"))?,
                Err(error) if error.kind() == ErrorKind::Interrupted => return Err(self.stop()?),
                Err(error) => return Err(error),
            };
            self.step(&batch, &mut meter)?;
            self.steps += 1;
            self.busy += start.elapsed();
            self.progress.step += 1;
            self.progress.seconds = before + self.busy.as_secs_f64();
            let step = self.progress.step;
            if step.is_multiple_of(every.0) || step == self.progress.total_steps {
                self.summarise(&std::mem::take(&mut meter))?;
            } else if ticked.elapsed() > TICK {
                self.tick(&meter);
                ticked = Instant::now();
            }
            self.progress.evaluation_due =
                step.is_multiple_of(self.steps_per_epoch) || step == self.progress.total_steps;
            if self.network.engine().stop_asked(self.job)? {
                return Err(self.stop()?);
            }
            if self.progress.evaluation_due {
                self.evaluate()?;
                self.save()?;
            } else if step.is_multiple_of(every.1) {
                self.save()?;
            }
        }
        Ok(())
    }

    /// Saves, and says that the training stopped on request.
    fn stop(&mut self) -> Result<Error> {
        self.save()?;
        let Progress { phase, step, total_steps, .. } = &self.progress;
        Ok(Error::interrupted(format!("{phase} stopped, saved after step {step} of {total_steps}")))
    }

    fn step(&mut self, batch: &Loaded, meter: &mut Meter) -> Result<()> {
        // From the step alone, so that a resumed run is in the same mode.
        let done = self.progress.step;
        self.network.set_quantizing(done >= self.training.quant_delay)?;
        let frozen = self.training.freeze_delay.is_some_and(|delay| done >= delay);
        let how = Step {
            mode: if frozen { Mode::TrackRanges } else { Mode::Train },
            teacher: self.training.teacher,
            rate: self.rate(),
        };
        match step(self.network, &mut self.optimizer, batch, &how)? {
            Stepped::Done(found) => {
                // Elsewhere it would wait for the device; there a checkpoint looks.
                if self.network.engine().device() == Device::Cpu
                    && let Some(problem) = self.network.problem()
                {
                    return Err(self.diverged(&format!("{problem} after"), done + 1));
                }
                meter.add(found, self.progress.batch_size);
                Ok(())
            }
            Stepped::Diverged(loss) => Err(self.diverged(&format!("the loss is {loss} at"), done + 1)),
        }
    }

    /// Epochs done, with their fraction.
    fn epoch(&self) -> f64 {
        self.progress.step as f64 / self.steps_per_epoch as f64
    }

    fn rate(&self) -> f64 {
        self.training.schedule.rate(self.epoch(), self.training.epochs)
    }

    /// The end of a training whose numbers are not finite: `what` was found at a step.
    fn diverged(&self, what: &str, step: u64) -> Error {
        let kept = match self.checkpoints.exist() {
            true => format!("the last good checkpoint stays at {}", self.checkpoints.newest().display()),
            false => "no checkpoint was saved yet".into(),
        };
        let (epoch, rate) = (self.epoch(), self.rate());
        Error::failed(format!("{what} step {step} (epoch {epoch:.2}), with learning rate {rate:.2e}"))
            .context(format!("{} diverged; {kept}; lower the learning rate (lrn_rate_init)", self.training.phase))
    }

    /// Saves, unless this step is saved already: two files of one step would be no use where one is
    /// damaged.
    fn save(&mut self) -> Result<()> {
        if self.saved == Some(self.progress.step) || !self.network.engine().workers().leads() {
            return Ok(());
        }
        if let Some(problem) = self.network.problem() {
            return Err(self.diverged(&format!("{problem} after"), self.progress.step));
        }
        match checkpoint::save(&self.checkpoints, &self.progress, self.network, &self.optimizer)? {
            Saved::Yes => {
                self.saved = Some(self.progress.step);
                Ok(())
            }
            Saved::NotFinite(what) => Err(self.diverged(&format!("{what} after"), self.progress.step)),
        }
    }

    /// Evaluates after an epoch. Where the user asks to stop meanwhile, the checkpoint says that
    /// the evaluation is still to be made.
    fn evaluate(&mut self) -> Result<()> {
        let split = self.evaluated;
        let metrics = match evaluate(self.network, self.job, split) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Err(self.stop()?),
            metrics => metrics?,
        };
        self.progress.last = Some(metrics);
        self.progress.evaluation_due = false;
        self.event(Event::Evaluation {
            phase: self.training.phase.into(),
            split: split_name(split).into(),
            step: self.progress.step,
            epoch: self.epoch(),
            loss: metrics.loss,
            top1: metrics.top1,
            top5: metrics.top5,
        });
        Ok(())
    }

    /// An amount by the seconds that this process trained; 0 where it did not.
    fn per_second(&self, amount: f64) -> f64 {
        let seconds = self.busy.as_secs_f64();
        if seconds > 0.0 { amount / seconds } else { 0.0 }
    }

    fn images_per_second(&self) -> f64 {
        self.per_second((self.steps * self.progress.batch_size) as f64)
    }

    fn summarise(&self, meter: &Meter) -> Result<()> {
        let (loss, top1) = meter.means();
        // On a GPU, where no step waits to look at its loss.
        if !loss.is_finite() {
            return Err(self.diverged(&format!("the mean loss is {loss} up to"), self.progress.step));
        }
        self.event(Event::Step {
            phase: self.training.phase.into(),
            step: self.progress.step,
            epoch: self.epoch(),
            loss,
            top1,
            lrn_rate: self.rate(),
            images_per_second: self.images_per_second(),
        });
        Ok(())
    }

    fn tick(&self, meter: &Meter) {
        let (loss, top1) = meter.means();
        self.event(Event::Tick {
            phase: self.training.phase.into(),
            step: self.progress.step,
            epoch: self.epoch(),
            loss,
            top1,
            images_per_second: self.images_per_second(),
        });
    }

    fn event(&self, event: Event) {
        self.job.host.event(event);
    }
}
