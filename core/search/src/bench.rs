//! A network that goes from one allocation of bits to the next: quantized weights are computed once
//! for each layer and number of bits, and the images that it is judged by are kept in memory.

use crate::budget::Layer;
use crate::held::Held;
use crate::quantization::Quantization;
use pocketflow::clip::WeightRange;
use pocketflow::dataset::{Split, mix};
use pocketflow::graph::{Graph, Param, Role};
use pocketflow::job::Job;
use pocketflow::model::Model;
use pocketflow::quant::{Buckets, FULL_PRECISION_BITS};
use pocketflow::{Error, Result};
use pocketflow_torch::calibrate::{CALIBRATION_IMAGES, calibrate};
use pocketflow_torch::loss;
use pocketflow_torch::network::{LayerWeights, Mode, Network, Statistics, Weights};
use std::collections::BTreeMap;
use tch::Tensor;

/// Training images that batch-norm statistics are re-estimated on, and sensitivities measured.
pub const POOL: usize = 1000;
/// Keeps the choice of these images apart from other uses of the seed.
const POOL_STREAM: u64 = 0x5eed_0f1a_9e57_a7e5;
/// The data set of a net with so many classes is judged by the five best answers, as ILSVRC-12 is.
const MANY_CLASSES: usize = 1000;
/// What the range of a bucket takes in a file, in bytes.
pub const RANGE_BYTES: u64 = 8;

/// For plans whose bits are of no importance, as every allocation brings its own.
const ANY_BITS: u32 = 8;

/// An accuracy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Accuracy {
    /// Fraction of the images that were looked at.
    pub value: f64,
    pub images: u64,
}

/// A network, its layers, and images to judge it by.
pub struct Bench<'a> {
    job: &'a Job,
    network: Network,
    /// The parent's tensors, and the ranges of activations.
    original: (BTreeMap<String, Vec<f32>>, BTreeMap<String, Vec<f32>>),
    layers: Vec<Layer>,
    range: WeightRange,
    kept: Vec<BTreeMap<u32, LayerWeights>>,
    pool: Held,
    val: Held,
    /// How many of a network's guesses may hold the right one.
    guesses: i64,
}

impl<'a> Bench<'a> {
    /// The parent, with all layers that may be quantized open to any bits.
    ///
    /// # Errors
    /// A graph without such layers; the data set's; libtorch's.
    pub fn new(job: &'a Job, parent: &Model, quantization: &Quantization) -> Result<Self> {
        let graph = &parent.graph;
        let plan = quantization.plan(graph, ANY_BITS);
        let values = parent.all_values()?;
        let mut network = Network::new(graph, &plan, &values, Weights::FullPrecision)?;
        calibrate(&network, job, CALIBRATION_IMAGES)?;
        let layers = layers(graph, quantization)?;
        let seed = mix(job.settings.get("seed")?, POOL_STREAM);
        let pool = Held::load(job, Split::Plain, seed, POOL)?;
        network.observe(until_stopped(job, pool.tensors()))?;
        let original = (values, network.range_state()?);
        let kept = layers.iter().map(|_| BTreeMap::new()).collect();
        Ok(Self {
            job,
            network,
            original,
            layers,
            range: quantization.range,
            kept,
            pool,
            val: Held::load(job, Split::Val, 0, usize::MAX)?,
            guesses: if job.dataset.info().labels.len() >= MANY_CLASSES { 5 } else { 1 },
        })
    }

