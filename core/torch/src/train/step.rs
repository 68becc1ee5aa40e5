//! One training step: the loop of a training takes it, and so does the tuning of a search.

use crate::loader::Loaded;
use crate::loss::{self, Distillation};
use crate::network::{Mode, Network};
use crate::optimizer::Optimizer;
use crate::torch_error;
use crate::workers::Reduction;
use pocketflow::Result;
use tch::{Device, Kind, Tensor};

/// How a step is taken.
pub struct Step<'a> {
    /// [`Mode::Train`], or [`Mode::TrackRanges`] once batch normalisation is frozen.
    pub mode: Mode,
    /// A network to learn from, and how much it counts.
    pub teacher: Option<(&'a Network, Distillation)>,
    /// The learning rate, 0 or more.
    pub rate: f64,
}

/// What a step found, on the device, so that nobody has to wait for it.
pub struct Found {
    /// The loss of the batch of all workers, a scalar in double precision.
    pub loss: Tensor,
    /// How many images of the batch were told right, a scalar in double precision.
    pub hits: Tensor,
}

/// What came of a step.
pub enum Stepped {
    /// The parameters are changed.
    Done(Found),
    /// The loss is this number, which is not finite; nothing was changed. Looked at where it costs
    /// no waiting: on the CPU.
    Diverged(f64),
}

/// Takes a step: forward, loss, backward, optimizer.
///
/// # Errors
/// Images or labels that do not fit the network; libtorch's; a worker that does not answer.
pub fn step(network: &mut Network, optimizer: &mut Optimizer, batch: &Loaded, how: &Step) -> Result<Stepped> {
    let logits = network.engine().training_pass(|| network.forward(&batch.images, how.mode))?.to_kind(Kind::Float);
    let mut loss = loss::cross_entropy(&logits, &batch.labels)?;
    if let Some((teacher, with)) = how.teacher {
        let taught = tch::no_grad(|| teacher.forward(&batch.images, Mode::Eval))?;
        loss += loss::distillation(&logits, &taught, with);
    }
    if let Some(value) = descend(network, optimizer, &loss, how.rate)? {
        return Ok(Stepped::Diverged(value));
    }
    let [hits, _] = loss::hit_counts(&logits, &batch.labels, 1);
    let mut found = Found { loss: loss.detach().to_kind(Kind::Double), hits };
    let workers = network.engine().workers();
    if workers.size() > 1 {
        let mut sums = [found.loss, found.hits];
        workers.reduce(&mut sums, Reduction::Sum)?;
        let [loss, hits] = sums;
        found = Found { loss: loss / f64::from(workers.size()), hits };
    }
    Ok(Stepped::Done(found))
}

/// Goes down the gradient of a loss, averaged over the workers. Returns the loss where it is not
/// finite; then nothing was changed.
///
/// # Errors
/// libtorch's; a worker that does not answer.
pub fn descend(network: &mut Network, optimizer: &mut Optimizer, loss: &Tensor, rate: f64) -> Result<Option<f64>> {
    let engine = network.engine().clone();
    let workers = engine.workers();
    if engine.device() == Device::Cpu {
        // All workers stop at a loss that is no number, whoever has it.
        let mut value = [loss.double_value(&[])];
        workers.sums(&mut value)?;
        if !value[0].is_finite() {
            return Ok(Some(value[0]));
        }
    }
    loss.f_backward().map_err(|error| torch_error("backward pass", &error))?;
    if workers.size() > 1 {
        let mut averaged = optimizer.gradients();
        averaged.extend(network.averaged());
        workers.mean(&mut averaged)?;
        network.widen_ranges()?;
    }
    optimizer.step(network, rate)?;
    Ok(None)
}
