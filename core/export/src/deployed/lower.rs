//! From a model to operators of a deployed network: batch normalisations folded, activation
//! functions fused, every value on the grid that the model's plan (or calibration) gives it.

use super::layer::BITS;
use super::lowering::{Floats, Lowering};
use super::note::{Fate, LayerNote};
use super::unquantized::LowerError;
use super::{Activation, DeployedNet, Layer, Operator, Value, WeightRange};
use crate::ops::export;
use pocketflow::fold::fold_model;
use pocketflow::graph::NodeId;
use pocketflow::integer::{Held, Target, held};
use pocketflow::model::Model;
use pocketflow::quant::FULL_PRECISION_BITS;
use pocketflow::sums::align_ranges;
use pocketflow::{Error, Result};
use std::collections::BTreeMap;

/// A network for files, and how it was made.
#[derive(Debug, Clone, PartialEq)]
pub struct Lowered {
    /// Ready for the writers of all formats.
    pub net: DeployedNet,
    /// What became of each layer, in the order of the graph.
    pub layers: Vec<LayerNote>,
}

/// Nodes whose output needs a grid that the model does not give, for integers throughout: for
/// calibration. In the folded graph.
///
/// # Errors
/// A model that cannot be folded.
pub fn without_range(model: &Model, target: Target) -> Result<Vec<String>> {
    let folded = fold_model(model)?;
    let own = held(&folded.graph, target).into_iter().zip(&folded.graph.nodes).skip(1);
    let own = own.filter(|(held, node)| *held == Held::Own && node.op.range().is_none());
    let open = own.filter(|(_, node)| {
        let known = folded.plan.activations.get(&node.name);
        !known.is_some_and(|quant| quant.range.is_some() && quant.bits <= BITS)
    });
    Ok(open.map(|(_, node)| node.name.clone()).collect())
}

/// Turns a model into integers. `ranges`: by node of the folded graph, from calibration, for those
/// of [`without_range`]; those that meet in sums are widened to one scale. `post_quant`: layers and
/// values that training left in float, or at more than 8 bits, are quantized now; without it they
/// stay float.
///
/// # Errors
/// No quantized weights, without `post_quant`; values that lack a range (all of them, by name);
/// more bits than the target holds; an operator that integer runtimes do not have; weights that are
/// not finite.
pub fn lower(
    model: &Model,
    target: Target,
    ranges: &BTreeMap<String, [f32; 2]>,
    post_quant: bool,
) -> Result<Lowered, LowerError> {
    lower_within(model, target, ranges, post_quant, WeightRange::Full)
}

/// As [`lower`], with the weights that are multiplied as integers in codes of `weight_range`.
///
/// # Errors
/// As [`lower`].
pub fn lower_within(
    model: &Model,
    target: Target,
    ranges: &BTreeMap<String, [f32; 2]>,
    post_quant: bool,
    weight_range: WeightRange,
) -> Result<Lowered, LowerError> {
    let folded = fold_model(model)?;
    let mut ranges = ranges.clone();
    align_ranges(&folded.graph, target, BITS, &mut ranges);
    let floats = if post_quant { Floats::Quantized } else { Floats::Kept };
    let lowering = Lowering { weight_range, ..Lowering::new(model, &folded, target, &ranges, floats)? };
    lowering.check()?;
    Ok(lowering.run()?)
}

/// The model in float throughout: weights as quantization left them, values not quantized.
///
/// # Errors
/// A model that cannot be folded or whose parts do not fit each other; weights that are not finite.
pub fn lower_to_floats(model: &Model) -> Result<DeployedNet> {
    let folded = fold_model(model)?;
    let none = BTreeMap::new();
    let lowering = Lowering::new(model, &folded, Target::default(), &none, Floats::Everything)?;
    Ok(lowering.run()?.net)
}

