//! A network that goes from one allocation of bits to the next: quantized weights are computed once
//! for each layer and number of bits, and the images that it is judged by are kept in memory.

use crate::budget::Layer;
use crate::quantization::Quantization;
use pocketflow::clip::WeightRange;
use pocketflow::dataset::Split;
use pocketflow::graph::{Graph, Param, Role};
use pocketflow::job::Job;
use pocketflow::model::Model;
use pocketflow::quant::{Buckets, FULL_PRECISION_BITS, QuantPlan};
use pocketflow::{Error, Result};
use pocketflow_torch::calibrate::take_ranges;
use pocketflow_torch::engine::Engine;
use pocketflow_torch::images::ImageSet;
use pocketflow_torch::loss;
use pocketflow_torch::network::{LayerWeights, Mode, Network, Statistics, Weights};
use std::collections::BTreeMap;
use tch::Tensor;

/// Values in a batch of validation images, about: 500 of CIFAR-10. Larger images come in smaller
/// batches, or what lies between the layers would not fit into memory.
const BATCH_VALUES: usize = 500 * 3072;
/// Images that the accuracy of an evaluation that ends early is measured on.
const FIRST_PART: usize = 1000;
/// The smallest batch of validation images.
const SMALLEST_BATCH: usize = 20;
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
    /// How many images were looked at.
    pub images: u64,
}

/// A network, its layers, and images to judge it by.
pub struct Evaluator<'a> {
    job: &'a Job,
    network: Network,
    /// The parent's parameters.
    original: BTreeMap<String, Vec<f32>>,
    /// The state of the quantizers of activations: before they saw an image, and with the ranges of
    /// the parent.
    unseen: BTreeMap<String, Vec<f32>>,
    of_parent: BTreeMap<String, Vec<f32>>,
    layers: Vec<Layer>,
    range: WeightRange,
    kept: Vec<BTreeMap<u32, LayerWeights>>,
    /// Training images that ranges and batch-norm statistics are taken from, and sensitivities
    /// measured on: those that a learner prepares its network on.
    pool: &'a ImageSet,
    val: ImageSet,
    /// How many of a network's guesses may hold the right one.
    guesses: i64,
}

impl<'a> Evaluator<'a> {
    /// The parent, with all layers that may be quantized open to any bits.
    ///
    /// # Errors
    /// A graph without such layers; the data set's; libtorch's.
    pub fn new(
        engine: &Engine,
        job: &'a Job,
        parent: &Model,
        quantization: &Quantization,
        pool: &'a ImageSet,
    ) -> Result<Self> {
        let graph = &parent.graph;
        let plan = quantization.plan(graph, ANY_BITS);
        let values = parent.all_values()?;
        let mut network = Network::new(engine, graph, &plan, &values, Weights::FullPrecision)?;
        let unseen = network.quantizer_state()?;
        take_ranges(&network, job, pool)?;
        let layers = layers(graph, quantization)?;
        network.observe(pool.tensors(job))?;
        let of_parent = network.quantizer_state()?;
        let info = job.dataset.info();
        let size = (BATCH_VALUES / info.shape.iter().product::<usize>().max(1)).clamp(SMALLEST_BATCH, 500);
        let kept = layers.iter().map(|_| BTreeMap::new()).collect();
        Ok(Self {
            job,
            network,
            original: values,
            unseen,
            of_parent,
            layers,
            range: quantization.range,
            kept,
            pool,
            val: ImageSet::load(engine, job, Split::Val, 0, size, usize::MAX)?,
            guesses: if info.labels.len() >= MANY_CLASSES { 5 } else { 1 },
        })
    }

