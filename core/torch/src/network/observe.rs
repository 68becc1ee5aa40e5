//! Batch-norm statistics of a network that is quantized and not trained. Quantization shifts and
//! scales what a batch normalisation receives; its running statistics are moved by as much, so that
//! it hands on what it did in full precision:
//!
//! ```text
//! r = (v' + eps) / (v + eps)
//! mean ← m' + (mean - m) √r      variance ← (variance + eps) r - eps
//! ```
//!
//! with mean m and variance v of its input in full precision, m' and v' quantized, on the same
//! images: of each batch, then the mean over batches. Where the running statistics are those of the
//! images, that is re-estimation: m' and v'. Where they are not, as in published networks whose
//! normalisations were folded into the weights (mean 0, variance 1), taking m' and v' themselves
//! would destroy the network.

use super::program::Step;
use super::{Mode, Network};
use crate::kernels;
use crate::values::{copy_into, floats};
use pocketflow::clip::Inputs;
use pocketflow::graph::{BatchNorm, NodeId, Op, Role};
use pocketflow::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use tch::Tensor;

/// To what batch-norm statistics are re-estimated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statistics {
    /// Moved from what full precision saw, as [`Network::observe`] has it: for weights that were
    /// not trained since.
    Moved,
    /// Those of the images: for weights that were trained by batch statistics.
    OfImages,
}

/// Mean and variance by channel, each `[c]`.
type Moments = [Tensor; 2];

/// What a network saw of some images in full precision.
#[derive(Default)]
pub struct Seen {
    /// Of each batch normalisation: the moments of its input, batch by batch, and its running
    /// statistics.
    norms: BTreeMap<NodeId, (Vec<Moments>, Moments)>,
    /// Of the input of each convolution or fully connected layer, by its name.
    inputs: BTreeMap<String, [Vec<f32>; 2]>,
}

/// Sums of moments over batches.
#[derive(Default)]
struct Sums {
    of: BTreeMap<NodeId, Moments>,
    batches: f64,
}

impl Sums {
    fn add(&mut self, id: NodeId, [mean, variance]: &Moments) {
        let sums = match self.of.remove(&id) {
            Some([means, variances]) => [means + mean, variances + variance],
            None => [mean.shallow_clone(), variance.shallow_clone()],
        };
        self.of.insert(id, sums);
    }

    fn means(&self) -> impl Iterator<Item = (NodeId, Moments)> {
        let batches = self.batches.max(1.0);
        self.of.iter().map(move |(id, sums)| (*id, sums.each_ref().map(|sum| sum / batches)))
    }
}

impl Network {
    /// Remembers what the layers see of images in full precision, for [`Network::reestimate`] and
    /// clipping weights.
    ///
    /// # Errors
    /// As [`Network::forward`]; those of `batches`.
    pub fn observe(&mut self, batches: impl Iterator<Item = Result<Tensor>>) -> Result<()> {
        let quantizing = self.quantizing;
        self.set_quantizing(false)?;
        let observed = tch::no_grad(|| self.observed(batches));
        self.set_quantizing(quantizing)?;
        self.seen = Some(observed?);
        Ok(())
    }

    fn observed(&self, batches: impl Iterator<Item = Result<Tensor>>) -> Result<Seen> {
        let (mut seen, mut inputs) = (Seen::default(), Sums::default());
        for images in batches {
            let _last = self.run(&images?, Mode::Eval, self.last_step(), |step, input| {
                match (step.norm(), &self.graph.nodes[step.node].op) {
                    (Some(norm), _) => {
                        let moments = kernels::moments(input)?;
                        let running = self.running(norm)?.map(Tensor::copy);
                        seen.norms.entry(norm).or_insert_with(|| (Vec::new(), running)).0.push(moments);
                    }
                    (None, Op::Linear(_)) => {
                        let features = input.flatten(1, -1).unsqueeze(-1).unsqueeze(-1);
                        inputs.add(step.node, &kernels::moments(&features)?);
                    }
                    (None, op) if op.is_layer() => inputs.add(step.node, &kernels::moments(input)?),
                    _ => {}
                }
                Ok(())
            })?;
            inputs.batches += 1.0;
        }
        for (id, [mean, variance]) in inputs.means() {
            seen.inputs.insert(self.graph.nodes[id].name.clone(), [floats(&mean)?, floats(&variance)?]);
        }
        Ok(seen)
    }