impl Lowering<'_> {
    /// Everything that is missing, said at once.
    fn check(&self) -> Result<(), LowerError> {
        let graph = self.graph();
        let kept = self.floats == Floats::Kept;
        if kept && self.original.plan.weights.is_empty() {
            let layers = graph.nodes.iter().filter(|node| node.op.is_layer()).map(|node| node.name.clone());
            return Err(LowerError::Float { layers: layers.collect() });
        }
        let too_many = |bits: u32| (BITS + 1..FULL_PRECISION_BITS).contains(&bits) && kept;
        // In the folded model weights may be packed no more: the plan of the original tells.
        let weights = self.original.plan.weights.iter().map(|(name, quant)| (quant.bits, name.as_str(), "weights of "));
        let own = || graph.nodes.iter().enumerate().filter(|(id, _)| self.held[*id] == Held::Own);
        let planned = |name: &str| self.model.plan.activations.get(name);
        let values = own().filter_map(|(_, node)| Some((planned(&node.name)?.bits, node.name.as_str(), "")));
        let wide = weights.chain(values).filter(|(bits, ..)| too_many(*bits));
        let named: Vec<String> = wide.map(|(bits, name, what)| format!("{what}{name} ({bits})")).collect();
        if !named.is_empty() {
            return Err(LowerError::Wide { target: self.target.name(), named });
        }
        // What is not in the plan may stay float; what is must have a range.
        let open = own().filter(|(id, node)| {
            self.grid(*id).is_none() && (!kept || planned(&node.name).is_some_and(|quant| quant.bits <= BITS))
        });
        let values: Vec<String> = open.map(|(_, node)| node.name.clone()).collect();
        match values.is_empty() {
            true => Ok(()),
            false => Err(LowerError::WithoutRange { values }),
        }
    }

    fn run(&self) -> Result<Lowered> {
        let graph = self.graph();
        let mut values: Vec<Value> = Vec::new();
        let mut value_of: Vec<Option<usize>> = vec![None; graph.nodes.len()];
        let mut operators: Vec<Operator> = Vec::new();
        let mut layers = Vec::new();
        for id in 0..graph.nodes.len() {
            let node = &graph.nodes[id];
            // A fused node is written by the activation function that reads it.
            if self.held[id] == Held::Fused {
                continue;
            }
            let grid = match self.held[id] {
                Held::On(earlier) => {
                    let value = value_of[earlier].ok_or_else(|| self.fail(id, "its input is not held"))?;
                    values[value].grid.map(|grid| (grid, Fate::Exact))
                }
                _ => self.grid(id),
            };
            let fate = grid.map_or(Fate::Float, |(_, fate)| fate);
            let grid = grid.map(|(grid, _)| grid);
            let [channels, height, width] = self.shapes[id];
            values.push(Value { name: node.name.clone(), shape: [height, width, channels], grid });
            let output = values.len() - 1;
            value_of[id] = Some(output);
            if id == 0 {
                continue;
            }
            let (from, activation) = self.source(id);
            let inputs: Option<Vec<usize>> = graph.nodes[from].inputs.iter().map(|input| value_of[*input]).collect();
            let inputs = inputs.ok_or_else(|| self.fail(id, "it reads a value that is not held"))?;
            // Where the input's grid is, if integers go in and come out.
            let input = values[inputs[0]].grid.filter(|_| grid.is_some());
            let (op, layer) = export(&graph.nodes[from].op).lower(self, from, input)?;
            let layer = layer.map(|(layer, (weights, weight_error))| {
                let source = &graph.nodes[from];
                let quant = self.original.plan.weights.get(&source.name);
                layers.push(LayerNote {
                    name: source.name.clone(),
                    kind: source.op.kind().into(),
                    bits: quant.map_or(FULL_PRECISION_BITS, |quant| quant.bits),
                    weights,
                    weight_error,
                    output: fate,
                    integer: matches!(layer, Layer::Integer { .. }),
                });
                layer
            });
            let (name, constants) =
                (graph.nodes[from].name.clone(), export(&graph.nodes[from].op).constants(self, from)?);
            operators.push(Operator { name, op, layer, constants, inputs, output, activation });
        }
        let output = value_of.last().copied().flatten().ok_or_else(|| Error::failed("the network has no output"))?;
        let net = DeployedNet {
            name: graph.name.clone(),
            target: self.target,
            values,
            operators,
            input: 0,
            output,
            mean: self.model.meta.mean.clone(),
            std: self.model.meta.std.clone(),
        };
        Ok(Lowered { net, layers })
    }

    /// The node that computes what `id` gives, and the activation function fused to it.
    fn source(&self, id: NodeId) -> (NodeId, Activation) {
        let node = &self.graph().nodes[id];
        let activation = export(&node.op).activation();
        if activation == Activation::None {
            return (id, activation);
        }
        match self.held[node.inputs[0]] {
            Held::Fused => (node.inputs[0], activation),
            _ => (id, activation),
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