    /// The job that the search is part of.
    pub fn job(&self) -> &'a Job {
        self.job
    }

    /// The layers that are given bits, in the graph's order.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Images that accuracies are measured on.
    pub fn images(&self) -> u64 {
        self.val.len() as u64
    }

    /// The network that candidates are tried in.
    pub fn network(&mut self) -> &mut Network {
        &mut self.network
    }

    /// Images that batch-norm statistics are re-estimated on.
    pub fn pool(&self) -> &'a ImageSet {
        self.pool
    }

    /// The parent at these bits, 32 for none, whatever the network was before.
    ///
    /// # Errors
    /// libtorch's.
    pub fn allocate(&mut self, bits: &[u32]) -> Result<()> {
        self.network.set_values(&self.original)?;
        self.network.set_quantizer_state(&self.of_parent)?;
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

    /// Takes the ranges of activations anew, as a learner does at these bits before it trains.
    ///
    /// # Errors
    /// libtorch's; the host's wish to stop.
    pub fn take_ranges(&mut self) -> Result<()> {
        self.network.set_quantizer_state(&self.unseen)?;
        take_ranges(&self.network, self.job, self.pool)
    }

    /// The parent in full precision.
    ///
    /// # Errors
    /// As [`Evaluator::allocate`].
    pub fn full_precision(&mut self) -> Result<()> {
        self.allocate(&vec![FULL_PRECISION_BITS; self.layers.len()])
    }

    /// Re-estimates batch-norm statistics on the training images of the pool
    /// ([`Network::reestimate`]).
    ///
    /// # Errors
    /// libtorch's; the host's wish to stop.
    pub fn reestimate(&mut self, statistics: Statistics) -> Result<()> {
        self.network.reestimate(statistics, self.pool.tensors(self.job), |_, _| Ok(()))
    }

    /// The network's answers to the images of the pool, batch by batch, as logarithms of
    /// probabilities, by the statistics moved in each batch.
    ///
    /// # Errors
    /// As [`Evaluator::reestimate`].
    pub fn answers(&mut self) -> Result<Vec<Tensor>> {
        let mut answers = Vec::new();
        self.network.reestimate(Statistics::Moved, self.pool.tensors(self.job), |_, logits| {
            answers.push(loss::log_probabilities(logits));
            Ok(())
        })?;
        Ok(answers)
    }

    /// How far the network's answers are from those that [`Evaluator::answers`] gave of another, an
    /// image ([`loss::divergence`]).
    ///
    /// # Errors
    /// As [`Evaluator::reestimate`].
    pub fn divergence(&mut self, from: &[Tensor]) -> Result<f64> {
        let mut sum = 0.0;
        self.network.reestimate(Statistics::Moved, self.pool.tensors(self.job), |batch, logits| {
            sum += loss::divergence(&from[batch], logits) * logits.size()[0] as f64;
            Ok(())
        })?;
        Ok(sum / self.pool.len() as f64)
    }

    /// Top-1 accuracy on all validation images.
    ///
    /// # Errors
    /// As [`Evaluator::accuracy`].
    pub fn top1(&self) -> Result<f64> {
        self.measure(1, None).map(|accuracy| accuracy.value)
    }

    /// Returns the accuracy on the validation images: top-1, or top-5 of a thousand classes. Where
    /// `beat` is given, it ends as soon as all images left, were they right, could not bring it
    /// there. What it returns then is the accuracy on the first `FIRST_PART` images, or what the
    /// whole could reach at most, if that is less: below `beat` for certain.
    ///
    /// # Errors
    /// libtorch's; the host's wish to stop.
    pub fn accuracy(&self, beat: Option<f64>) -> Result<Accuracy> {
        self.measure(self.guesses, beat)
    }

    fn measure(&self, guesses: i64, beat: Option<f64>) -> Result<Accuracy> {
        let total = self.val.len();
        let (mut hits, mut seen) = (0.0, 0);
        let mut first = None;
        let images = self.val.tensors(self.job);
        for ((batch, size), images) in self.val.sizes().enumerate().zip(images) {
            let logits = tch::no_grad(|| self.network.forward(&images?, Mode::Eval))?;
            hits += loss::hits(&logits, &self.val.labels(batch)?, guesses).1;
            seen += size;
            if seen >= FIRST_PART.min(total) {
                let first = *first.get_or_insert(hits / seen as f64);
                let reachable = (hits + (total - seen) as f64) / total as f64;
                if beat.is_some_and(|beat| reachable < beat) {
                    return Ok(Accuracy { value: first.min(reachable), images: seen as u64 });
                }
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
    let open = QuantPlan::quantizable(graph, quantization.all_layers);
    let name = |param: &Param| graph.nodes[param.node].name.clone();
    let weights = graph.params()?.into_iter().filter(|param| param.role == Role::Weight);
    let quantized = weights.filter(|param| open.contains(&name(param)));
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
/// [`pocketflow::ErrorKind::Interrupted`] once the host of any worker asks to stop.
pub fn stop_if_asked(engine: &Engine, job: &Job) -> Result<()> {
    match engine.stop_asked(job)? {
        true => Err(Error::interrupted("stopped in the search; what was found so far is saved")),
        false => Ok(()),
    }
}
