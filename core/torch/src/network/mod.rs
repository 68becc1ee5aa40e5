//! A graph ready to run: its steps, its parameters, its quantizers. Full-precision weights and
//! quantized ones live side by side: where the gradient goes straight through a quantizer, the
//! forward pass uses Q(w) and the optimizer updates w with the gradient of Q(w), without a node in
//! the autograd graph.

mod forward;
mod integer;
mod layer_weights;
mod observe;
mod parameters;
mod program;
mod quantizers;
mod together;

pub use forward::Mode;
pub use integer::Integers;
pub use layer_weights::LayerWeights;
pub use observe::Statistics;

use crate::engine::Engine;
use crate::quantizer::{Fused, Pass, Quantizer};
use parameters::Parameters;
use pocketflow::fold::{fold_graph, fold_values};
use pocketflow::graph::{Graph, NodeId, Role};
use pocketflow::integer::{alike, deployed_mean};
use pocketflow::model::{Model, ModelMeta};
use pocketflow::quant::QuantPlan;
use pocketflow::{Error, Result};
use program::{Quantization, Step, compile};
use quantizers::{Quantizers, restore};
use std::collections::BTreeMap;
use tch::Tensor;

/// Share of the past in a moving range, unless a learner says otherwise.
const RANGE_DECAY: f64 = 0.99;

/// Whether the weights given are to be quantized in the forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weights {
    /// Full precision; layers in the plan are used as Q(w).
    FullPrecision,
    /// Read from a quantized model: already Q(w).
    Quantized,
}

/// How images, normalised by mean and standard deviation, come onto their grid: as the deployed
/// file's integers do.
enum InputRounding {
    Nearest,
    /// All channels are normalised alike: a code is a pixel. Where the mean is half a pixel value
    /// (127.5) every pixel lies in the middle between two codes, up to rounding: what lies
    /// within 0.001 steps of it takes the lower.
    Pixels,
    /// Channels are normalised differently, by an integer operator whose mean is a little off: what
    /// is to be added, `[1, c, 1, 1]`.
    Shifted(Tensor),
}

impl InputRounding {
    fn of(engine: &Engine, mean: &[f32], std: &[f32]) -> Result<Self> {
        if mean.is_empty() || mean.len() != std.len() {
            return Ok(Self::Nearest);
        }
        if alike(mean, std) {
            return Ok(Self::Pixels);
        }
        let shifts =
            mean.iter().zip(deployed_mean(mean, std)).zip(std).map(|((mean, deployed), std)| (mean - deployed) / std);
        let shifts: Vec<f32> = shifts.collect();
        let shifts = Tensor::from_slice(&shifts).view([1, shifts.len() as i64, 1, 1]);
        Ok(Self::Shifted(engine.place(shifts)?))
    }
}

/// A parameter that the optimizer trains.
pub struct Trainable {
    /// Unique in the network: `conv1.weight`, `relu1:scale`.
    pub name: String,
    /// Of a parameter of the graph its role; `None` for what a quantizer learns.
    pub role: Option<Role>,
    /// What the optimizer changes.
    pub tensor: Tensor,
    /// The tensor that collects the gradient: Q(w) where w is quantized straight through.
    pub leaf: Tensor,
    /// Factor on the learning rate.
    pub rate: f64,
    /// Weight decay of what a quantizer learns; layers' weights have the training's.
    pub decay: f64,
}

/// A graph ready to run.
pub struct Network {
    engine: Engine,
    graph: Graph,
    parameters: Parameters,
    quantizers: Quantizers,
    /// What its weights were quantized by before it was read from a model.
    packed: QuantPlan,
    /// How images come onto the grid of their quantizer.
    input: InputRounding,
    /// What it saw in full precision.
    seen: Option<observe::Seen>,
    /// Whether quantizers are on: off, weights are used as they are, and activations are only
    /// tracked.
    quantizing: bool,
    steps: Vec<Step>,
}

