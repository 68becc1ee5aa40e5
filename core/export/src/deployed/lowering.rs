//! What lowering an operator asks of the model: grids of values, and weights as files hold them.

use super::layer::{self, BITS};
use super::note::Fate;
use super::{FloatWeights, Grid, Layer, WeightRange};
use pocketflow::affine::Affine;
use pocketflow::graph::{Graph, NodeId, Op};
use pocketflow::integer::{Held, Target, held, input_range};
use pocketflow::model::Model;
use pocketflow::quant::ActivationQuant;
use pocketflow::{Error, Result};
use std::collections::BTreeMap;

/// What becomes of floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Floats {
    /// What training left in float stays so.
    Kept,
    /// They are quantized now.
    Quantized,
    /// All becomes float.
    Everything,
}

/// A layer's weights, what became of them, and how far they are off the model's.
pub(crate) type Weighed = (Layer, (Fate, f64));

/// A model on its way to a deployed network.
pub(crate) struct Lowering<'a> {
    pub(super) original: &'a Model,
    pub(super) model: &'a Model,
    pub(super) shapes: Vec<[usize; 3]>,
    pub(super) held: Vec<Held>,
    pub(super) target: Target,
    pub(super) ranges: &'a BTreeMap<String, [f32; 2]>,
    pub(super) floats: Floats,
    pub(super) weight_range: WeightRange,
}

impl<'a> Lowering<'a> {
    pub(super) fn new(
        original: &'a Model,
        model: &'a Model,
        target: Target,
        ranges: &'a BTreeMap<String, [f32; 2]>,
        floats: Floats,
    ) -> Result<Self> {
        let (shapes, held) = (model.graph.shapes()?, held(&model.graph, target));
        Ok(Self { original, model, shapes, held, target, ranges, floats, weight_range: WeightRange::Full })
    }

    pub(super) fn graph(&self) -> &Graph {
        &self.model.graph
    }

    /// The grid of a value that has its own, in codes of the target, and whether it is that of
    /// training. `None`: it has none.
    pub(super) fn grid(&self, id: NodeId) -> Option<(Grid, Fate)> {
        if self.floats == Floats::Everything {
            return None;
        }
        let name = &self.graph().nodes[id].name;
        let (range, bits, fate) = match self.model.plan.activations.get(name) {
            Some(ActivationQuant { bits, range: Some(range) }) if *bits <= BITS => (*range, *bits, Fate::Exact),
            // What ends a network computes with integers where what it reads does.
            _ if let Some(range) = self.known_range(id) => (range, BITS, Fate::PostQuantized),
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

    /// The range of a value that the model need not say.
    fn known_range(&self, id: NodeId) -> Option<[f32; 2]> {
        let node = &self.graph().nodes[id];
        let from = *node.inputs.first()?;
        let of = match self.held[from] {
            Held::On(earlier) => earlier,
            _ => from,
        };
        let quantized = self.floats == Floats::Quantized || node.op.ends() && self.grid(of).is_some();
        node.op.range().filter(|_| quantized)
    }

    /// The operator of a node.
    pub(crate) fn op(&self, id: NodeId) -> &Op {
        &self.graph().nodes[id].op
    }

    /// The shape of what a node reads first.
    pub(crate) fn input_shape(&self, id: NodeId) -> [usize; 3] {
        self.shapes[self.graph().nodes[id].inputs[0]]
    }

    /// A parameter of a node, by what is put behind its name.
    ///
    /// # Errors
    /// It is missing.
    pub(crate) fn values(&self, id: NodeId, suffix: &str) -> Result<Vec<f32>> {
        self.model.values(&format!("{}.{suffix}", self.graph().nodes[id].name))
    }

    /// Weights of the shape `[out, in / groups, kh, kw]` with biases. `input`: where the layer is
    /// to compute with integers.
    ///
    /// # Errors
    /// Weights that are missing, not finite or of another shape.
    pub(crate) fn layer(&self, id: NodeId, shape: [usize; 4], input: Option<Grid>) -> Result<Weighed> {
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

    /// Why a node cannot be lowered.
    pub(crate) fn fail(&self, id: NodeId, problem: &str) -> Error {
        let node = &self.graph().nodes[id];
        Error::config(format!("cannot export node `{}` ({}): {problem}", node.name, node.op.kind()))
    }
}
