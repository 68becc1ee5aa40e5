//! A graph with its tensors. Full-precision weights and quantized ones live side by side: the forward pass uses Q(w), the optimizer
//! updates w with the gradient of Q(w), which is the straight-through estimator without a node in the autograd graph.

use crate::kernels::{self, ActQuantizer, Norm};
use crate::steps::{Step, compile, releases};
use crate::torch_error;
use pocketflow::graph::{Graph, NodeId, Op, Param, Role};
use pocketflow::model::{Model, ModelMeta};
use pocketflow::quant::QuantPlan;
use pocketflow::{Error, Result};
use std::collections::BTreeMap;
use tch::{Device, Kind, Tensor};

/// Share of the past in an activation's moving range.
const RANGE_DECAY: f64 = 0.99;
/// Share of the batch in batch normalisation's running statistics.
const BATCH_NORM_MOMENTUM: f64 = 0.1;
/// "Batches seen" of a range that was read from a model.
const RANGE_KNOWN: f32 = 1e6;

/// What a forward pass does besides computing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Batch statistics, which update the running ones; activation ranges are tracked.
    Train,
    /// Running statistics, frozen ranges: the answer for an image does not depend on its neighbours.
    Eval,
    /// Running statistics; activation ranges are tracked.
    Calibrate,
    /// Batch statistics, which update the running ones; frozen ranges.
    Reestimate,
}

/// Whether the weights given are to be quantized in the forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weights {
    /// Full precision; layers in the plan are used as Q(w).
    FullPrecision,
    /// Read from a quantized model: already Q(w).
    Quantized,
}

/// A weight tensor of a quantized layer, and Q of it.
struct QuantizedWeight {
    name: String,
    bits: i64,
    bucket_size: i64,
    /// Q(w), the leaf that collects the gradient.
    result: Tensor,
}

/// A graph ready to run.
pub struct Network {
    graph: Graph,
    plan: QuantPlan,
    params: Vec<Param>,
    tensors: BTreeMap<String, Tensor>,
    quantized: Vec<QuantizedWeight>,
    /// By activation node: `[2]`, maximum and batches seen.
    ranges: BTreeMap<String, Tensor>,
    steps: Vec<Step>,
    /// For every step, the nodes whose value nobody reads after it.
    releases: Vec<Vec<NodeId>>,
}

