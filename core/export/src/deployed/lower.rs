//! From a model to operators of a deployed network: batch normalisations folded, activation
//! functions fused, every value on the grid that the model's plan (or calibration) gives it.

use super::layer::{self, BITS};
use super::note::{Fate, LayerNote};
use super::{Activation, DeployedNet, FloatWeights, Grid, Kind, Layer, Operator, Value, WeightRange};
use pocketflow::affine::Affine;
use pocketflow::fold::fold_model;
use pocketflow::graph::{Conv2d, Graph, Linear, MaxPool, NodeId, Op, PadShortcut};
use pocketflow::integer::{Held, Target, held, input_range};
use pocketflow::model::Model;
use pocketflow::quant::{ActivationQuant, FULL_PRECISION_BITS};
use pocketflow::sums::align_ranges;
use pocketflow::{Error, Result};
use std::collections::BTreeMap;

/// A network for files, and how it was made.
#[derive(Debug, Clone, PartialEq)]
pub struct Lowered {
    pub net: DeployedNet,
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
    let own = own.filter(|(held, _)| *held == Held::Own);
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
pub fn lower(model: &Model, target: Target, ranges: &BTreeMap<String, [f32; 2]>, post_quant: bool) -> Result<Lowered> {
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
) -> Result<Lowered> {
    let folded = fold_model(model)?;
    let mut ranges = ranges.clone();
    align_ranges(&folded.graph, target, BITS, &mut ranges);
    let floats = if post_quant { Floats::Quantized } else { Floats::Kept };
    let lowering = Lowering { weight_range, ..Lowering::new(model, &folded, target, &ranges, floats)? };
    lowering.check()?;
    lowering.run()
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

/// What becomes of floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Floats {
    /// What training left in float stays so.
    Kept,
    /// They are quantized now.
    Quantized,
    /// All becomes float.
    Everything,
}

struct Lowering<'a> {
    original: &'a Model,
    model: &'a Model,
    shapes: Vec<[usize; 3]>,
    held: Vec<Held>,
    target: Target,
    ranges: &'a BTreeMap<String, [f32; 2]>,
    floats: Floats,
    weight_range: WeightRange,
}

impl<'a> Lowering<'a> {
    fn new(
        original: &'a Model,
        model: &'a Model,
        target: Target,
        ranges: &'a BTreeMap<String, [f32; 2]>,
        floats: Floats,
    ) -> Result<Self> {
        let (shapes, held) = (model.graph.shapes()?, held(&model.graph, target));
        Ok(Self { original, model, shapes, held, target, ranges, floats, weight_range: WeightRange::Full })
    }

    fn graph(&self) -> &Graph {
        &self.model.graph
    }

    /// Everything that is missing, said at once.
    fn check(&self) -> Result<()> {
        let graph = self.graph();
        let advice = "give --enbl_post_quant to quantize them now, from training images";
        let kept = self.floats == Floats::Kept;
        if kept && self.original.plan.weights.is_empty() {
            let layers = graph.nodes.iter().filter(|node| node.op.is_layer()).map(|node| node.name.as_str());
            let names = layers.collect::<Vec<_>>().join(", ");
            return Err(Error::config(format!("training left all layers in float: {names}; {advice}")));
        }
        let too_many = |bits: u32| (BITS + 1..FULL_PRECISION_BITS).contains(&bits) && kept;
        // In the folded model weights may be packed no more: the plan of the original tells.
        let weights = self.original.plan.weights.iter().map(|(name, quant)| (quant.bits, name.as_str(), "weights of "));
        let own = || graph.nodes.iter().enumerate().filter(|(id, _)| self.held[*id] == Held::Own);
        let planned = |name: &str| self.model.plan.activations.get(name);
        let values = own().filter_map(|(_, node)| Some((planned(&node.name)?.bits, node.name.as_str(), "")));
        let wide = weights.chain(values).filter(|(bits, ..)| too_many(*bits));
        let wide: Vec<String> = wide.map(|(bits, name, what)| format!("{what}{name} ({bits})")).collect();
        if !wide.is_empty() {
            let (names, target) = (wide.join(", "), self.target.name());
            return Err(Error::config(format!("these have more bits than the 8 of {target}: {names}; {advice}")));
        }
        // What is not in the plan may stay float; what is must have a range.
        let open = own().filter(|(id, node)| {
            self.grid(*id).is_none() && (!kept || planned(&node.name).is_some_and(|quant| quant.bits <= BITS))
        });
        let open: Vec<&str> = open.map(|(_, node)| node.name.as_str()).collect();
        match open.is_empty() {
            true => Ok(()),
            false => Err(Error::config(format!("these values have no range: {}; {advice}", open.join(", ")))),
        }
    }

