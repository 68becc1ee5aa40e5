//! What can be learnt from images without labels and gradients: activation ranges, batch-norm
//! statistics, the steps that learned quantizers begin with. Learners and searches prepare a
//! quantized network by the same calls.

use crate::images::ImageSet;
use crate::network::{Mode, Network, Statistics};
use crate::quantizer::{BINS, LearnedValues, LearnedWeights, Spread};
use crate::torch_error;
use crate::values::floats;
use pocketflow::clip::WeightRange;
use pocketflow::job::Job;
use pocketflow::{Error, Result};
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

/// Factors on the learning rate, of the steps that [`learn_steps`] puts in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepRates {
    /// Of the steps of weights.
    pub weights: f64,
    /// Of the steps and zero points of values.
    pub values: f64,
}

/// What is done to a quantized network before it is trained, or used without training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preparation {
    /// How the ranges of weights are chosen.
    pub range: WeightRange,
    /// Whether steps are learned, of weights and of values, and how fast.
    pub steps: Option<StepRates>,
    /// Whether batch normalisation's running statistics are moved to what quantization made of
    /// them: where no training follows.
    pub statistics: bool,
}

/// Prepares a network: clips weights, puts learned steps in or takes activation ranges, moves
/// statistics.
///
/// # Errors
/// libtorch's; the host's wish to stop.
pub fn prepare(network: &mut Network, job: &Job, images: &ImageSet, how: Preparation) -> Result<()> {
    let clips = how.range == WeightRange::Mse;
    if clips || how.statistics {
        network.observe(images.tensors(job))?;
    }
    if clips {
        network.clip_weights()?;
    }
    match how.steps {
        Some(rates) => learn_steps(network, job, images, rates)?,
        None => take_ranges(network, job, images)?,
    }
    if how.statistics {
        network.reestimate(Statistics::Moved, images.tensors(job), |_, _| Ok(()))?;
    }
    Ok(())
}

/// Takes the ranges of all quantized values from images.
///
/// # Errors
/// libtorch's; the host's wish to stop.
pub fn take_ranges(network: &Network, job: &Job, images: &ImageSet) -> Result<()> {
    if network.quantizes_values() {
        for images in images.tensors(job) {
            let _logits = tch::no_grad(|| network.forward(&images?, Mode::TrackRanges))?;
        }
    }
    Ok(())
}

/// Puts learned steps in the place of every quantizer of the network's plan: those of weights begin
/// with the least squared error of the weights, those of values with that of what they are on the
/// images in full precision.
///
/// # Errors
/// Bits that a learned step does not take, with the layer or node; libtorch's; the host's wish to
/// stop.
pub fn learn_steps(network: &mut Network, job: &Job, images: &ImageSet, rates: StepRates) -> Result<()> {
    let plan = network.plan()?;
    for (layer, quant) in &plan.weights {
        let missing = || Error::failed(format!("`{layer}` has no weights"));
        let weights = network.tensor(&format!("{layer}.weight")).ok_or_else(missing)?;
        let quantizer = LearnedWeights::new(weights, *quant, rates.weights)
            .map_err(|error| error.context(format!("weights of `{layer}`")))?;
        network.set_weight_quantizer(layer, Box::new(quantizer))?;
    }
    if plan.activations.is_empty() {
        return Ok(());
    }
    network.set_quantizing(false)?;
    let spreads = tch::no_grad(|| spreads(network, job, images));
    network.set_quantizing(true)?;
    let shapes = network.graph().shapes()?;
    let counts: BTreeMap<String, usize> = network
        .graph()
        .nodes
        .iter()
        .zip(&shapes)
        .map(|(node, shape)| (node.name.clone(), shape.iter().product()))
        .collect();
    for (node, spread) in spreads? {
        let Some(quant) = plan.activations.get(&node) else { continue };
        let device = network.engine().device();
        let quantizer = LearnedValues::new(quant.bits, &spread, counts[&node], rates.values, device)
            .map_err(|error| error.context(format!("activation `{node}`")))?;
        network.set_value_quantizer(&node, Box::new(quantizer))?;
    }
    Ok(())
}

/// How the value of every quantized node is spread over images: first its range, then the counts.
fn spreads(network: &Network, job: &Job, images: &ImageSet) -> Result<BTreeMap<String, Spread>> {
    let mut ranges: BTreeMap<String, [f64; 2]> = BTreeMap::new();
    for images in images.tensors(job) {
        network.show_values(&images?, |node, value| {
            let (min, max) = (value.min().double_value(&[]), value.max().double_value(&[]));
            let range = ranges.entry(node.to_owned()).or_insert([0.0; 2]);
            *range = [range[0].min(min), range[1].max(max)];
            Ok(())
        })?;
    }
    let mut spreads: BTreeMap<String, Spread> =
        ranges.into_iter().map(|(node, range)| (node, Spread::over(range))).collect();
    for images in images.tensors(job) {
        network.show_values(&images?, |node, value| {
            let Some(spread) = spreads.get_mut(node) else { return Ok(()) };
            let [min, max] = spread.range();
            if min < max {
                spread.add(&floats(&counts(value, [min, max])?)?);
            }
            Ok(())
        })?;
    }
    Ok(spreads)
}

/// How many values lie in each of [`BINS`] bins of equal width.
fn counts(value: &Tensor, [min, max]: [f64; 2]) -> Result<Tensor> {
    let bins = (value.flatten(0, -1) - min) * (BINS as f64 / (max - min));
    let counts = bins.clamp(0.0, BINS as f64 - 1.0).to_kind(Kind::Int64).f_bincount(None::<Tensor>, BINS as i64);
    counts.map(|counts| counts.to_kind(Kind::Float)).map_err(|error| torch_error("count values", &error))
}