impl Network {
    /// A network in full precision with fresh weights, drawn by `seed`.
    ///
    /// # Errors
    /// A graph that is not valid.
    pub fn initialised(engine: &Engine, graph: &Graph, seed: u64) -> Result<Self> {
        let parameters = Parameters::initialised(engine, graph, seed)?;
        Self::assemble(engine, graph, parameters, Quantized::none())
    }

    /// A network with the weights given (by parameter name), quantized as the plan says.
    ///
    /// # Errors
    /// A graph or plan that is not valid, a tensor that is missing or has another size.
    pub fn new(
        engine: &Engine,
        graph: &Graph,
        plan: &QuantPlan,
        values: &BTreeMap<String, Vec<f32>>,
        weights: Weights,
    ) -> Result<Self> {
        let parameters = Parameters::given(engine, graph, values)?;
        Self::assemble(engine, graph, parameters, Quantized { plan, weights, ..Quantized::none() })
    }

    /// The network of a model file; its weights are Q(w) already.
    ///
    /// # Errors
    /// As [`Network::new`].
    pub fn from_model(engine: &Engine, model: &Model) -> Result<Self> {
        let mut network = Self::new(engine, &model.graph, &model.plan, &model.all_values()?, Weights::Quantized)?;
        network.input = InputRounding::of(engine, &model.meta.mean, &model.meta.std)?;
        Ok(network)
    }

    fn assemble(engine: &Engine, graph: &Graph, mut parameters: Parameters, how: Quantized) -> Result<Self> {
        let Quantized { plan, weights, range_decay, shared } = how;
        plan.validate(graph)?;
        for index in 0..parameters.params().len() {
            let trained = parameters.params()[index].role.is_trained();
            parameters.set_requires_grad(index, trained);
        }
        let mut quantizers = Quantizers::none(graph, &parameters)?;
        let mut packed = QuantPlan::default();
        match weights {
            Weights::FullPrecision => quantizers.quantize_weights(graph, plan, &mut parameters),
            Weights::Quantized => packed.weights.clone_from(&plan.weights),
        }
        quantizers.quantize_values(graph, plan, range_decay, shared);
        let mut network = Self {
            engine: engine.clone(),
            graph: graph.clone(),
            parameters,
            quantizers,
            packed,
            input: InputRounding::Nearest,
            seen: None,
            quantizing: true,
            steps: Vec::new(),
        };
        network.compile();
        network.quantize_weights()?;
        Ok(network)
    }

    fn compile(&mut self) {
        let pass = Pass { tracks: false, quantizes: true };
        self.steps = compile(&self.graph, |node| match self.quantizers.value(node) {
            None => Quantization::None,
            Some(quantizer) => match quantizer.fused(pass) {
                Some(Fused::Value(_)) => Quantization::Fused,
                Some(Fused::Step(_)) => Quantization::Result,
                _ => Quantization::Behind,
            },
        });
    }

    /// Returns what the network computes with.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The graph that it computes.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Returns what is quantized and how, with the ranges tracked so far.
    ///
    /// # Errors
    /// A quantizer that sits where it does not belong.
    pub fn plan(&self) -> Result<QuantPlan> {
        let mut plan = self.packed.clone();
        self.quantizers.describe(&self.graph, &self.parameters, &mut plan)?;
        Ok(plan)
    }

    /// Whether any value between the layers is quantized.
    pub fn quantizes_values(&self) -> bool {
        (0..self.graph.nodes.len()).any(|node| self.quantizers.value(node).is_some())
    }

    /// Puts a quantizer on the weights of a layer, in place of what the plan put there.
    ///
    /// # Errors
    /// No such layer; libtorch's.
    pub fn set_weight_quantizer(&mut self, layer: &str, quantizer: Box<dyn Quantizer>) -> Result<()> {
        let param = self.weight_of(layer)?;
        self.quantizers.set_weights(&self.graph, &mut self.parameters, param, quantizer);
        self.quantize_weights()
    }

    /// Puts a quantizer on the value of a node, in place of what the plan put there.
    ///
    /// # Errors
    /// No such node.
    pub fn set_value_quantizer(&mut self, node: &str, quantizer: Box<dyn Quantizer>) -> Result<()> {
        let missing = || Error::failed(format!("`{}` has no node `{node}`", self.graph.name));
        let node = self.graph.find(node).ok_or_else(missing)?;
        self.quantizers.set_value(node, quantizer);
        self.compile();
        Ok(())
    }

