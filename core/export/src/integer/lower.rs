//! From a model to integer operators: batch normalisations folded, activation functions fused, every value on the grid that the
//! model's plan (or calibration) gives it.

use super::layer::{self, BITS};
use super::{Activation, IntegerNet, Kind, Operator, Value};
use pocketflow::affine::Affine;
use pocketflow::fold::fold_model;
use pocketflow::graph::{Graph, NodeId, Op};
use pocketflow::integer::{Held, Target, held, input_range};
use pocketflow::model::Model;
use pocketflow::quant::{ActivationQuant, FULL_PRECISION_BITS};
use pocketflow::sums::align_ranges;
use pocketflow::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What became of something that the model had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// The same values, to the last code.
    Exact,
    /// On another grid of 8 bits than in training.
    Requantized,
    /// Training left it in float; quantized after training.
    PostQuantized,
}

/// What became of a layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerNote {
    pub name: String,
    /// The word of [`Op::kind`].
    pub kind: String,
    /// Of the model's weights; 32: not quantized.
    pub bits: u32,
    pub weights: Fate,
    /// Root mean square of what the weights changed by, relative to their own.
    pub weight_error: f64,
    /// Of the value that the layer (with what is fused to it) writes.
    pub output: Fate,
}

/// An integer network and how it was made.
#[derive(Debug, Clone, PartialEq)]
pub struct Lowered {
    pub net: IntegerNet,
    pub layers: Vec<LayerNote>,
}

/// Nodes whose output needs a grid that the model does not give: for calibration. In the folded graph.
///
/// # Errors
/// A model that cannot be folded.
pub fn without_range(model: &Model, target: Target, post_quant: bool) -> Result<Vec<String>> {
    let folded = fold_model(model)?;
    let own = held(&folded.graph, target).into_iter().zip(&folded.graph.nodes).skip(1);
    let own = own.filter(|(held, _)| *held == Held::Own);
    let open = own.filter(|(_, node)| {
        let known = folded.plan.activations.get(&node.name);
        !known.is_some_and(|quant| quant.range.is_some() && (quant.bits <= BITS || !post_quant))
    });
    Ok(open.map(|(_, node)| node.name.clone()).collect())
}

/// Turns a model into integers. `ranges`: by node of the folded graph, from calibration, for those of [`without_range`]; those that meet in
/// sums are widened to one scale.
/// `post_quant`: layers that training left in float, or at more than 8 bits, may be quantized now.
///
/// # Errors
/// Layers or values in float without `post_quant` or a range (all of them, by name); more bits than the target holds; an operator
/// that integer runtimes do not have; weights that are not finite.
pub fn lower(model: &Model, target: Target, ranges: &BTreeMap<String, [f32; 2]>, post_quant: bool) -> Result<Lowered> {
    let folded = fold_model(model)?;
    let mut ranges = ranges.clone();
    align_ranges(&folded.graph, target, BITS, &mut ranges);
    let lowering = Lowering {
        original: model,
        shapes: folded.graph.shapes()?,
        held: held(&folded.graph, target),
        model: &folded,
        target,
        ranges: &ranges,
        post_quant,
    };
    lowering.check()?;
    lowering.run()
}

struct Lowering<'a> {
    original: &'a Model,
    model: &'a Model,
    shapes: Vec<[usize; 3]>,
    held: Vec<Held>,
    target: Target,
    ranges: &'a BTreeMap<String, [f32; 2]>,
    post_quant: bool,
}

