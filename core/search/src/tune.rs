//! Short fine-tuning within a search: of all layers together through the straight-through
//! estimator, or layer by layer towards the outputs of the full-precision network. Every allocation
//! gets the same batches in the same order, so that what is compared is the allocation.

use crate::evaluator::{Evaluator, stop_if_asked};
use pocketflow::dataset::Split;
use pocketflow::dataset::options::DatasetOptions;
use pocketflow::net::Schedule;
use pocketflow::option::HostOptions;
use pocketflow::{Error, Result};
use pocketflow_torch::loader::{Loader, Share, Stream};
use pocketflow_torch::network::{Mode, Network};
use pocketflow_torch::optimizer::{Optimizer, Rule};
use pocketflow_torch::train::step::{Step, Stepped, descend, step};
use std::sync::Arc;
use tch::{Reduction, Tensor};

/// Images of a step of layer-wise tuning.
const LAYER_BATCH: i64 = 64;
/// Of a layer's inputs and outputs, what is held at once, in values: 128 MiB each.
const LAYER_VALUES: usize = 32 << 20;

/// What is tuned, and how long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tuning {
    /// Steps for each layer; 0: none.
    pub layerwise: u64,
    /// Steps for all layers together; 0: none.
    pub global: u64,
    /// Steps between two lines in the log.
    pub display: u64,
    /// Adam's first learning rate; it falls to zero along half a cosine.
    pub rate: f64,
    /// Of the squared weights, 0 or more.
    pub weight_decay: f64,
}

impl Tuning {
    /// Whether nothing is trained.
    pub fn is_none(&self) -> bool {
        self.layerwise == 0 && self.global == 0
    }

    /// At most so many steps of each kind.
    #[must_use]
    pub fn at_most(self, steps: u64) -> Self {
        Self { layerwise: self.layerwise.min(steps), global: self.global.min(steps), ..self }
    }

    fn rate_at(&self, step: u64, steps: u64) -> f64 {
        Schedule::Cosine { init: self.rate }.rate(step as f64, steps as f64)
    }
}

/// Tunes the evaluator's network, at the bits that it was given. `teacher` is the full-precision
/// network. `false`: it diverged.
///
/// # Errors
/// The data set's and libtorch's; the host's wish to stop.
pub fn tune(evaluator: &mut Evaluator, teacher: &Network, tuning: &Tuning) -> Result<bool> {
    Ok((tuning.layerwise == 0 || layerwise(evaluator, teacher, tuning)?)
        && (tuning.global == 0 || globally(evaluator, tuning)?))
}

fn globally(evaluator: &mut Evaluator, tuning: &Tuning) -> Result<bool> {
    let job = evaluator.job();
    let batch_size = job.settings.get(DatasetOptions::batch_size())?;
    let mut loader = Loader::start(Stream {
        engine: evaluator.network().engine().clone(),
        dataset: Arc::clone(&job.dataset),
        split: Split::Fit,
        batch_size,
        seed: job.settings.get(HostOptions::seed())?,
        first: 0,
        per_epoch: Some(job.dataset.info().samples(Split::Fit) / batch_size.max(1) as u64),
        // Every worker tunes on the same images, and so judges as one worker would.
        share: Share::WHOLE,
    })?;
    let network = evaluator.network();
    let mut optimizer = Optimizer::new(Rule::Adam, tuning.weight_decay, network);
    for index in 0..tuning.global {
        stop_if_asked(network.engine(), job)?;
        let batch =
            loader.next_batch(&*job.host)?.ok_or_else(|| Error::failed("the data loader ended before the tuning"))?;
        let how = Step { mode: Mode::Train, teacher: None, rate: tuning.rate_at(index, tuning.global) };
        let loss = match step(network, &mut optimizer, &batch, &how)? {
            Stepped::Done(found) => found.loss,
            Stepped::Diverged(loss) => return Ok(diverged("tuning of all layers", loss, index)),
        };
        if (index + 1).is_multiple_of(tuning.display) {
            let loss = loss.double_value(&[]);
            tracing::info!("tuning of all layers: step {} of {}, loss {loss:.4}", index + 1, tuning.global);
        }
    }
    Ok(true)
}

/// One layer after the other: its input comes from the quantized network up to it, tuned so far;
/// its output is to be the full-precision network's.
fn layerwise(evaluator: &mut Evaluator, teacher: &Network, tuning: &Tuning) -> Result<bool> {
    let names: Vec<String> = evaluator.layers().iter().map(|layer| layer.name.clone()).collect();
    for name in names {
        let (inputs, outputs) = examples(evaluator, teacher, &name)?;
        let (count, job) = (inputs.size()[0], evaluator.job());
        let network = evaluator.network();
        let weight = format!("{name}.weight");
        let own = network.trained().into_iter().filter(|each| each.name == weight).collect();
        let mut optimizer = Optimizer::of(Rule::Adam, 0.0, own);
        let batches = (count / LAYER_BATCH).max(1);
        for step in 0..tuning.layerwise {
            stop_if_asked(network.engine(), job)?;
            let from = (step as i64 % batches) * LAYER_BATCH;
            let part = |all: &Tensor| all.narrow(0, from, LAYER_BATCH.min(count));
            let loss = network.layer_output(&name, &part(&inputs))?.mse_loss(&part(&outputs), Reduction::Mean);
            if let Some(loss) = descend(network, &mut optimizer, &loss, tuning.rate_at(step, tuning.layerwise))? {
                return Ok(diverged(&format!("tuning of layer `{name}`"), loss, step));
            }
            if (step + 1).is_multiple_of(tuning.display) {
                let value = loss.double_value(&[]);
                tracing::info!("tuning of layer `{name}`: step {} of {}, l2 {value:.3e}", step + 1, tuning.layerwise);
            }
        }
        // Its bias has gradients too, that no step took: they are no part of what comes next.
        let network = evaluator.network();
        network.trained().into_iter().for_each(|mut each| each.leaf.zero_grad());
    }
    Ok(true)
}

/// Inputs of a layer in the quantized network and its outputs in the full-precision one, for images
/// of the pool.
fn examples(evaluator: &mut Evaluator, teacher: &Network, layer: &str) -> Result<(Tensor, Tensor)> {
    let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
    let images: Result<Vec<Tensor>> = evaluator.pool().tensors(evaluator.job()).collect();
    let network = evaluator.network();
    for images in images? {
        let ((input, _), (_, output)) = tch::no_grad(|| {
            let own = network.layer_values(&images, Mode::Eval, layer)?;
            Ok::<_, Error>((own, teacher.layer_values(&images, Mode::Eval, layer)?))
        })?;
        let held = (inputs.len() + 1) * input.numel().max(output.numel());
        inputs.push(input);
        outputs.push(output);
        if held > LAYER_VALUES {
            break;
        }
    }
    Ok((Tensor::cat(&inputs, 0), Tensor::cat(&outputs, 0)))
}

/// Says that a tuning diverged. `false`, as [`tune`] returns then.
fn diverged(what: &str, loss: f64, step: u64) -> bool {
    tracing::warn!("{what} diverged: the loss is {loss} at step {}; a lower learning rate may help", step + 1);
    false
}
