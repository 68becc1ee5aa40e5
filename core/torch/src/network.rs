//! A graph with its tensors. Full-precision weights and quantized ones live side by side: the
//! forward pass uses Q(w), the optimizer updates w with the gradient of Q(w), which is the
//! straight-through estimator without a node in the autograd graph.

mod forward;
mod integer;
mod ranges;
mod statistics;
mod weights;

pub use forward::Mode;
pub use integer::Integers;
pub use statistics::Statistics;
pub use weights::LayerWeights;

use crate::steps::{Step, compile, releases};
use crate::{device, torch_error};
use pocketflow::clip::WeightRange;
use pocketflow::fold::{fold_graph, fold_values};
use pocketflow::graph::{Conv2d, Graph, NodeId, Op, Param, Role};
use pocketflow::integer::{alike, deployed_mean};
use pocketflow::model::{Model, ModelMeta};
use pocketflow::quant::{FULL_PRECISION_BITS, QuantPlan, WeightQuant};
use pocketflow::{Error, Result};
use ranges::Ranges;
use std::collections::BTreeMap;
use tch::{Device, Kind, Tensor};
use weights::QuantizedWeight;

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
    fn of(mean: &[f32], std: &[f32]) -> Self {
        if mean.is_empty() || mean.len() != std.len() {
            return Self::Nearest;
        }
        if alike(mean, std) {
            return Self::Pixels;
        }
        let shifts =
            mean.iter().zip(deployed_mean(mean, std)).zip(std).map(|((mean, deployed), std)| (mean - deployed) / std);
        let shifts: Vec<f32> = shifts.collect();
        Self::Shifted(Tensor::from_slice(&shifts).view([1, shifts.len() as i64, 1, 1]).to_device(device::current()))
    }
}

/// A graph ready to run.
pub struct Network {
    graph: Graph,
    plan: QuantPlan,
    params: Vec<Param>,
    tensors: BTreeMap<String, Tensor>,
    quantized: Vec<QuantizedWeight>,
    ranges: Ranges,
    /// How images come onto the grid that the plan gives them.
    input: InputRounding,
    /// What it saw in full precision.
    seen: Option<statistics::Seen>,
    /// Whether quantizers are on: off, weights are used as they are, and activations are only
    /// tracked.
    quantizing: bool,
    steps: Vec<Step>,
    /// For every step, the nodes whose value nobody reads after it.
    releases: Vec<Vec<NodeId>>,
}

impl Network {
    /// Fresh weights: He et al. 2015 (arXiv 1502.01852) normal, fan out, for convolutions; uniform
    /// within 1/√fan-in for fully connected layers.
    ///
    /// # Errors
    /// A graph that is not valid.
    pub fn initialised(graph: &Graph, seed: u64) -> Result<Self> {
        tch::manual_seed(seed as i64);
        let mut tensors = BTreeMap::new();
        for param in graph.params()? {
            let shape: Vec<i64> = param.shape.iter().map(|size| *size as i64).collect();
            let options = (Kind::Float, Device::Cpu);
            let tensor = match (param.role, &graph.nodes[param.node].op) {
                (Role::Weight, Op::Conv2d(Conv2d { out, kernel, groups, .. })) => {
                    let fan_out = (out / groups * kernel[0] * kernel[1]).max(1);
                    Tensor::randn(&shape, options) * (2.0 / fan_out as f64).sqrt()
                }
                (Role::Weight, _) => {
                    let bound = 1.0 / (param.shape[1..].iter().product::<usize>().max(1) as f64).sqrt();
                    (Tensor::rand(&shape, options) * 2.0 - 1.0) * bound
                }
                (Role::Scale | Role::RunningVar, _) => Tensor::ones(&shape, options),
                _ => Tensor::zeros(&shape, options),
            };
            // Drawn on the CPU, so that a seed means the same everywhere.
            tensors.insert(param.name, device::place(tensor)?);
        }
        Self::assemble(graph, &QuantPlan::default(), tensors, Weights::FullPrecision)
    }

    /// A network with the weights given (by parameter name), quantized as the plan says.
    ///
    /// # Errors
    /// A graph or plan that is not valid, a tensor that is missing or has another size.
    pub fn new(graph: &Graph, plan: &QuantPlan, values: &BTreeMap<String, Vec<f32>>, weights: Weights) -> Result<Self> {
        let mut tensors = BTreeMap::new();
        for param in graph.params()? {
            let shape: Vec<i64> = param.shape.iter().map(|size| *size as i64).collect();
            let values = values.get(&param.name).ok_or_else(|| Error::failed(format!("no tensor `{}`", param.name)))?;
            if values.len() != param.shape.iter().product::<usize>() {
                let problem = format!("tensor `{}` has {} values, not {:?}", param.name, values.len(), param.shape);
                return Err(Error::failed(problem));
            }
            tensors.insert(param.name, device::place(Tensor::from_slice(values).view(shape.as_slice()))?);
        }
        Self::assemble(graph, plan, tensors, weights)
    }