    /// The grid of a value that has its own, in codes of the target, and whether it is that of
    /// training. `None`: it has none.
    fn grid(&self, id: NodeId) -> Option<(Grid, Fate)> {
        if self.floats == Floats::Everything {
            return None;
        }
        let name = &self.graph().nodes[id].name;
        let (range, bits, fate) = match self.model.plan.activations.get(name) {
            Some(ActivationQuant { bits, range: Some(range) }) if *bits <= BITS => (*range, *bits, Fate::Exact),
            _ if self.floats == Floats::Kept => return None,
            _ if id == 0 => (input_range(&self.model.meta.mean, &self.model.meta.std), BITS, Fate::PostQuantized),
            _ => (*self.ranges.get(name)?, BITS, Fate::PostQuantized),
        };
        let grid = Affine::of_range(range, bits);
        // Fewer than 8 bits use the target's topmost codes, so that saturation cuts where training
        // did.
        let shift = match self.target {
            Target::Int8 => 127 - grid.max_code,
            Target::Uint8 => 255 - grid.max_code,
        };
        let fate = match fate {
            Fate::Exact if bits < BITS && grid.zero_point > 0 => Fate::Requantized,
            other => other,
        };
        Some((Grid { scale: grid.scale, zero_point: grid.zero_point + shift }, fate))
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
            let (kind, weights) = self.kind(from, input)?;
            if let Some((weights, weight_error)) = weights {
                let source = &graph.nodes[from];
                let quant = self.original.plan.weights.get(&source.name);
                layers.push(LayerNote {
                    name: source.name.clone(),
                    kind: source.op.kind().into(),
                    bits: quant.map_or(FULL_PRECISION_BITS, |quant| quant.bits),
                    weights,
                    weight_error,
                    output: fate,
                    integer: matches!(kind.layer(), Some(Layer::Integer { .. })),
                });
            }
            operators.push(Operator { name: graph.nodes[from].name.clone(), kind, inputs, output, activation });
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
        let activation = match node.op {
            Op::Relu(_) => Activation::Relu,
            Op::Relu6(_) => Activation::Relu6,
            _ => return (id, Activation::None),
        };
        match self.held[node.inputs[0]] {
            Held::Fused => (node.inputs[0], activation),
            _ => (id, activation),
        }
    }