impl Lowering<'_> {
    fn graph(&self) -> &Graph {
        &self.model.graph
    }

    /// Everything that is missing, said at once.
    fn check(&self) -> Result<()> {
        let graph = self.graph();
        let bits = |name: &str| self.original.plan.weights.get(name).map_or(FULL_PRECISION_BITS, |quant| quant.bits);
        let layers = graph.nodes.iter().filter(|node| node.op.is_layer() && bits(&node.name) == FULL_PRECISION_BITS);
        let layers: Vec<&str> = layers.map(|node| node.name.as_str()).collect();
        let advice = "give --enbl_post_quant to quantize them now, from training images";
        if !layers.is_empty() && !self.post_quant {
            let names = layers.join(", ");
            return Err(Error::config(format!("training left these layers in float: {names}; {advice}")));
        }
        let open = graph.nodes.iter().enumerate().filter(|(id, _)| self.held[*id] == Held::Own);
        let open = open.filter(|(id, _)| self.grid(*id).is_none()).map(|(_, node)| node.name.as_str());
        let open: Vec<&str> = open.collect();
        match open.is_empty() {
            true => Ok(()),
            false => Err(Error::config(format!("these values have no range: {}; {advice}", open.join(", ")))),
        }
    }

    /// The grid of a value that has its own, in codes of the target, and whether it is that of training.
    fn grid(&self, id: NodeId) -> Option<(f32, i32, Fate)> {
        let name = &self.graph().nodes[id].name;
        let (quant, fate) = match self.model.plan.activations.get(name) {
            Some(ActivationQuant { bits, range: Some(range) }) if *bits <= BITS => ((*range, *bits), Fate::Exact),
            _ if id == 0 => ((input_range(&self.model.meta.mean, &self.model.meta.std), BITS), Fate::PostQuantized),
            _ => ((*self.ranges.get(name)?, BITS), Fate::PostQuantized),
        };
        let (range, bits) = quant;
        let grid = Affine::of_range(range, bits);
        // Fewer than 8 bits use the target's topmost codes, so that saturation cuts where training did.
        let shift = match self.target {
            Target::Int8 => 127 - grid.max_code,
            Target::Uint8 => 255 - grid.max_code,
        };
        let fate = match fate {
            Fate::Exact if bits < BITS && grid.zero_point > 0 => Fate::Requantized,
            other => other,
        };
        Some((grid.scale, grid.zero_point + shift, fate))
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
            let (scale, zero_point, fate) = match self.held[id] {
                Held::On(earlier) => {
                    let value = value_of[earlier].ok_or_else(|| self.fail(id, "its input is not held"))?;
                    (values[value].scale, values[value].zero_point, Fate::Exact)
                }
                _ => self.grid(id).ok_or_else(|| self.fail(id, "it has no range"))?,
            };
            let [channels, height, width] = self.shapes[id];
            values.push(Value { name: node.name.clone(), shape: [height, width, channels], scale, zero_point });
            let output = values.len() - 1;
            value_of[id] = Some(output);
            if id == 0 {
                continue;
            }
            let (from, activation) = self.source(id);
            let inputs: Option<Vec<usize>> = graph.nodes[from].inputs.iter().map(|input| value_of[*input]).collect();
            let inputs = inputs.ok_or_else(|| self.fail(id, "it reads a value that is not held"))?;
            let kind = self.kind(from, &values[inputs[0]])?;
            let kind = match kind {
                (kind, Some((weights, weight_error))) => {
                    let source = &graph.nodes[from];
                    let quant = self.original.plan.weights.get(&source.name);
                    layers.push(LayerNote {
                        name: source.name.clone(),
                        kind: source.op.kind().into(),
                        bits: quant.map_or(FULL_PRECISION_BITS, |quant| quant.bits),
                        weights: if quant.is_none() { Fate::PostQuantized } else { weights },
                        weight_error,
                        output: fate,
                    });
                    kind
                }
                (kind, None) => kind,
            };
            operators.push(Operator { name: graph.nodes[from].name.clone(), kind, inputs, output, activation });
        }
        let output = value_of.last().copied().flatten().ok_or_else(|| Error::failed("the network has no output"))?;
        let net = IntegerNet {
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
        let activation = match node.op {
            Op::Relu => Activation::Relu,
            Op::Relu6 => Activation::Relu6,
            _ => return (id, Activation::None),
        };
        match self.held[node.inputs[0]] {
            Held::Fused => (node.inputs[0], activation),
            _ => (id, activation),
        }
    }

    /// The operator of a node, and for a layer what became of its weights.
    fn kind(&self, id: NodeId, input: &Value) -> Result<(Kind, Option<(Fate, f64)>)> {
        let graph = self.graph();
        let node = &graph.nodes[id];
        let plain = |kind| Ok((kind, None));
        match node.op {
            Op::Conv2d { out, kernel, stride, padding, groups, .. } => {
                let channels = self.shapes[node.inputs[0]][0];
                let depthwise = groups > 1;
                if depthwise && (groups != channels || out != channels) {
                    let problem = format!("a convolution of {groups} groups has no integer kernel");
                    return Err(self.fail(id, &format!("{problem}: use 1 group, or one for each channel")));
                }
                let shape = [out, channels / groups, kernel[0], kernel[1]];
                let (weights, bias, note) = self.layer(id, shape, input)?;
                Ok((Kind::Conv { weights, bias, stride, padding, depthwise }, Some(note)))
            }
            Op::Linear { out, .. } => {
                let [channels, height, width] = self.shapes[node.inputs[0]];
                let (weights, bias, note) = self.layer(id, [out, channels, height, width], input)?;
                let kind = match [height, width] {
                    [1, 1] => Kind::Linear { weights, bias },
                    // On an image it is a convolution with a kernel of the image's size: the weights lie in its order.
                    _ => Kind::Conv { weights, bias, stride: [1; 2], padding: [0; 4], depthwise: false },
                };
                Ok((kind, Some(note)))
            }
            Op::Add => plain(Kind::Add),
            Op::MaxPool { kernel, stride, padding } => plain(Kind::MaxPool { kernel, stride, padding }),
            Op::GlobalAvgPool => plain(Kind::GlobalAvgPool),
            Op::PadShortcut { out, stride } => {
                let extra = out - self.shapes[node.inputs[0]][0];
                plain(Kind::PadShortcut { before: extra / 2, after: extra - extra / 2, stride })
            }
            Op::Relu | Op::Relu6 => plain(Kind::Activation),
            Op::Input { .. } | Op::BatchNorm { .. } => Err(self.fail(id, "it cannot stand here in a folded network")),
        }
    }

    fn layer(&self, id: NodeId, shape: [usize; 4], input: &Value) -> Result<(super::Weights, Vec<i32>, (Fate, f64))> {
        let name = &self.graph().nodes[id].name;
        let tensor = |suffix: &str| self.model.tensors.get(&format!("{name}.{suffix}"));
        let stored = tensor("weight").ok_or_else(|| self.fail(id, "it has no weights"))?;
        let within = |error: Error| error.context(format!("cannot export layer `{name}`"));
        let mut made = layer::quantize(stored, shape, self.target, self.post_quant).map_err(within)?;
        let bias = tensor("bias").map(|bias| bias.values()).transpose()?.unwrap_or_else(|| vec![0.0; shape[0]]);
        if !bias.iter().chain(&made.weights.scales).all(|value| value.is_finite()) {
            return Err(self.fail(id, "its weights or biases are not finite"));
        }
        let exact = made.exact & layer::make_room(&mut made.weights, &bias, input.scale);
        let bias = bias.iter().enumerate().map(|(channel, bias)| {
            let step = f64::from(input.scale) * f64::from(made.weights.scale(channel));
            (f64::from(*bias) / step).round_ties_even() as i32
        });
        let fate = if exact { Fate::Exact } else { Fate::Requantized };
        Ok((made.weights.clone(), bias.collect(), (fate, made.error)))
    }

    fn fail(&self, id: NodeId, problem: &str) -> Error {
        let node = &self.graph().nodes[id];
        Error::config(format!("cannot export node `{}` ({}): {problem}", node.name, node.op.kind()))
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
