//! How one tensor of a network is quantized: the weights of a layer, or the value of a node. The
//! engine trains, saves and restores any [`Quantizer`], also one that a learner outside of this
//! repository brings along.
//!
//! | kind | gradient | how it runs |
//! |---|---|---|
//! | [`GridWeights`] | straight through | all layers in one call after each step of the optimizer |
//! | [`GridValues`] | straight through | within the pass of norm, sum and activation function |
//! | any other | its own | weights in the forward pass, values behind their node |
//!
//! A file holds weights on a grid or in a codebook of at most 2^bits values a bucket, and values on
//! a grid: [`Stored`]. Whatever a quantizer does in training, its file is read without it.

mod grid;

pub use grid::{GridValues, GridWeights};

use crate::kernels::{ActQuantizer, WeightGrid};
use pocketflow::Result;
use pocketflow::quant::{ActivationQuant, WeightQuant};
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

/// What the engine can compute together with other work, in place of [`Quantizer::quantize`].
pub enum Fused<'a> {
    /// Weights on a grid, whose gradient goes straight through.
    Weights {
        grid: WeightGrid,
        /// Whether the weights are quantized as they are deployed: multiplied by the batch
        /// normalisation behind them.
        folded: bool,
    },
    /// Values on an affine grid, whose gradient goes straight through.
    Value(ActQuantizer<'a>),
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
