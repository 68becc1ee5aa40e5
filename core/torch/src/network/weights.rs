//! The quantized weights of a network: for each, the leaf that the forward pass uses and that
//! collects the gradient.

use super::{floats, set_tensor};
use crate::device;
use crate::kernels::{self, Fold, WeightQuantizer};
use pocketflow::Result;
use pocketflow::clip::{Inputs, WeightRange, clip};
use pocketflow::fold::fold_graph;
use pocketflow::graph::{BatchNorm, Graph, Op, Param, Role};
use pocketflow::quant::{FULL_PRECISION_BITS, Grid, QuantPlan, WeightQuant};
use std::collections::BTreeMap;
use tch::Tensor;

/// A batch normalisation that is folded into its layer when the network is deployed.
struct FoldedNorm {
    scale: String,
    variance: String,
    eps: f64,
}

/// A weight tensor of a quantized layer, and Q of it.
pub struct QuantizedWeight {
    pub name: String,
    /// As in the plan that the network was made with, but for the bits.
    pub quant: WeightQuant,
    bucket_size: usize,
    norm: Option<FoldedNorm>,
    /// Q(w), the leaf that collects the gradient.
    pub result: Tensor,
}

/// The weights of a layer at some bits, kept so that a network can go to and fro between them.
pub struct LayerWeights {
    pub(super) bits: u32,
    /// In full precision; `None`: as they were.
    pub(super) clipped: Option<Tensor>,
    pub(super) quantized: Tensor,
}

/// Those of the layers in the plan. What lies on a grid of integer runtimes is quantized as it is
/// deployed there: folded.
///
/// # Errors
/// A graph that is not valid.
pub fn quantized_weights(
    graph: &Graph,
    plan: &QuantPlan,
    params: &[Param],
    tensors: &BTreeMap<String, Tensor>,
) -> Result<Vec<QuantizedWeight>> {
    let folded = fold_graph(graph)?.into;
    let weights = params.iter().filter(|param| param.role == Role::Weight).filter_map(|param| {
        let quant = plan.weights.get(&graph.nodes[param.node].name)?;
        let into = folded.iter().find(|(_, layer)| **layer == Some(param.node));
        let norm = into.filter(|_| quant.grid != Grid::MinMax).and_then(|(norm, _)| {
            let norm = &graph.nodes[*norm];
            let Op::BatchNorm(BatchNorm { eps }) = norm.op else { return None };
            let tensor = |suffix: &str| format!("{}.{suffix}", norm.name);
            Some(FoldedNorm { scale: tensor("weight"), variance: tensor("running_var"), eps })
        });
        Some(QuantizedWeight {
            name: param.name.clone(),
            quant: *quant,
            bucket_size: quant.buckets.size(&param.shape),
            norm,
            result: tensors[&param.name].copy().set_requires_grad(true),
        })
    });
    Ok(weights.collect())
}

impl QuantizedWeight {
    pub fn is_folded(&self) -> bool {
        self.norm.is_some()
    }

    /// A layer's weights at other bits, from its weights in full precision; `inputs` are what they
    /// are multiplied with, as far as known.
    ///
    /// # Errors
    /// libtorch's.
    pub fn at(&self, source: &Tensor, bits: u32, range: WeightRange, inputs: Option<&Inputs>) -> Result<LayerWeights> {
        let clipped = match range {
            WeightRange::Mse if bits < FULL_PRECISION_BITS => {
                let mut values = floats(source)?;
                clip(&mut values, bits, self.bucket_size, inputs);
                Some(device::place(Tensor::from_slice(&values).view(source.size().as_slice()))?)
            }
            _ => None,
        };
        let quantized = source.detach().empty_like();
        kernels::quantize_weights(&[WeightQuantizer {
            source: clipped.as_ref().unwrap_or(source),
            result: &quantized,
            bits: if bits < FULL_PRECISION_BITS { bits } else { 0 },
            bucket_size: self.bucket_size,
            grid: self.quant.grid,
            fold: None,
        }])?;
        Ok(LayerWeights { bits, clipped, quantized })
    }

    /// Takes over Q(w) of other bits.
    ///
    /// # Errors
    /// Weights of another layer.
    pub fn set(&mut self, weights: &LayerWeights) -> Result<()> {
        self.quant.bits = weights.bits;
        set_tensor(&mut self.result, &weights.quantized)
    }

    fn quantizer<'a>(&'a self, tensors: &'a BTreeMap<String, Tensor>, on: bool) -> WeightQuantizer<'a> {
        let fold = |norm: &'a FoldedNorm| Fold {
            scale: &tensors[&norm.scale],
            variance: &tensors[&norm.variance],
            eps: norm.eps,
        };
        WeightQuantizer {
            source: &tensors[&self.name],
            result: &self.result,
            // None, as the kernel says it.
            bits: if on && self.quant.bits < FULL_PRECISION_BITS { self.quant.bits } else { 0 },
            bucket_size: self.bucket_size,
            grid: self.quant.grid,
            fold: self.norm.as_ref().map(fold),
        }
    }
}

/// Brings every Q(w) up to date with w, and with the batch normalisation behind it; with `on` false
/// it is w itself.
///
/// # Errors
/// libtorch's.
pub fn update(weights: &[QuantizedWeight], tensors: &BTreeMap<String, Tensor>, on: bool) -> Result<()> {
    let quantizers: Vec<WeightQuantizer> = weights.iter().map(|weight| weight.quantizer(tensors, on)).collect();
    kernels::quantize_weights(&quantizers)
}