impl Network {
    /// Fresh weights: He et al. 2015 (arXiv 1502.01852) normal, fan out, for convolutions; uniform within 1/√fan-in for fully
    /// connected layers.
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
                (Role::Weight, Op::Conv2d { out, kernel, groups, .. }) => {
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
            tensors.insert(param.name, tensor);
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
            tensors.insert(param.name, Tensor::from_slice(values).view(shape.as_slice()));
        }
        Self::assemble(graph, plan, tensors, weights)
    }

    /// The network of a model file; its weights are Q(w) already.
    ///
    /// # Errors
    /// As [`Network::new`].
    pub fn from_model(model: &Model) -> Result<Self> {
        let names = model.tensors.keys();
        let values: Result<BTreeMap<_, _>> = names.map(|name| Ok((name.clone(), model.values(name)?))).collect();
        Self::new(&model.graph, &model.plan, &values?, Weights::Quantized)
    }

    fn assemble(
        graph: &Graph,
        plan: &QuantPlan,
        mut tensors: BTreeMap<String, Tensor>,
        weights: Weights,
    ) -> Result<Self> {
        plan.validate(graph)?;
        let params = graph.params()?;
        let mut quantized = Vec::new();
        for param in &params {
            let node = &graph.nodes[param.node].name;
            let quantizes = weights == Weights::FullPrecision && param.role == Role::Weight;
            match plan.weights.get(node).filter(|_| quantizes) {
                Some(quant) => quantized.push(QuantizedWeight {
                    name: param.name.clone(),
                    bits: quant.bits.into(),
                    bucket_size: quant.buckets.size(&param.shape) as i64,
                    result: tensors[&param.name].copy().set_requires_grad(true),
                }),
                None if param.role.is_trained() => {
                    let tensor = tensors.get_mut(&param.name).expect("every parameter has its tensor");
                    *tensor = tensor.set_requires_grad(true);
                }
                None => {}
            }
        }
        let ranges = plan.activations.iter().map(|(name, quant)| {
            let values = quant.range.map_or([0.0, 0.0], |[_, max]| [max, RANGE_KNOWN]);
            (name.clone(), Tensor::from_slice(&values))
        });
        let ranges = ranges.collect();
        let steps = compile(graph);
        let releases = releases(graph, &steps);
        let mut network =
            Self { graph: graph.clone(), plan: plan.clone(), params, tensors, quantized, ranges, steps, releases };
        network.quantize_weights()?;
        Ok(network)
    }

    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The plan with the ranges tracked so far.
    pub fn plan(&self) -> QuantPlan {
        let mut plan = self.plan.clone();
        for (name, quant) in &mut plan.activations {
            let [max, seen] = [0, 1].map(|index| self.ranges[name].double_value(&[index]) as f32);
            quant.range = (seen > 0.0).then_some([0.0, max]);
        }
        plan
    }

    /// Brings Q(w) up to date with w; to be called after every change of the weights.
    ///
    /// # Errors
    /// libtorch's.
    pub fn quantize_weights(&mut self) -> Result<()> {
        let sources: Vec<&Tensor> = self.quantized.iter().map(|weight| &self.tensors[&weight.name]).collect();
        let results: Vec<&Tensor> = self.quantized.iter().map(|weight| &weight.result).collect();
        let bits: Vec<i64> = self.quantized.iter().map(|weight| weight.bits).collect();
        let sizes: Vec<i64> = self.quantized.iter().map(|weight| weight.bucket_size).collect();
        kernels::quantize_weights(&sources, &results, &bits, &sizes)
    }

    /// Logits `[n, classes]` of images `[n, c, h, w]`.
    ///
    /// # Errors
    /// Images of another shape; libtorch's errors.
    pub fn forward(&self, images: &Tensor, mode: Mode) -> Result<Tensor> {
        let mut values: Vec<Option<Tensor>> = self.graph.nodes.iter().map(|_| None).collect();
        values[0] = Some(images.shallow_clone());
        let mut last = 0;
        for (step, releases) in self.steps.iter().zip(&self.releases) {
            let (node, value) = self.execute(step, &values, mode)?;
            values[node] = Some(value);
            last = node;
            for id in releases {
                values[*id] = None;
            }
        }
        values[last].take().ok_or_else(|| Error::failed("the network computes nothing"))
    }

    fn execute(&self, step: &Step, values: &[Option<Tensor>], mode: Mode) -> Result<(NodeId, Tensor)> {
        let value = |id: &NodeId| values[*id].as_ref().expect("a step runs after its inputs and before their release");
        let failed = |node: &NodeId, error: tch::TchError| torch_error(&self.graph.nodes[*node].name, &error);
        Ok(match step {
            Step::Conv { node, input } => {
                let Op::Conv2d { stride, padding: [top, left, bottom, right], groups, bias, .. } =
                    self.graph.nodes[*node].op
                else {
                    unreachable!("compile makes conv steps of convolutions only")
                };
                let name = &self.graph.nodes[*node].name;
                let bias = bias.then(|| &self.tensors[&format!("{name}.bias")]);
                let weight = self.weight(name);
                let [top, left, bottom, right] = [top, left, bottom, right].map(|size| size as i64);
                let stride = stride.map(|size| size as i64);
                let symmetric = top == bottom && left == right;
                let conv =
                    |x: &Tensor, padding: [i64; 2]| x.f_conv2d(weight, bias, stride, padding, [1i64, 1], groups as i64);
                let result = match symmetric {
                    true => conv(value(input), [top, left]),
                    false => value(input)
                        .f_constant_pad_nd([left, right, top, bottom])
                        .and_then(|padded| conv(&padded, [0, 0])),
                };
                (*node, result.map_err(|error| failed(node, error))?)
            }
            Step::Linear { node, input } => {
                let name = &self.graph.nodes[*node].name;
                let bias = self.tensors.get(&format!("{name}.bias"));
                let flat = value(input).f_flatten(1, -1);
                let result = flat.and_then(|flat| flat.f_linear(self.weight(name), bias));
                (*node, result.map_err(|error| failed(node, error))?)
            }
            Step::NormAct { node, input, norm, residual, act } => {
                let name = &self.graph.nodes[*node].name;
                let quantizer = self.ranges.get(name).map(|range| ActQuantizer {
                    bits: self.plan.activations[name].bits,
                    range,
                    decay: RANGE_DECAY,
                    track: matches!(mode, Mode::Train | Mode::Calibrate),
                });
                let norm = norm.map(|id| self.norm(id));
                let training = matches!(mode, Mode::Train | Mode::Reestimate);
                let residual = residual.as_ref().map(value);
                let result = kernels::norm_act(value(input), norm, residual, *act, quantizer, training);
                (*node, result.map_err(|error| error.context(format!("node `{name}`")))?)
            }
            Step::MaxPool { node, input } => {
                let Op::MaxPool { kernel, stride, padding } = self.graph.nodes[*node].op else {
                    unreachable!("compile makes pool steps of pools only")
                };
                let [kernel, stride, padding] = [kernel, stride, padding].map(|size| [size as i64; 2]);
                let result = value(input).f_max_pool2d(kernel, stride, padding, [1i64, 1], false);
                (*node, result.map_err(|error| failed(node, error))?)
            }
            Step::GlobalAvgPool { node, input } => {
                let result = value(input).f_mean_dim([2i64, 3].as_slice(), true, Kind::Float);
                (*node, result.map_err(|error| failed(node, error))?)
            }
            Step::PadShortcut { node, input } => {
                let Op::PadShortcut { out, stride } = self.graph.nodes[*node].op else {
                    unreachable!("compile makes shortcut steps of shortcuts only")
                };
                let x = value(input);
                let extra = out as i64 - x.size()[1];
                let stride = stride as i64;
                let strided = x.f_slice(2, 0, i64::MAX, stride).and_then(|x| x.f_slice(3, 0, i64::MAX, stride));
                let padding = [0, 0, 0, 0, extra / 2, extra - extra / 2];
                let result = strided.and_then(|x| x.f_constant_pad_nd(padding));
                (*node, result.map_err(|error| failed(node, error))?)
            }
        })
    }

    /// The weight of a layer as the forward pass uses it.
    fn weight(&self, node: &str) -> &Tensor {
        let name = format!("{node}.weight");
        self.leaf(&name)
    }

    /// The tensor that collects the gradient of a parameter: Q(w) where w is quantized.
    pub fn leaf(&self, param: &str) -> &Tensor {
        match self.quantized.iter().find(|weight| weight.name == param) {
            Some(weight) => &weight.result,
            None => &self.tensors[param],
        }
    }

    fn norm(&self, id: NodeId) -> Norm<'_> {
        let Op::BatchNorm { eps } = self.graph.nodes[id].op else {
            unreachable!("compile takes norms from batch normalisations only")
        };
        let tensor = |suffix: &str| &self.tensors[&format!("{}.{suffix}", self.graph.nodes[id].name)];
        Norm {
            scale: tensor("weight"),
            shift: tensor("bias"),
            running_mean: tensor("running_mean"),
            running_var: tensor("running_var"),
            eps,
            momentum: BATCH_NORM_MOMENTUM,
        }
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
        for (name, tensor) in &mut self.tensors {
            let values = values.get(name).ok_or_else(|| Error::failed(format!("no tensor `{name}`")))?;
            set_floats(tensor, values).map_err(|error| error.context(format!("tensor `{name}`")))?;
        }
        self.quantize_weights()
    }

    /// The ranges' raw state (maximum, batches seen), for a checkpoint.
    ///
    /// # Errors
    /// libtorch's.
    pub fn range_state(&self) -> Result<BTreeMap<String, Vec<f32>>> {
        self.ranges.iter().map(|(name, tensor)| Ok((name.clone(), floats(tensor)?))).collect()
    }

    /// Takes over what [`Network::range_state`] gave.
    ///
    /// # Errors
    /// A range that is missing.
    pub fn set_range_state(&mut self, state: &BTreeMap<String, Vec<f32>>) -> Result<()> {
        for (name, tensor) in &mut self.ranges {
            let values = state.get(name).ok_or_else(|| Error::failed(format!("no range of `{name}`")))?;
            set_floats(tensor, values)?;
        }
        Ok(())
    }

    /// The model to save: weights packed as the plan says, with the ranges tracked.
    ///
    /// # Errors
    /// A weight that is not finite.
    pub fn to_model(&self, meta: ModelMeta) -> Result<Model> {
        Model::new(self.graph.clone(), self.plan(), meta, self.values()?)
    }
}

/// The values of a float tensor, in row-major order.
pub(crate) fn floats(tensor: &Tensor) -> Result<Vec<f32>> {
    let flat = tensor.detach().f_contiguous().and_then(|tensor| tensor.f_view([-1i64]));
    let flat = flat.map_err(|error| torch_error("read a tensor", &error))?;
    Vec::<f32>::try_from(flat).map_err(|error| torch_error("read a tensor", &error))
}

pub(crate) fn set_floats(tensor: &mut Tensor, values: &[f32]) -> Result<()> {
    if tensor.numel() != values.len() {
        return Err(Error::failed(format!("{} values for {:?}", values.len(), tensor.size())));
    }
    let source = Tensor::from_slice(values).view(tensor.size().as_slice());
    tch::no_grad(|| tensor.f_copy_(&source)).map_err(|error| torch_error("write a tensor", &error))
}