    /// The operator of a node, and for a layer what became of its weights. `input`: where it is to
    /// compute with integers.
    fn kind(&self, id: NodeId, input: Option<Grid>) -> Result<(Kind, Option<(Fate, f64)>)> {
        let graph = self.graph();
        let node = &graph.nodes[id];
        let plain = |kind| Ok((kind, None));
        match node.op {
            Op::Conv2d(Conv2d { out, kernel, stride, padding, groups, .. }) => {
                let channels = self.shapes[node.inputs[0]][0];
                let depthwise = groups > 1 && groups == channels;
                if groups > 1 && (!depthwise || out != channels) && self.floats != Floats::Everything {
                    let problem = format!("a convolution of {groups} groups has no integer kernel");
                    return Err(self.fail(id, &format!("{problem}: use 1 group, or one for each channel")));
                }
                let shape = [out, channels / groups, kernel[0], kernel[1]];
                let (layer, note) = self.layer(id, shape, input)?;
                Ok((Kind::Conv { layer, stride, padding, depthwise }, Some(note)))
            }
            Op::Linear(Linear { out, .. }) => {
                let [channels, height, width] = self.shapes[node.inputs[0]];
                let (layer, note) = self.layer(id, [out, channels, height, width], input)?;
                let kind = match (&layer, [height, width]) {
                    (Layer::Float { .. }, _) | (_, [1, 1]) => Kind::Linear { layer },
                    // On an image it is a convolution with a kernel of the image's size: the
                    // weights lie in its order.
                    _ => Kind::Conv { layer, stride: [1; 2], padding: [0; 4], depthwise: false },
                };
                Ok((kind, Some(note)))
            }
            Op::Add(_) => plain(Kind::Add),
            Op::MaxPool(MaxPool { kernel, stride, padding }) => plain(Kind::MaxPool { kernel, stride, padding }),
            Op::GlobalAvgPool(_) => plain(Kind::GlobalAvgPool),
            Op::PadShortcut(PadShortcut { out, stride }) => {
                let extra = out - self.shapes[node.inputs[0]][0];
                plain(Kind::PadShortcut { before: extra / 2, after: extra - extra / 2, stride })
            }
            Op::Relu(_) | Op::Relu6(_) => plain(Kind::Activation),
            Op::Input(_) | Op::BatchNorm(_) => Err(self.fail(id, "it cannot stand here in a folded network")),
        }
    }

    /// Weights and biases, and what became of the weights.
    fn layer(&self, id: NodeId, shape: [usize; 4], input: Option<Grid>) -> Result<(Layer, (Fate, f64))> {
        let name = &self.graph().nodes[id].name;
        let tensor = |suffix: &str| self.model.tensors.get(&format!("{name}.{suffix}"));
        let stored = tensor("weight").ok_or_else(|| self.fail(id, "it has no weights"))?;
        let bias = tensor("bias").map(|bias| bias.values()).transpose()?.unwrap_or_else(|| vec![0.0; shape[0]]);
        let finite = |values: &[f32]| match values.iter().all(|value| value.is_finite()) {
            true => Ok(()),
            false => Err(self.fail(id, "its weights or biases are not finite")),
        };
        let values = stored.values()?;
        finite(&bias)?;
        finite(&values)?;
        let quantized = self.original.plan.weights.contains_key(name);
        if self.floats == Floats::Everything || !quantized && self.floats == Floats::Kept {
            return Ok((Layer::Float { weights: FloatWeights::Values { shape, values }, bias }, (Fate::Float, 0.0)));
        }
        let within = |error: Error| error.context(format!("cannot export layer `{name}`"));
        // What is multiplied as floats saturates nowhere.
        let range = input.map_or(WeightRange::Full, |_| self.weight_range);
        let mut made = layer::quantize(stored, &values, shape, self.target, range).map_err(within)?;
        if input.is_none() && self.target == Target::Int8 {
            made = layer::refine(&values, made);
        }
        let layer::Quantization { mut weights, mut exact, error } = made;
        let layer = match input {
            None => Layer::Float { weights: FloatWeights::Codes(weights), bias },
            Some(Grid { scale, .. }) => {
                exact &= layer::make_room(&mut weights, &bias, scale);
                let bias = bias.iter().enumerate().map(|(channel, bias)| {
                    let step = f64::from(scale) * f64::from(weights.scale(channel));
                    (f64::from(*bias) / step).round_ties_even() as i32
                });
                let bias = bias.collect();
                Layer::Integer { weights, bias }
            }
        };
        let fate = match (quantized, exact) {
            (false, _) => Fate::PostQuantized,
            (true, true) => Fate::Exact,
            (true, false) => Fate::Requantized,
        };
        Ok((layer, (fate, error)))
    }

    fn fail(&self, id: NodeId, problem: &str) -> Error {
        let node = &self.graph().nodes[id];
        Error::config(format!("cannot export node `{}` ({}): {problem}", node.name, node.op.kind()))
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