    /// Takes batch normalisation's running statistics anew from batches of images; to move them,
    /// these are the batches that [`Network::observe`] was given, in their order. `each` is given
    /// the logits of every batch, by its own statistics.
    ///
    /// # Errors
    /// As [`Network::forward`]; those of `batches` and `each`; statistics to be moved of batches
    /// that were not observed.
    pub fn reestimate(
        &mut self,
        statistics: Statistics,
        batches: impl Iterator<Item = Result<Tensor>>,
        mut each: impl FnMut(usize, &Tensor) -> Result<()>,
    ) -> Result<()> {
        let mut sums = Sums::default();
        for (index, images) in batches.enumerate() {
            let logits = tch::no_grad(|| {
                self.run(&images?, Mode::Eval, self.last_step(), |step, input| {
                    if let Some(norm) = step.norm() {
                        let moments = kernels::moments(input)?;
                        let running = match statistics {
                            Statistics::Moved => self.moved(norm, index, moments)?,
                            Statistics::OfImages => moments,
                        };
                        self.set_running(norm, &running)?;
                        sums.add(norm, &running);
                    }
                    Ok(())
                })
            })?;
            sums.batches += 1.0;
            each(index, &logits.1.flatten(1, -1))?;
        }
        for (id, statistics) in sums.means() {
            self.set_running(id, &statistics)?;
        }
        // The batch normalisations may be folded into the quantized weights.
        if self.has_folded_weights() { self.quantize_weights() } else { Ok(()) }
    }

    /// Gives every batch normalisation that holds no statistics of images (mean 0 and variance 1:
    /// published networks have it folded into the weights) the statistics of these, as
    /// [`Statistics::OfImages`], and such scales and shifts that it computes what it did:
    ///
    /// ```text
    /// scale ← scale √((v + eps) / (variance + eps))
    /// shift ← shift + scale (m - mean) / √(variance + eps)
    /// ```
    ///
    /// Training normalises by the statistics of each batch, and would begin from another network
    /// otherwise. Returns how many these are.
    ///
    /// # Errors
    /// As [`Network::forward`]; those of `batches`.
    pub fn adopt_statistics(&mut self, batches: impl Iterator<Item = Result<Tensor>>) -> Result<usize> {
        let mut folded = BTreeSet::new();
        for norm in self.steps.iter().filter_map(Step::norm) {
            if self.is_folded(norm)? {
                folded.insert(norm);
            }
        }
        if folded.is_empty() {
            return Ok(0);
        }
        let mut sums = Sums::default();
        for images in batches {
            let each = |step: &Step, input: &Tensor| {
                if let Some(norm) = step.norm().filter(|norm| folded.contains(norm)) {
                    sums.add(norm, &kernels::moments(input)?);
                }
                Ok(())
            };
            let _logits = tch::no_grad(|| self.run(&images?, Mode::Eval, self.last_step(), each))?;
            sums.batches += 1.0;
        }
        for (norm, adopted) in sums.means() {
            let eps = self.eps(norm);
            let (scale, shift) = (self.norm_tensor(norm, Role::Scale)?, self.norm_tensor(norm, Role::Shift)?);
            let [mean, variance] = self.running(norm)?;
            let old = (variance + eps).sqrt();
            let values = tch::no_grad(|| {
                let moved = shift + scale * (&adopted[0] - mean) / &old;
                [scale * (&adopted[1] + eps).sqrt() / old, moved]
            });
            copy_into(scale, &values[0])?;
            copy_into(shift, &values[1])?;
            self.set_running(norm, &adopted)?;
        }
        self.quantize_weights()?;
        Ok(folded.len())
    }

