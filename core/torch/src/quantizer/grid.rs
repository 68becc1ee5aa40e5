//! The quantizers of the built-in learners: weights from minimum to maximum of a bucket or on
//! TensorFlow's affine grids, values on an affine grid over the range that was tracked. Both are
//! straight-through estimators (Bengio et al. 2013, arXiv 1308.3432) with fused kernels.

use super::{Fused, Merging, Pass, Quantizer, Stored};
use crate::kernels::{self, ActQuantizer, WeightGrid, WeightJob};
use pocketflow::Result;
use pocketflow::affine::Affine;
use pocketflow::quant::{ActivationQuant, FULL_PRECISION_BITS, Grid, WeightQuant};
use tch::Tensor;

/// "Batches seen" of a range that was given.
const KNOWN: f32 = 1e6;

/// Weights on the grid that a plan gives them.
#[derive(Debug, Clone, Copy)]
pub struct GridWeights {
    quant: WeightQuant,
    bucket_size: usize,
}

impl GridWeights {
    /// Returns the quantizer of weights of `shape`; 32 bits leave them as they are.
    pub fn new(quant: WeightQuant, shape: &[usize]) -> Self {
        Self { quant, bucket_size: quant.buckets.size(shape) }
    }

    fn grid(&self, quantizes: bool) -> WeightGrid {
        let WeightQuant { bits, grid, .. } = self.quant;
        let bits = if quantizes && bits < FULL_PRECISION_BITS { bits } else { 0 };
        WeightGrid { bits, bucket_size: self.bucket_size, grid }
    }
}

impl Quantizer for GridWeights {
    fn quantize(&self, x: &Tensor, pass: Pass) -> Result<Tensor> {
        let source = x.detach().contiguous();
        let result = source.empty_like();
        kernels::quantize_weights(&[WeightJob {
            source: &source,
            result: &result,
            grid: self.grid(pass.quantizes),
            fold: None,
            log_steps: None,
        }])?;
        // The value is Q(x), to the bit, and the gradient that of x.
        Ok(result + (x - x.detach()))
    }

    fn stored(&self) -> Stored {
        Stored::Weights(self.quant)
    }

    fn fused(&self, pass: Pass) -> Option<Fused<'_>> {
        // What integer runtimes take is quantized as it is deployed there.
        Some(Fused::Weights { grid: self.grid(pass.quantizes), folded: self.quant.grid != Grid::MinMax, steps: None })
    }
}

/// The value of a node on an affine grid over its range, which is tracked in training.
pub struct GridValues {
    bits: u32,
    /// `[3]`: minimum, maximum, batches seen.
    range: Tensor,
    /// Share of the past in the moving averages, 0–1.
    decay: f64,
    /// Whether passes that track change the range.
    tracked: bool,
}

impl GridValues {
    /// Returns the quantizer of a node, whose range is that of `quant` until it is tracked.
    pub fn new(quant: ActivationQuant, decay: f64) -> Self {
        let range = quant.range.map_or([0.0; 3], |[min, max]| [min, max, KNOWN]);
        Self { bits: quant.bits, range: Tensor::from_slice(&range), decay, tracked: true }
    }

    /// The same quantizer with a range that stays as it is.
    #[must_use]
    pub fn fixed(self) -> Self {
        Self { tracked: false, ..self }
    }

    /// Returns the quantizer of another node that takes this one's range, whatever its own values
    /// are.
    pub fn shared(&self) -> Self {
        Self { bits: self.bits, range: self.range.shallow_clone(), decay: self.decay, tracked: false }
    }

    /// Returns minimum and maximum, once anything is known.
    fn ends(&self) -> Option<[f32; 2]> {
        let [min, max, seen] = [0, 1, 2].map(|index| self.range.double_value(&[index]) as f32);
        (seen > 0.0).then_some([min, max])
    }

    /// Returns the grid, once the range is known.
    pub fn grid(&self) -> Option<Affine> {
        self.ends().map(|ends| Affine::of_range(ends, self.bits))
    }

    fn kernel(&self, pass: Pass) -> ActQuantizer<'_> {
        ActQuantizer {
            bits: if pass.quantizes { self.bits } else { 0 },
            range: &self.range,
            decay: self.decay,
            track: pass.tracks && self.tracked,
        }
    }
}

impl Quantizer for GridValues {
    fn quantize(&self, x: &Tensor, pass: Pass) -> Result<Tensor> {
        kernels::fake_quantize(x, self.kernel(pass))
    }

    fn stored(&self) -> Stored {
        Stored::Value(ActivationQuant { bits: self.bits, range: self.ends() })
    }

    fn state(&self) -> Vec<(&'static str, Tensor)> {
        vec![("range", self.range.shallow_clone())]
    }

    fn merging(&self) -> Merging {
        Merging::Range
    }

    fn fused(&self, pass: Pass) -> Option<Fused<'_>> {
        Some(Fused::Value(self.kernel(pass)))
    }
}