    fn weight_of(&self, layer: &str) -> Result<usize> {
        let missing = || Error::failed(format!("`{}` has no layer `{layer}`", self.graph.name));
        self.parameters.index(&format!("{layer}.weight")).ok_or_else(missing)
    }

    /// Turns all quantizers on (as in a new network) or off; then weights are used as they are, and
    /// activations are only tracked.
    ///
    /// # Errors
    /// libtorch's.
    pub fn set_quantizing(&mut self, on: bool) -> Result<()> {
        if self.quantizing == on {
            return Ok(());
        }
        self.quantizing = on;
        self.quantize_weights()
    }

    /// Brings Q(w) up to date with w; to be called after every change of the weights or of the
    /// running statistics.
    ///
    /// # Errors
    /// libtorch's.
    pub fn quantize_weights(&mut self) -> Result<()> {
        self.quantizers.update(&self.parameters, self.quantizing)
    }

    /// Makes of the gradients that a backward pass left those of weights and learned steps; to be
    /// called once, before they are used.
    ///
    /// # Errors
    /// libtorch's.
    pub fn finish_gradients(&self) -> Result<()> {
        match self.quantizing {
            true => self.quantizers.finish_gradients(&self.parameters),
            false => Ok(()),
        }
    }

    /// Returns why training cannot go on with what a quantizer learned, and which: a step that is
    /// zero or no number. It reads values, which on a GPU waits for them.
    pub fn problem(&self) -> Option<String> {
        self.quantizers.problem(&self.graph, &self.parameters)
    }

    /// Returns a parameter of the graph in full precision, by name.
    pub fn tensor(&self, param: &str) -> Option<&Tensor> {
        self.parameters.index(param).map(|index| self.parameters.tensor(index))
    }

    /// Returns the tensor that collects the gradient of a parameter: Q(w) where w is quantized
    /// straight through.
    pub fn leaf(&self, param: &str) -> Option<&Tensor> {
        self.parameters.index(param).map(|index| self.quantizers.leaf(&self.parameters, index))
    }

    /// Returns what the optimizer trains: the parameters in graph order, then what quantizers
    /// learn.
    pub fn trained(&self) -> Vec<Trainable> {
        let params = self.parameters.params().iter().enumerate().filter(|(_, param)| param.role.is_trained());
        let params = params.map(|(index, param)| Trainable {
            name: param.name.clone(),
            role: Some(param.role),
            tensor: self.parameters.tensor(index).shallow_clone(),
            leaf: self.quantizers.leaf(&self.parameters, index).shallow_clone(),
            rate: 1.0,
            decay: 0.0,
        });
        let learned = self.quantizers.learned(&self.graph, &self.parameters).into_iter();
        let learned = learned.map(|(name, (tensor, rate, decay))| {
            let leaf = tensor.shallow_clone();
            Trainable { name, role: None, tensor, leaf, rate, decay }
        });
        params.chain(learned).collect()
    }

    /// Returns all parameters in full precision, by name.
    ///
    /// # Errors
    /// libtorch's.
    pub fn values(&self) -> Result<BTreeMap<String, Vec<f32>>> {
        self.parameters.values()
    }

    /// Replaces all parameters, in place.
    ///
    /// # Errors
    /// A tensor that is missing or has another size.
    pub fn set_values(&mut self, values: &BTreeMap<String, Vec<f32>>) -> Result<()> {
        self.parameters.set_values(values)?;
        self.quantize_weights()
    }

    /// Returns what the quantizers keep beside what is trained, for a checkpoint: of ranges
    /// minimum, maximum and batches seen.
    ///
    /// # Errors
    /// libtorch's.
    pub fn quantizer_state(&self) -> Result<BTreeMap<String, Vec<f32>>> {
        read(self.quantizers.state(&self.graph, &self.parameters))
    }

