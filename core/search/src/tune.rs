//! Short fine-tuning within a search: of all layers together through the straight-through
//! estimator, or layer by layer towards the outputs of the full-precision network. Every allocation
//! gets the same batches in the same order, so that what is compared is the allocation.

use crate::bench::{Bench, stop_if_asked};
use pocketflow::dataset::Split;
use pocketflow::net::Schedule;
use pocketflow::{Error, Result};
use pocketflow_torch::loader::{Loader, Stream};
use pocketflow_torch::loss;
use pocketflow_torch::network::{Mode, Network};
use pocketflow_torch::optimizer::{Optimizer, Rule};
use std::sync::Arc;
use tch::{Kind, Reduction, Tensor};

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
    pub weight_decay: f64,
}

impl Tuning {
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

/// Tunes the bench's network, at the bits that it was given. `teacher` is the full-precision
/// network. `false`: it diverged.
///
/// # Errors
/// The data set's and libtorch's; the host's wish to stop.
pub fn tune(bench: &mut Bench, teacher: &Network, tuning: &Tuning) -> Result<bool> {
    Ok((tuning.layerwise == 0 || layerwise(bench, teacher, tuning)?)
        && (tuning.global == 0 || globally(bench, tuning)?))
}

fn globally(bench: &mut Bench, tuning: &Tuning) -> Result<bool> {
    let job = bench.job();
    let batch_size: usize = job.settings.get("batch_size")?;
    let mut loader = Loader::start(Stream {
        dataset: Arc::clone(&job.dataset),
        split: Split::Fit,
        batch_size,
        seed: job.settings.get("seed")?,
        first: 0,
        per_epoch: Some(job.dataset.info().samples(Split::Fit) / batch_size.max(1) as u64),
    })?;
    let network = bench.network();
    let mut optimizer = Optimizer::new(Rule::Adam, tuning.weight_decay, network);
    for step in 0..tuning.global {
        stop_if_asked(job)?;
        let batch =
            loader.next_batch(&*job.host)?.ok_or_else(|| Error::failed("the data loader ended before the tuning"))?;
        let logits = network.forward(&batch.images, Mode::Train)?;
        let loss = loss::cross_entropy(&logits, &batch.labels)?;
        let Some(value) = descend(&loss, "tuning of all layers", step)? else { return Ok(false) };
        optimizer.step(network, tuning.rate_at(step, tuning.global))?;
        if (step + 1).is_multiple_of(tuning.display) {
            tracing::info!("tuning of all layers: step {} of {}, loss {value:.4}", step + 1, tuning.global);
        }
    }
    Ok(true)
}

/// One layer after the other: its input comes from the quantized network up to it, tuned so far;
/// its output is to be the full-precision network's.
fn layerwise(bench: &mut Bench, teacher: &Network, tuning: &Tuning) -> Result<bool> {
    let names: Vec<String> = bench.layers().iter().map(|layer| layer.name.clone()).collect();
    for name in names {
        let (inputs, outputs) = examples(bench, teacher, &name)?;
        let (count, job) = (inputs.size()[0], bench.job());
        let network = bench.network();
        let weight = format!("{name}.weight");
        let mut optimizer = Optimizer::of(Rule::Adam, 0.0, network, |param| param.name == weight);
        let batches = (count / LAYER_BATCH).max(1);
        for step in 0..tuning.layerwise {
            stop_if_asked(job)?;
            let from = (step as i64 % batches) * LAYER_BATCH;
            let part = |all: &Tensor| all.narrow(0, from, LAYER_BATCH.min(count));
            let loss = network.apply(&name, &part(&inputs))?.mse_loss(&part(&outputs), Reduction::Mean);
            let Some(value) = descend(&loss, &format!("tuning of layer `{name}`"), step)? else { return Ok(false) };
            optimizer.step(network, tuning.rate_at(step, tuning.layerwise))?;
            if (step + 1).is_multiple_of(tuning.display) {
                tracing::info!("tuning of layer `{name}`: step {} of {}, l2 {value:.3e}", step + 1, tuning.layerwise);
            }
        }
        // Its bias has gradients too, that no step took: they are no part of what comes next.
        let network = bench.network();
        network.trained().for_each(|(param, _)| network.leaf(&param.name).shallow_clone().zero_grad());
    }
    Ok(true)
}

/// Inputs of a layer in the quantized network and its outputs in the full-precision one, for images
/// of the pool.
fn examples(bench: &mut Bench, teacher: &Network, layer: &str) -> Result<(Tensor, Tensor)> {
    let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
    let images: Result<Vec<Tensor>> = bench.pool().tensors().collect();
    let network = bench.network();
    for images in images? {
        let ((input, _), (_, output)) = tch::no_grad(|| {
            let own = network.around(&images, Mode::Eval, layer)?;
            Ok::<_, Error>((own, teacher.around(&images, Mode::Eval, layer)?))
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

/// The backward pass; returns the loss, if it is a number.
fn descend(loss: &Tensor, what: &str, step: u64) -> Result<Option<f64>> {
    let value = loss.to_kind(Kind::Double).double_value(&[]);
    if !value.is_finite() {
        tracing::warn!("{what} diverged: the loss is {value} at step {}; a lower `uql_lrn_rate` may help", step + 1);
        return Ok(None);
    }
    loss.f_backward().map_err(|error| Error::failed(format!("{what}: libtorch: {error}")))?;
    Ok(Some(value))
}
