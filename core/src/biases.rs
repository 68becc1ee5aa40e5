//! Biases on the grid that integer runtimes add them on: int32 multiples of input scale × weight
//! scale (Jacob et al. 2018, arXiv 1712.05877, §2.4). A model that is saved so computes in floats
//! what its deployed files compute in integers.

use crate::affine::Affine;
use crate::error::Result;
use crate::graph::NodeId;
use crate::integer::{Held, Target, held};
use crate::model::Model;
use crate::quant::{ActivationQuant, Grid};
use crate::tensors::Stored;

/// Rounds the biases of layers whose input and weights have grids with a zero point; leaves the
/// others alone. The model is folded.
///
/// # Errors
/// Parts of the model that do not fit each other.
pub fn round_biases(model: &mut Model, target: Target) -> Result<()> {
    let held = held(&model.graph, target);
    for id in model.graph.layers() {
        let node = &model.graph.nodes[id];
        let Some(input_scale) = scale_of(model, &held, node.inputs[0]) else { continue };
        let weights = match model.tensors.get(&format!("{}.weight", node.name)) {
            Some(Stored::Packed { quantized, .. }) if matches!(quantized.grid, Grid::Symmetric | Grid::Affine) => {
                &quantized.ranges
            }
            _ => continue,
        };
        let scales: Vec<f32> = weights.iter().map(|[scale, _]| *scale).collect();
        let Some(Stored::Full { values, .. }) = model.tensors.get_mut(&format!("{}.bias", node.name)) else { continue };
        for (channel, bias) in values.iter_mut().enumerate() {
            let scale = scales[if scales.len() == 1 { 0 } else { channel.min(scales.len() - 1) }];
            let step = f64::from(input_scale) * f64::from(scale);
            *bias = ((f64::from(*bias) / step).round_ties_even() * step) as f32;
        }
    }
    model.graph.validate().map_err(Into::into)
}

/// The scale of the grid that a node's output lies on, if the plan gives it one.
fn scale_of(model: &Model, held: &[Held], id: NodeId) -> Option<f32> {
    let id = match held[id] {
        Held::On(earlier) => earlier,
        Held::Own => id,
        Held::Fused => return None,
    };
    let quant = model.plan.activations.get(&model.graph.nodes[id].name)?;
    let ActivationQuant { bits, range: Some(range) } = quant else { return None };
    Some(Affine::of_range(*range, *bits).scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Conv2d, GraphBuilder};
    use crate::integer::plan;
    use crate::model::ModelMeta;

    #[test]
    fn a_bias_is_a_whole_number_of_steps() {
        let mut builder = GraphBuilder::new("small", [2, 4, 4]);
        let op =
            Conv2d { out: 3, kernel: [1; 2], stride: [1; 2], padding: [0; 4], dilation: [1; 2], groups: 1, bias: true };
        let conv = builder.add("conv", op, &[0]);
        builder.relu("relu", conv);
        let graph = builder.finish().unwrap();
        for target in [Target::Int8, Target::Uint8] {
            let mut plan = plan(&graph, target, 8, 8);
            plan.activations.values_mut().for_each(|quant| quant.range = Some([-1.0, 1.0]));
            let values =
                [("conv.weight", vec![0.5, -0.3, 0.1, 0.2, -0.9, 0.7]), ("conv.bias", vec![0.123, -0.567, 0.0])];
            let values = values.into_iter().map(|(name, values)| (name.to_owned(), values)).collect();
            let mut model = Model::new(graph.clone(), plan, ModelMeta::default(), values).unwrap();
            let before = model.values("conv.bias").unwrap();
            round_biases(&mut model, target).unwrap();
            let Stored::Packed { quantized, .. } = &model.tensors["conv.weight"] else { panic!("weights are packed") };
            for (channel, (bias, before)) in model.values("conv.bias").unwrap().iter().zip(before).enumerate() {
                let [scale, _] = quantized.ranges[if target == Target::Int8 { channel } else { 0 }];
                let steps = f64::from(*bias) / (f64::from(scale) * 2.0 / 255.0);
                assert!((steps - steps.round()).abs() < 1e-3, "{steps}");
                assert!((bias - before).abs() <= scale * 2.0 / 255.0);
            }
        }
    }
}