    /// Takes over what [`Network::quantizer_state`] gave.
    ///
    /// # Errors
    /// A value that is missing.
    pub fn set_quantizer_state(&mut self, state: &BTreeMap<String, Vec<f32>>) -> Result<()> {
        restore(self.quantizers.state(&self.graph, &self.parameters), state, "range")
    }

    /// Returns what the quantizers have learned, for a checkpoint.
    ///
    /// # Errors
    /// libtorch's.
    pub fn learned(&self) -> Result<BTreeMap<String, Vec<f32>>> {
        read(self.learned_tensors())
    }

    /// Takes over what [`Network::learned`] gave.
    ///
    /// # Errors
    /// A value that is missing.
    pub fn set_learned(&mut self, learned: &BTreeMap<String, Vec<f32>>) -> Result<()> {
        restore(self.learned_tensors(), learned, "learned value")?;
        // Q(w) follows from the steps too.
        self.quantize_weights()
    }

    fn learned_tensors(&self) -> BTreeMap<String, Tensor> {
        let learned = self.quantizers.learned(&self.graph, &self.parameters).into_iter();
        learned.map(|(name, (tensor, _, _))| (name, tensor)).collect()
    }

    /// Returns the model to save: weights packed as the quantizers say, with the ranges tracked.
    /// Where weights are quantized folded, all are in full precision and not in the model's plan:
    /// unfolded, they have no grid.
    ///
    /// # Errors
    /// A weight that is not finite.
    pub fn to_model(&self, meta: ModelMeta) -> Result<Model> {
        let mut plan = self.plan()?;
        if self.has_folded_weights() {
            plan.weights.clear();
        }
        let (values, packed) = (self.quantizers.storable(&self.parameters)?, self.quantizers.packed(&self.parameters)?);
        Model::packed(self.graph.clone(), plan, meta, values, packed)
    }

    fn has_folded_weights(&self) -> bool {
        self.quantizers.weights().any(|(_, weight)| weight.is_folded())
    }

    /// Returns the model to deploy: batch normalisations folded, then weights packed as the plan
    /// says. It computes what the network does in [`Mode::Eval`], up to the rounding of floats.
    ///
    /// # Errors
    /// A weight or a running statistic that is not finite; weights with learned steps, which
    /// folded have no grid.
    pub fn to_folded_model(&self, meta: ModelMeta) -> Result<Model> {
        if let Some(name) = self.quantizers.packed(&self.parameters)?.keys().next() {
            return Err(Error::failed(format!("`{name}` has learned steps: folded into, it would lie on no grid")));
        }
        let folding = fold_graph(&self.graph)?;
        let values = fold_values(&self.graph, &folding, &self.quantizers.storable(&self.parameters)?)?;
        let mut plan = self.plan()?;
        for (norm, layer) in &folding.into {
            let name = &self.graph.nodes[*norm].name;
            if let (Some(layer), Some(quant)) = (layer, plan.activations.remove(name)) {
                plan.activations.insert(self.graph.nodes[*layer].name.clone(), quant);
            }
        }
        Model::new(folding.graph, plan, meta, values)
    }
}

fn read(tensors: BTreeMap<String, Tensor>) -> Result<BTreeMap<String, Vec<f32>>> {
    tensors.into_iter().map(|(name, tensor)| Ok((name, crate::values::floats(&tensor)?))).collect()
}

/// How a network is quantized.
struct Quantized<'a> {
    plan: &'a QuantPlan,
    weights: Weights,
    /// Share of the past in the moving averages of ranges.
    range_decay: f64,
    /// Nodes that take another node's range.
    shared: &'a BTreeMap<NodeId, NodeId>,
}

impl Quantized<'_> {
    fn none() -> Self {
        static NOTHING: QuantPlan = QuantPlan { weights: BTreeMap::new(), activations: BTreeMap::new() };
        static NOBODY: BTreeMap<NodeId, NodeId> = BTreeMap::new();
        Self { plan: &NOTHING, weights: Weights::FullPrecision, range_decay: RANGE_DECAY, shared: &NOBODY }
    }
}