    /// The network of a model file; its weights are Q(w) already.
    ///
    /// # Errors
    /// As [`Network::new`].
    pub fn from_model(model: &Model) -> Result<Self> {
        let mut network = Self::new(&model.graph, &model.plan, &model.all_values()?, Weights::Quantized)?;
        network.input = InputRounding::of(&model.meta.mean, &model.meta.std);
        Ok(network)
    }

    fn assemble(
        graph: &Graph,
        plan: &QuantPlan,
        mut tensors: BTreeMap<String, Tensor>,
        weights: Weights,
    ) -> Result<Self> {
        plan.validate(graph)?;
        let params = graph.params()?;
        let quantized = match weights {
            Weights::FullPrecision => weights::quantized_weights(graph, plan, &params, &tensors)?,
            Weights::Quantized => Vec::new(),
        };
        for param in params.iter().filter(|param| param.role.is_trained()) {
            if !quantized.iter().any(|weight| weight.name == param.name) {
                let tensor = tensors.get_mut(&param.name).expect("every parameter has its tensor");
                *tensor = tensor.set_requires_grad(true);
            }
        }
        let steps = compile(graph, plan);
        let releases = releases(graph, &steps);
        let network = Self {
            graph: graph.clone(),
            plan: plan.clone(),
            params,
            tensors,
            input: InputRounding::Nearest,
            quantized,
            ranges: Ranges::new(graph, plan),
            seen: None,
            quantizing: true,
            steps,
            releases,
        };
        network.quantize_weights()?;
        Ok(network)
    }

    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The plan with the ranges tracked so far.
    pub fn plan(&self) -> QuantPlan {
        let mut plan = self.plan.clone();
        self.ranges.fill(&mut plan);
        plan
    }

    /// Share of the past in the moving averages of activation ranges, 0–1; 0.99 in a new network.
    pub fn set_range_decay(&mut self, decay: f64) {
        self.ranges.decay = decay;
    }