    pub fn job(&self) -> &'a Job {
        self.job
    }

    /// The layers that are given bits, in the graph's order.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Images that accuracies are measured on.
    pub fn images(&self) -> u64 {
        self.val.images() as u64
    }

    pub fn network(&mut self) -> &mut Network {
        &mut self.network
    }

    /// Images that batch-norm statistics are re-estimated on.
    pub fn pool(&self) -> &Held {
        &self.pool
    }

    /// The parent at these bits, 32 for none, whatever the network was before.
    ///
    /// # Errors
    /// libtorch's.
    pub fn allocate(&mut self, bits: &[u32]) -> Result<()> {
        self.network.set_tensors(&self.original.0)?;
        self.network.set_range_state(&self.original.1)?;
        for ((layer, bits), kept) in self.layers.iter().zip(bits).zip(&mut self.kept) {
            if !kept.contains_key(bits) {
                kept.insert(*bits, self.network.layer_weights(&layer.name, *bits, self.range)?);
            }
        }
        for ((layer, bits), kept) in self.layers.iter().zip(bits).zip(&self.kept) {
            self.network.set_layer_weights(&layer.name, &kept[bits])?;
        }
        Ok(())
    }

    /// The parent in full precision.
    ///
    /// # Errors
    /// As [`Bench::allocate`].
    pub fn full_precision(&mut self) -> Result<()> {
        self.allocate(&vec![FULL_PRECISION_BITS; self.layers.len()])
    }

    /// Re-estimates batch-norm statistics on the training images of the pool
    /// ([`Network::reestimate`]).
    ///
    /// # Errors
    /// libtorch's; the host's wish to stop.
    pub fn reestimate(&mut self, statistics: Statistics) -> Result<()> {
        self.network.reestimate(statistics, until_stopped(self.job, self.pool.tensors()), |_, _| Ok(()))
    }

    /// The network's answers to the images of the pool, batch by batch, as logarithms of
    /// probabilities, by the statistics moved in each batch.
    ///
    /// # Errors
    /// As [`Bench::reestimate`].
    pub fn answers(&mut self) -> Result<Vec<Tensor>> {
        let mut answers = Vec::new();
        self.network.reestimate(Statistics::Moved, until_stopped(self.job, self.pool.tensors()), |_, logits| {
            answers.push(loss::log_probabilities(logits));
            Ok(())
        })?;
        Ok(answers)
    }

    /// How far the network's answers are from those that [`Bench::answers`] gave of another, an
    /// image ([`loss::divergence`]).
    ///
    /// # Errors
    /// As [`Bench::reestimate`].
    pub fn divergence(&mut self, from: &[Tensor]) -> Result<f64> {
        let mut sum = 0.0;
        self.network.reestimate(Statistics::Moved, until_stopped(self.job, self.pool.tensors()), |batch, logits| {
            sum += loss::divergence(&from[batch], logits) * logits.size()[0] as f64;
            Ok(())
        })?;
        Ok(sum / self.pool.images() as f64)
    }

    /// Top-1 accuracy on all validation images.
    ///
    /// # Errors
    /// As [`Bench::accuracy`].
    pub fn top1(&self) -> Result<f64> {
        self.measure(1, None).map(|accuracy| accuracy.value)
    }

    /// Accuracy on the validation images: top-1, or top-5 of a thousand classes. Where `beat` is
    /// given, it ends as soon as all images left, were they right, could not bring it there: what
    /// it returns then is the accuracy on those seen, an estimate that is below `beat` for certain.
    ///
    /// # Errors
    /// libtorch's; the host's wish to stop.
    pub fn accuracy(&self, beat: Option<f64>) -> Result<Accuracy> {
        self.measure(self.guesses, beat)
    }

    fn measure(&self, guesses: i64, beat: Option<f64>) -> Result<Accuracy> {
        let total = self.val.images();
        let (mut hits, mut seen) = (0.0, 0);
        let images = until_stopped(self.job, self.val.tensors());
        for ((batch, size), images) in self.val.sizes().enumerate().zip(images) {
            let logits = tch::no_grad(|| self.network.forward(&images?, Mode::Eval))?;
            hits += loss::hits(&logits, &self.val.labels(batch)?, guesses).1;
            seen += size;
            let reachable = (hits + (total - seen) as f64) / total as f64;
            if beat.is_some_and(|beat| reachable < beat) {
                break;
            }
        }
        Ok(Accuracy { value: hits / seen.max(1) as f64, images: seen as u64 })
    }
}

/// The layers of a net that a search gives bits to, in the graph's order.
///
/// # Errors
/// A graph that is not valid.
pub fn layers(graph: &Graph, quantization: &Quantization) -> Result<Vec<Layer>> {
    let plan = quantization.plan(graph, ANY_BITS);
    let name = |param: &Param| graph.nodes[param.node].name.clone();
    let weights = graph.params()?.into_iter().filter(|param| param.role == Role::Weight);
    let quantized = weights.filter(|param| plan.weights.contains_key(&name(param)));
    Ok(quantized
        .map(|param| {
            let mut shape = [1; 4];
            let dims = param.shape.len().min(4);
            shape[4 - dims..].copy_from_slice(&param.shape[..dims]);
            let buckets = match quantization.buckets {
                Buckets::Layer => 0,
                buckets => buckets.count(&param.shape) as u64,
            };
            Layer { name: name(&param), shape, overhead_bits: 8 * RANGE_BYTES * buckets }
        })
        .collect())
}

/// # Errors
/// [`pocketflow::ErrorKind::Interrupted`] once the host asks to stop.
pub fn stop_if_asked(job: &Job) -> Result<()> {
    match job.host.interrupted() {
        true => Err(Error::interrupted("stopped in the search; what was found so far is saved")),
        false => Ok(()),
    }
}

/// The batches, and in their place an interruption once the host asks to stop.
fn until_stopped(job: &Job, batches: impl Iterator<Item = Result<Tensor>>) -> impl Iterator<Item = Result<Tensor>> {
    batches.map(move |batch| stop_if_asked(job).and(batch))
}
