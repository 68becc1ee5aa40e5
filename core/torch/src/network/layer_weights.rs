//! The weights of a layer at other bits: what a search goes from allocation to allocation by, and
//! clipping to the range of the least error.

use super::Network;
use crate::kernels::{self, WeightGrid, WeightJob};
use crate::quantizer::GridWeights;
use crate::values::{copy_into, floats};
use pocketflow::clip::{WeightRange, clip};
use pocketflow::quant::{FULL_PRECISION_BITS, WeightQuant};
use pocketflow::{Error, Result};
use tch::Tensor;

/// The weights of a layer at some bits, kept so that a network can change between them.
pub struct LayerWeights {
    quant: WeightQuant,
    /// In full precision; `None`: as they were.
    clipped: Option<Tensor>,
    quantized: Tensor,
}

impl Network {
    /// Returns the weights of a quantized layer with other bits (32: none), from its weights as
    /// they are now.
    ///
    /// # Errors
    /// A layer that is not quantized; one that is quantized folded, and so depends on its batch
    /// normalisation.
    pub fn layer_weights(&self, layer: &str, bits: u32, range: WeightRange) -> Result<LayerWeights> {
        let param = self.weight_of(layer)?;
        let weight = self.quantizers.weight(param).filter(|weight| !weight.is_folded());
        let weight = weight.ok_or_else(|| {
            Error::failed(format!("the bits of `{layer}` cannot be changed: it is not quantized alone"))
        })?;
        let quant = WeightQuant { bits, ..weight.quant()? };
        let source = self.parameters.tensor(param);
        let bucket_size = quant.buckets.size(&self.parameters.params()[param].shape);
        let clipped = match range {
            WeightRange::Mse if bits < FULL_PRECISION_BITS => {
                let mut values = floats(source)?;
                clip(&mut values, bits, bucket_size, self.inputs_of(layer)?.as_ref());
                Some(self.engine.place(Tensor::from_slice(&values).view(source.size().as_slice()))?)
            }
            _ => None,
        };
        let quantized = source.detach().empty_like();
        let bits = if bits < FULL_PRECISION_BITS { bits } else { 0 };
        kernels::quantize_weights(&[WeightJob {
            source: clipped.as_ref().unwrap_or(source),
            result: &quantized,
            grid: WeightGrid { bits, bucket_size, grid: quant.grid },
            fold: None,
            log_steps: None,
        }])?;
        Ok(LayerWeights { quant, clipped, quantized })
    }

    /// Gives a layer the quantized weights and bits that [`Network::layer_weights`] made, without
    /// quantizing anew, and the weights if they were clipped.
    ///
    /// # Errors
    /// Weights of another layer.
    pub fn set_layer_weights(&mut self, layer: &str, weights: &LayerWeights) -> Result<()> {
        let param = self.weight_of(layer)?;
        if let Some(clipped) = &weights.clipped {
            copy_into(self.parameters.tensor(param), clipped)?;
        }
        let quantizer = GridWeights::new(weights.quant, &self.parameters.params()[param].shape);
        self.quantizers.set_weights(&self.graph, &mut self.parameters, param, Box::new(quantizer));
        copy_into(self.quantizers.leaf(&self.parameters, param), &weights.quantized)
    }

    /// Clips the weights of every layer that is quantized alone to the range of the least error at
    /// its bits: of what the layer computes, once the network has observed images, else of its
    /// weights.
    ///
    /// # Errors
    /// libtorch's.
    pub fn clip_weights(&mut self) -> Result<()> {
        for (layer, quant) in self.plan()?.weights {
            let clipped = self.layer_weights(&layer, quant.bits, WeightRange::Mse)?;
            self.set_layer_weights(&layer, &clipped)?;
        }
        Ok(())
    }
}