    /// Quantizes node `node` onto the grid of `of`, which is in the plan, whatever its own values
    /// are: what an operator needs that cannot change the grid. Adds it to the plan.
    ///
    /// # Errors
    /// `of` is not in the plan.
    pub fn share_range(&mut self, node: &str, of: &str) -> Result<()> {
        self.ranges.share(node, of)?;
        if let Some(quant) = self.plan.activations.get(of) {
            self.plan.activations.insert(node.to_owned(), *quant);
        }
        self.plan.validate(&self.graph)?;
        self.steps = compile(&self.graph, &self.plan);
        self.releases = releases(&self.graph, &self.steps);
        Ok(())
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

    /// The weights of a layer in the plan with other bits (32: none), from its weights as they are
    /// now.
    ///
    /// # Errors
    /// A layer that was not in the plan; one that is quantized folded, and so depends on its batch
    /// normalisation.
    pub fn layer_weights(&self, layer: &str, bits: u32, range: WeightRange) -> Result<LayerWeights> {
        let name = format!("{layer}.weight");
        match self.quantized.iter().find(|weight| weight.name == name) {
            Some(weight) if !weight.is_folded() => {
                let inputs = self.inputs_of(layer)?;
                weight.at(&self.tensors[&name], bits, range, inputs.as_ref())
            }
            _ => Err(Error::failed(format!("the bits of `{layer}` cannot be changed: it is not quantized alone"))),
        }
    }

    /// Gives a layer the quantized weights and bits that [`Network::layer_weights`] made, without
    /// quantizing anew, and the weights if they were clipped.
    ///
    /// # Errors
    /// As there; weights of another layer.
    pub fn set_layer_weights(&mut self, layer: &str, weights: &LayerWeights) -> Result<()> {
        let name = format!("{layer}.weight");
        let quantized = self.quantized.iter_mut().find(|weight| weight.name == name);
        let (Some(quantized), Some(tensor)) = (quantized, self.tensors.get_mut(&name)) else {
            return Err(Error::failed(format!("the bits of `{layer}` cannot be changed: it is not quantized")));
        };
        quantized.set(weights)?;
        if let Some(clipped) = &weights.clipped {
            set_tensor(tensor, clipped)?;
        }
        match weights.bits {
            FULL_PRECISION_BITS => drop(self.plan.weights.remove(layer)),
            bits => drop(self.plan.weights.insert(layer.to_owned(), WeightQuant { bits, ..quantized.quant })),
        }
        Ok(())
    }

    /// Clips the weights of every quantized layer to the range of the least error at its bits: of
    /// what the layer computes, once the network has observed images, else of its weights.
    ///
    /// # Errors
    /// libtorch's.
    pub fn clip_weights(&mut self) -> Result<()> {
        for (layer, quant) in self.plan.weights.clone() {
            let clipped = self.layer_weights(&layer, quant.bits, WeightRange::Mse)?;
            self.set_layer_weights(&layer, &clipped)?;
        }
        Ok(())
    }

    /// Brings Q(w) up to date with w; to be called after every change of the weights or of the
    /// running statistics.
    ///
    /// # Errors
    /// libtorch's.
    pub fn quantize_weights(&self) -> Result<()> {
        weights::update(&self.quantized, &self.tensors, self.quantizing)
    }

    /// The tensor that collects the gradient of a parameter: Q(w) where w is quantized.
    pub fn leaf(&self, param: &str) -> &Tensor {
        match self.quantized.iter().find(|weight| weight.name == param) {
            Some(weight) => &weight.result,
            None => &self.tensors[param],
        }
    }

    /// The tensor of a parameter in full precision.
    pub(crate) fn tensor(&self, param: &str) -> &Tensor {
        &self.tensors[param]
    }

    /// The trained parameters with their full-precision tensors, in graph order.
    pub fn trained(&self) -> impl Iterator<Item = (&Param, &Tensor)> {
        let trained = self.params.iter().filter(|param| param.role.is_trained());
        trained.map(|param| (param, &self.tensors[&param.name]))
    }

    /// All tensors in full precision, by parameter name.
    ///
    /// # Errors
    /// libtorch's.
    pub fn values(&self) -> Result<BTreeMap<String, Vec<f32>>> {
        let read = |(name, tensor): (&String, &Tensor)| Ok((name.clone(), floats(tensor)?));
        self.tensors.iter().map(read).collect()
    }

    /// Replaces all tensors, in place.
    ///
    /// # Errors
    /// A tensor that is missing or has another size.
    pub fn set_values(&mut self, values: &BTreeMap<String, Vec<f32>>) -> Result<()> {
        self.set_tensors(values)?;
        self.quantize_weights()
    }

    /// As [`Network::set_values`], but leaves Q(w) as it is: for layers that are given other
    /// weights next.
    ///
    /// # Errors
    /// As there.
    pub fn set_tensors(&mut self, values: &BTreeMap<String, Vec<f32>>) -> Result<()> {
        for (name, tensor) in &mut self.tensors {
            let values = values.get(name).ok_or_else(|| Error::failed(format!("no tensor `{name}`")))?;
            set_floats(tensor, values).map_err(|error| error.context(format!("tensor `{name}`")))?;
        }
        Ok(())
    }

    /// The ranges' raw state (minimum, maximum, batches seen), for a checkpoint.
    ///
    /// # Errors
    /// libtorch's.
    pub fn range_state(&self) -> Result<BTreeMap<String, Vec<f32>>> {
        self.ranges.state()
    }

    /// Takes over what [`Network::range_state`] gave.
    ///
    /// # Errors
    /// A range that is missing.
    pub fn set_range_state(&mut self, state: &BTreeMap<String, Vec<f32>>) -> Result<()> {
        self.ranges.set_state(state)
    }

    /// The model to save: weights packed as the plan says, with the ranges tracked. Where the plan
    /// quantizes folded weights, the weights are in full precision and not in the model's plan:
    /// unfolded, they have no grid.
    ///
    /// # Errors
    /// A weight that is not finite.
    pub fn to_model(&self, meta: ModelMeta) -> Result<Model> {
        let mut plan = self.plan();
        if self.quantized.iter().any(QuantizedWeight::is_folded) {
            plan.weights.clear();
        }
        Model::new(self.graph.clone(), plan, meta, self.values()?)
    }

    /// The model to deploy: batch normalisations folded, then weights packed as the plan says. It
    /// computes what the network does in [`Mode::Eval`], up to the rounding of floats.
    ///
    /// # Errors
    /// A weight or a running statistic that is not finite.
    pub fn to_folded_model(&self, meta: ModelMeta) -> Result<Model> {
        let folding = fold_graph(&self.graph)?;
        let values = fold_values(&self.graph, &folding, &self.values()?)?;
        let mut plan = self.plan();
        for (norm, layer) in &folding.into {
            let name = &self.graph.nodes[*norm].name;
            if let (Some(layer), Some(quant)) = (layer, plan.activations.remove(name)) {
                plan.activations.insert(self.graph.nodes[*layer].name.clone(), quant);
            }
        }
        Model::new(folding.graph, plan, meta, values)
    }
}

/// The values of a float tensor, in row-major order.
pub(crate) fn floats(tensor: &Tensor) -> Result<Vec<f32>> {
    let flat = tensor.detach().f_contiguous().and_then(|tensor| tensor.f_view([-1i64]));
    let flat = flat.map_err(|error| torch_error("read a tensor", &error))?;
    Vec::<f32>::try_from(flat).map_err(|error| torch_error("read a tensor", &error))
}

/// Writes one tensor's values into another of the same shape.
fn set_tensor(tensor: &mut Tensor, source: &Tensor) -> Result<()> {
    if tensor.size() != source.size() {
        return Err(Error::failed(format!("a tensor {:?} for one of {:?}", source.size(), tensor.size())));
    }
    tch::no_grad(|| tensor.f_copy_(source)).map_err(|error| torch_error("write a tensor", &error))
}

pub(crate) fn set_floats(tensor: &mut Tensor, values: &[f32]) -> Result<()> {
    if tensor.numel() != values.len() {
        return Err(Error::failed(format!("{} values for {:?}", values.len(), tensor.size())));
    }
    let source = Tensor::from_slice(values).view(tensor.size().as_slice());
    tch::no_grad(|| tensor.f_copy_(&source)).map_err(|error| torch_error("write a tensor", &error))
}