    /// Whether a batch normalisation holds no statistics of images, because it was folded into its
    /// layer before: mean and variance are the same for all channels. One channel alone is always
    /// like itself; it has to be what stands for none, mean 0 and variance 1, with or without eps.
    /// A normalisation as a new network has it was not folded.
    fn is_folded(&self, norm: NodeId) -> Result<bool> {
        let is = |tensor: &Tensor, value: f64| tensor.eq(value).all().int64_value(&[]) == 1;
        let [mean, variance] = self.running(norm)?;
        let alike = |tensor: &Tensor| tensor.max().equal(&tensor.min());
        let without_eps = f64::from((1.0 - self.eps(norm)) as f32);
        let stands_for_none = is(mean, 0.0) && (is(variance, 1.0) || is(variance, without_eps));
        let fresh = is(mean, 0.0)
            && is(variance, 1.0)
            && is(self.norm_tensor(norm, Role::Scale)?, 1.0)
            && is(self.norm_tensor(norm, Role::Shift)?, 0.0);
        Ok(alike(mean) && alike(variance) && (mean.numel() > 1 || stands_for_none) && !fresh)
    }

    fn eps(&self, norm: NodeId) -> f64 {
        match self.graph.nodes[norm].op {
            Op::BatchNorm(BatchNorm { eps }) => eps,
            _ => 0.0,
        }
    }

    /// The running statistics of a batch normalisation whose input has these moments now in a
    /// batch.
    fn moved(&self, norm: NodeId, batch: usize, [mean, variance]: Moments) -> Result<Moments> {
        let seen = self.seen.as_ref().and_then(|seen| seen.norms.get(&norm));
        let seen = seen.and_then(|(batches, running)| Some((batches.get(batch)?, running)));
        let (before, running) = seen.ok_or_else(|| {
            let name = &self.graph.nodes[norm].name;
            Error::failed(format!("`{name}` has not observed batch {batch}, so its statistics cannot be moved"))
        })?;
        let eps = self.eps(norm);
        let ratio = (variance + eps) / (&before[1] + eps);
        let moved_variance: Tensor = (&running[1] + eps) * &ratio - eps;
        Ok([mean + (&running[0] - &before[0]) * ratio.sqrt(), moved_variance.clamp_min(0.0)])
    }

    fn norm_tensor(&self, norm: NodeId, role: Role) -> Result<&Tensor> {
        let missing = || Error::failed(format!("`{}` is no batch normalisation", self.graph.nodes[norm].name));
        Ok(self.parameters.tensor(self.parameters.in_role(norm, role).ok_or_else(missing)?))
    }

    fn running(&self, norm: NodeId) -> Result<[&Tensor; 2]> {
        Ok([self.norm_tensor(norm, Role::RunningMean)?, self.norm_tensor(norm, Role::RunningVar)?])
    }

    fn set_running(&self, norm: NodeId, statistics: &Moments) -> Result<()> {
        self.running(norm)?.into_iter().zip(statistics).try_for_each(|(running, value)| copy_into(running, value))
    }

    /// What the weights of a layer are multiplied with, as far as it was observed.
    pub(super) fn inputs_of(&self, layer: &str) -> Result<Option<Inputs>> {
        let Some([mean, variance]) = self.seen.as_ref().and_then(|seen| seen.inputs.get(layer)) else {
            return Ok(None);
        };
        let shape = &self.parameters.params()[self.weight_of(layer)?].shape;
        let (out, channels, area) = (shape[0], shape[1], shape[2..].iter().product::<usize>());
        let groups = (mean.len() / channels.max(1)).max(1);
        if groups * channels != mean.len() || !out.is_multiple_of(groups) {
            return Err(Error::failed(format!(
                "`{layer}` has inputs of {} channels and weights {shape:?}",
                mean.len()
            )));
        }
        // The channel that each weight of a filter, and of the filters of its group, reads.
        let first = |filter: usize| filter / (out / groups) * channels;
        let spread = |values: &[f32]| -> Vec<f32> {
            let filter = |filter: usize| values[first(filter)..first(filter) + channels].iter();
            (0..out).flat_map(filter).flat_map(|value| std::iter::repeat_n(*value, area)).collect()
        };
        Ok(Some(Inputs { filter: channels * area, mean: spread(mean), variance: spread(variance) }))
    }
}
