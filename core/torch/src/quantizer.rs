//! How one tensor of a network is quantized: the weights of a layer, or the value of a node. The
//! engine trains, saves and restores any [`Quantizer`], also one that a learner outside of this
//! repository brings along.
//!
//! | kind | gradient | how it runs |
//! |---|---|---|
//! | [`GridWeights`] | straight through | all layers in one call after each step of the optimizer |
//! | [`GridValues`] | straight through | within the pass of norm, sum and activation function |
//! | [`LearnedWeights`] | within the grid | as [`GridWeights`]; those of steps in one call after each backward pass |
//! | [`LearnedValues`] | within the grid | as [`GridValues`] |
//! | any other | its own | weights in the forward pass, values behind their node |
//!
//! A file holds weights on a grid or in a codebook of at most 2^bits values a bucket, and values on
//! a grid: [`Stored`]. Whatever a quantizer does in training, its file is read without it.

mod fit;
mod grid;
mod learned;

pub use fit::{BINS, Spread};
pub use grid::{GridValues, GridWeights};
pub use learned::{LEARNED_BITS, LearnedValues, LearnedWeights};

use crate::kernels::{ActQuantizer, StepQuantizer, WeightGrid};
use pocketflow::Result;
use pocketflow::quant::{ActivationQuant, Quantized, WeightQuant};
use tch::Tensor;

/// What a quantizer does in a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass {
    /// Whether it learns from what it is given: tracks ranges.
    pub tracks: bool,
    /// Whether it quantizes; otherwise it hands on what it is given.
    pub quantizes: bool,
}

/// A tensor that training learns beside the weights, as a step or a scale.
pub struct Learned {
    /// Unique in its quantizer: `scale`.
    pub name: &'static str,
    /// A leaf that requires a gradient, of any shape; the optimizer changes it in place.
    pub tensor: Tensor,
    /// Factor on the learning rate.
    pub rate: f64,
    /// Weight decay; 0 for none.
    pub decay: f64,
}

/// How a model file holds what a quantizer makes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Stored {
    /// The weights of a layer: codes, and a grid or a codebook for each bucket.
    Weights(WeightQuant),
    /// The value of a node: bits and range of its grid.
    Value(ActivationQuant),
}

/// How what quantizers of several workers keep becomes one after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merging {
    /// Each tensor, of floats, is the mean of the workers'.
    Mean,
    /// Each tensor begins with a minimum and a maximum, which become those of all workers.
    Range,
}

/// Steps of weights that are learned.
#[derive(Clone, Copy)]
pub struct Steps<'a> {
    /// `[buckets]`: the logarithms, one of the tensors that [`Quantizer::learned`] gives.
    pub log_steps: &'a Tensor,
    /// Multiplies their gradient.
    pub factor: f64,
}

/// What the engine can compute together with other work, in place of [`Quantizer::quantize`].
pub enum Fused<'a> {
    /// Weights on a grid.
    Weights {
        /// Bits, buckets and grid.
        grid: WeightGrid,
        /// Whether the weights are quantized as they are deployed: multiplied by the batch
        /// normalisation behind them.
        folded: bool,
        /// `None`: the gradient goes straight through.
        steps: Option<Steps<'a>>,
    },
    /// Values on an affine grid, whose gradient goes straight through.
    Value(ActQuantizer<'a>),
    /// Values on a grid whose step is learned.
    Step(StepQuantizer<'a>),
}

/// A quantizer of one tensor. Its tensors are on the device of what it quantizes.
pub trait Quantizer: Send {
    /// Returns Q(x), of x's shape, with the gradient that training is to use.
    ///
    /// # Errors
    /// A tensor that it cannot quantize; libtorch's.
    fn quantize(&self, x: &Tensor, pass: Pass) -> Result<Tensor>;

    /// Returns how a model file holds what this makes, as far as it is known by now.
    fn stored(&self) -> Stored;

    /// Returns codes and ranges of `weights`, where Q(w) alone does not tell them: where values
    /// need not reach the ends of the grid.
    ///
    /// # Errors
    /// Weights that are not finite.
    fn packed(&self, weights: &Tensor) -> Result<Option<Quantized>> {
        let _ = weights;
        Ok(None)
    }

    /// Returns why training cannot go on with what was learned: a step that is zero or no number.
    fn problem(&self) -> Option<String> {
        None
    }

    /// Returns the tensors that the optimizer trains: the same ones, in the same order, each time.
    fn learned(&self) -> Vec<Learned> {
        Vec::new()
    }

    /// Returns the tensors that it keeps and no optimizer trains, by name: a checkpoint holds their
    /// values, and a resumed run writes them back into these same tensors.
    fn state(&self) -> Vec<(&'static str, Tensor)> {
        Vec::new()
    }

    /// Returns how [`Quantizer::state`] of several workers, each with its own images, becomes one.
    fn merging(&self) -> Merging {
        Merging::Mean
    }

    /// Returns what the engine can compute in place of [`Quantizer::quantize`].
    fn fused(&self, pass: Pass) -> Option<Fused<'_>> {
        let _ = pass;
        None
    }
}
