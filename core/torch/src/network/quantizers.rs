//! Which quantizer sits on which weight and which value of a network.

use super::parameters::Parameters;
use crate::kernels::{self, ActQuantizer, Fold, StepJob, StepQuantizer, WeightJob};
use crate::quantizer::{Fused, GridValues, GridWeights, Merging, Pass, Quantizer, Stored};
use crate::values::set_floats;
use pocketflow::fold::fold_graph;
use pocketflow::graph::{BatchNorm, Graph, NodeId, Op, Role};
use pocketflow::quant::{FULL_PRECISION_BITS, QuantPlan, Quantized, WeightQuant};
use pocketflow::{Error, Result};
use std::collections::BTreeMap;
use tch::Tensor;

/// A batch normalisation that is folded into its layer when the network is deployed: where its
/// parameters are.
#[derive(Clone, Copy)]
struct FoldedNorm {
    scale: usize,
    variance: usize,
    eps: f64,
}

/// The quantizer of a layer's weights.
pub struct QuantizedWeight {
    /// Where the weights are among the parameters.
    param: usize,
    quantizer: Box<dyn Quantizer>,
    fold: Option<FoldedNorm>,
    /// Of a fused quantizer: Q(w), the leaf that collects the gradient.
    leaf: Option<Tensor>,
}

impl QuantizedWeight {
    /// Whether the weights are quantized multiplied by their batch normalisation.
    pub fn is_folded(&self) -> bool {
        self.fold.is_some()
    }

    /// Returns bits, buckets and grid.
    ///
    /// # Errors
    /// A quantizer of values.
    pub fn quant(&self) -> Result<WeightQuant> {
        match self.quantizer.stored() {
            Stored::Weights(quant) => Ok(quant),
            Stored::Value(_) => Err(Error::failed("a quantizer of values sits on weights")),
        }
    }

    fn job<'a>(&'a self, parameters: &'a Parameters, quantizes: bool) -> Option<WeightJob<'a>> {
        let (result, fused) = (self.leaf.as_ref()?, self.quantizer.fused(Pass { tracks: false, quantizes })?);
        let Fused::Weights { grid, steps, .. } = fused else { return None };
        let fold = self.fold.map(|norm| Fold {
            scale: parameters.tensor(norm.scale),
            variance: parameters.tensor(norm.variance),
            eps: norm.eps,
        });
        let log_steps = steps.map(|steps| steps.log_steps);
        Some(WeightJob { source: parameters.tensor(self.param), result, grid, fold, log_steps })
    }

    /// The work between backward pass and optimizer, where steps are learned.
    fn step_job<'a>(&'a self, parameters: &'a Parameters) -> Option<StepJob<'a>> {
        let (leaf, fused) = (self.leaf.as_ref()?, self.quantizer.fused(Pass { tracks: false, quantizes: true })?);
        let Fused::Weights { grid, steps: Some(steps), .. } = fused else { return None };
        Some(StepJob {
            weights: parameters.tensor(self.param),
            leaf,
            log_steps: steps.log_steps,
            bits: grid.bits,
            bucket_size: grid.bucket_size,
            factor: steps.factor,
        })
    }
}

/// The quantizers of a network.
pub struct Quantizers {
    weights: Vec<QuantizedWeight>,
    /// Of each parameter, its place in `weights`.
    of_param: Vec<Option<usize>>,
    /// By node.
    values: Vec<Option<Box<dyn Quantizer>>>,
    /// Of each layer, the batch normalisation that is folded into it when it is deployed.
    norms: BTreeMap<NodeId, NodeId>,
}

impl Quantizers {
    /// Returns those of a network in full precision: none.
    ///
    /// # Errors
    /// A graph that is not valid.
    pub fn none(graph: &Graph, parameters: &Parameters) -> Result<Self> {
        let values = graph.nodes.iter().map(|_| None).collect();
        let folded = fold_graph(graph)?.into.into_iter();
        let norms = folded.filter_map(|(norm, layer)| layer.map(|layer| (layer, norm))).collect();
        Ok(Self { weights: Vec::new(), of_param: vec![None; parameters.params().len()], values, norms })
    }

    /// Puts a quantizer on the weights of every layer in the plan.
    pub fn quantize_weights(&mut self, graph: &Graph, plan: &QuantPlan, parameters: &mut Parameters) {
        for (index, param) in parameters.params().to_vec().iter().enumerate() {
            let quant = plan.weights.get(&graph.nodes[param.node].name).filter(|_| param.role == Role::Weight);
            if let Some(quant) = quant {
                let quantizer = GridWeights::new(*quant, &param.shape);
                self.set_weights(graph, parameters, index, Box::new(quantizer));
            }
        }
    }

    /// Puts a quantizer on every value in the plan. `decay` is the share of the past in ranges;
    /// those of `shared` take another node's range.
    pub fn quantize_values(&mut self, graph: &Graph, plan: &QuantPlan, decay: f64, shared: &BTreeMap<NodeId, NodeId>) {
        let mut own: BTreeMap<NodeId, GridValues> = BTreeMap::new();
        for (id, node) in graph.nodes.iter().enumerate() {
            if let Some(quant) = plan.activations.get(&node.name) {
                let quantizer = match shared.get(&id).and_then(|of| own.get(of)) {
                    Some(other) => other.shared(),
                    None => GridValues::new(*quant, decay),
                };
                // What pixels there are is known beforehand, and what some operators write.
                let known = quant.range.is_some() && quant.range == node.op.range();
                let is_fixed = known || matches!(node.op, Op::Input(_));
                own.insert(id, if is_fixed { quantizer.fixed() } else { quantizer });
            }
        }
        for (id, quantizer) in own {
            self.values[id] = Some(Box::new(quantizer));
        }
    }

    /// Puts a quantizer on the weights at an index, in place of what was there.
    pub fn set_weights(
        &mut self,
        graph: &Graph,
        parameters: &mut Parameters,
        param: usize,
        quantizer: Box<dyn Quantizer>,
    ) {
        let fused = quantizer.fused(Pass { tracks: false, quantizes: true });
        let (leaf, folded) = match fused {
            Some(Fused::Weights { folded, .. }) => {
                let leaf = parameters.tensor(param).detach().copy().set_requires_grad(true);
                (Some(leaf), folded)
            }
            _ => (None, false),
        };
        parameters.set_requires_grad(param, leaf.is_none());
        let fold = if folded { self.folded_norm(graph, parameters, param) } else { None };
        let weight = QuantizedWeight { param, quantizer, fold, leaf };
        match self.of_param[param] {
            Some(place) => self.weights[place] = weight,
            None => {
                self.of_param[param] = Some(self.weights.len());
                self.weights.push(weight);
            }
        }
    }

    fn folded_norm(&self, graph: &Graph, parameters: &Parameters, param: usize) -> Option<FoldedNorm> {
        let norm = *self.norms.get(&parameters.params()[param].node)?;
        let Op::BatchNorm(BatchNorm { eps }) = graph.nodes[norm].op else { return None };
        let tensor = |role| parameters.in_role(norm, role);
        Some(FoldedNorm { scale: tensor(Role::Scale)?, variance: tensor(Role::RunningVar)?, eps })
    }

    /// Puts a quantizer on the value of a node, in place of what was there.
    pub fn set_value(&mut self, node: NodeId, quantizer: Box<dyn Quantizer>) {
        self.values[node] = Some(quantizer);
    }

    /// Returns the quantizer of the weights at an index.
    pub fn weight(&self, param: usize) -> Option<&QuantizedWeight> {
        self.of_param[param].map(|place| &self.weights[place])
    }

    /// Returns all quantizers of weights, each with the index of the weights.
    pub fn weights(&self) -> impl Iterator<Item = (usize, &QuantizedWeight)> {
        self.weights.iter().map(|weight| (weight.param, weight))
    }

    /// Returns the quantizer of a node's value.
    pub fn value(&self, node: NodeId) -> Option<&dyn Quantizer> {
        self.values[node].as_deref()
    }

    /// Returns the quantizer of a node's value as the kernels take it; `None` also for one that
    /// they cannot compute.
    pub fn fused_value(&self, node: NodeId, pass: Pass) -> Option<ActQuantizer<'_>> {
        match self.value(node)?.fused(pass) {
            Some(Fused::Value(quantizer)) => Some(quantizer),
            _ => None,
        }
    }

    /// As [`Quantizers::fused_value`], of one whose step is learned.
    pub fn step_value(&self, node: NodeId, pass: Pass) -> Option<StepQuantizer<'_>> {
        match self.value(node)?.fused(pass) {
            Some(Fused::Step(quantizer)) => Some(quantizer),
            _ => None,
        }
    }

    /// Returns the tensor that collects the gradient of the parameter at an index.
    pub fn leaf<'a>(&'a self, parameters: &'a Parameters, param: usize) -> &'a Tensor {
        let leaf = self.weight(param).and_then(|weight| weight.leaf.as_ref());
        leaf.unwrap_or_else(|| parameters.tensor(param))
    }

    /// Returns the parameter at an index as the forward pass uses it.
    ///
    /// # Errors
    /// The quantizer's.
    pub fn used(&self, parameters: &Parameters, param: usize, pass: Pass) -> Result<Tensor> {
        match self.weight(param) {
            Some(weight) if weight.leaf.is_none() && pass.quantizes => {
                weight.quantizer.quantize(parameters.tensor(param), pass)
            }
            _ => Ok(self.leaf(parameters, param).shallow_clone()),
        }
    }

    /// Brings every Q(w) up to date with w, and with the batch normalisation behind it; where
    /// `quantizes` is false it is w itself.
    ///
    /// # Errors
    /// libtorch's.
    pub fn update(&self, parameters: &Parameters, quantizes: bool) -> Result<()> {
        let jobs: Vec<WeightJob> = self.weights.iter().filter_map(|weight| weight.job(parameters, quantizes)).collect();
        kernels::quantize_weights(&jobs)
    }

    /// Makes of the gradients that a backward pass left at the leaves those of weights and steps.
    ///
    /// # Errors
    /// libtorch's.
    pub fn finish_gradients(&self, parameters: &Parameters) -> Result<()> {
        let jobs: Vec<StepJob> = self.weights.iter().filter_map(|weight| weight.step_job(parameters)).collect();
        kernels::step_gradients(&jobs)
    }

    /// Returns why training cannot go on with what a quantizer learned, and which.
    pub fn problem(&self, graph: &Graph, parameters: &Parameters) -> Option<String> {
        let mut found = None;
        self.each(graph, parameters, |of, quantizer| {
            if found.is_none() {
                found = quantizer.problem().map(|problem| format!("`{of}`: {problem}"));
            }
        });
        found
    }

    /// Returns the codes of weights that only their quantizer can tell, by name.
    ///
    /// # Errors
    /// The quantizers', with the name.
    pub fn packed(&self, parameters: &Parameters) -> Result<BTreeMap<String, Quantized>> {
        let mut packed = BTreeMap::new();
        for weight in &self.weights {
            let name = &parameters.params()[weight.param].name;
            let codes = weight.quantizer.packed(parameters.tensor(weight.param));
            if let Some(codes) = codes.map_err(|error| error.context(format!("cannot quantize `{name}`")))? {
                packed.insert(name.clone(), codes);
            }
        }
        Ok(packed)
    }

    /// Returns the values that the file is made of: Q(w) where only the quantizer itself can tell
    /// what it is, w elsewhere.
    ///
    /// # Errors
    /// The quantizers'.
    pub fn storable(&self, parameters: &Parameters) -> Result<BTreeMap<String, Vec<f32>>> {
        let mut values = parameters.values()?;
        for weight in self.weights.iter().filter(|weight| weight.leaf.is_none()) {
            let pass = Pass { tracks: false, quantizes: true };
            let quantized = tch::no_grad(|| weight.quantizer.quantize(parameters.tensor(weight.param), pass))?;
            values.insert(parameters.params()[weight.param].name.clone(), crate::values::floats(&quantized)?);
        }
        Ok(values)
    }

    /// Writes into the plan what is quantized, with the ranges known by now.
    ///
    /// # Errors
    /// A quantizer of weights on a value, or the other way round.
    pub fn describe(&self, graph: &Graph, parameters: &Parameters, plan: &mut QuantPlan) -> Result<()> {
        for weight in &self.weights {
            let layer = &graph.nodes[parameters.params()[weight.param].node].name;
            match weight.quant()? {
                WeightQuant { bits: FULL_PRECISION_BITS, .. } => drop(plan.weights.remove(layer)),
                quant => drop(plan.weights.insert(layer.clone(), quant)),
            }
        }
        for (node, quantizer) in graph.nodes.iter().zip(&self.values) {
            match quantizer.as_ref().map(|quantizer| quantizer.stored()) {
                Some(Stored::Value(quant)) => drop(plan.activations.insert(node.name.clone(), quant)),
                Some(Stored::Weights(_)) => {
                    return Err(Error::failed(format!("a quantizer of weights sits on the value of `{}`", node.name)));
                }
                None => drop(plan.activations.remove(&node.name)),
            }
        }
        Ok(())
    }

    /// Calls `each` with every quantizer and the name of what it quantizes: a node, or a weight.
    fn each<'a>(
        &'a self,
        graph: &'a Graph,
        parameters: &'a Parameters,
        mut each: impl FnMut(&'a str, &'a dyn Quantizer),
    ) {
        for (node, quantizer) in graph.nodes.iter().zip(&self.values) {
            if let Some(quantizer) = quantizer {
                each(&node.name, &**quantizer);
            }
        }
        for weight in &self.weights {
            each(&parameters.params()[weight.param].name, &*weight.quantizer);
        }
    }

    /// Returns what the quantizers keep and no optimizer trains, by name.
    pub fn state(&self, graph: &Graph, parameters: &Parameters) -> BTreeMap<String, Tensor> {
        let mut state = BTreeMap::new();
        self.each(graph, parameters, |of, quantizer| {
            for (name, tensor) in quantizer.state() {
                // The name that ranges have had in checkpoints from the first version on.
                let key = if name == "range" { of.to_owned() } else { format!("{of}:{name}") };
                state.insert(key, tensor);
            }
        });
        state
    }

    /// Returns the tensors of [`Quantizers::state`] that become one in the way of `merging`.
    pub fn merged(&self, graph: &Graph, parameters: &Parameters, merging: Merging) -> Vec<Tensor> {
        let mut tensors = Vec::new();
        self.each(graph, parameters, |_, quantizer| {
            if quantizer.merging() == merging {
                tensors.extend(quantizer.state().into_iter().map(|(_, tensor)| tensor));
            }
        });
        tensors
    }

    /// Returns what the optimizer trains of the quantizers, by name: tensor, factor on the rate,
    /// weight decay.
    pub fn learned(&self, graph: &Graph, parameters: &Parameters) -> BTreeMap<String, (Tensor, f64, f64)> {
        let mut learned = BTreeMap::new();
        self.each(graph, parameters, |of, quantizer| {
            for each in quantizer.learned() {
                learned.insert(format!("{of}:{}", each.name), (each.tensor, each.rate, each.decay));
            }
        });
        learned
    }
}

/// Writes values into tensors of the same names.
///
/// # Errors
/// Values that are missing or of another number.
pub fn restore(tensors: BTreeMap<String, Tensor>, values: &BTreeMap<String, Vec<f32>>, what: &str) -> Result<()> {
    for (name, tensor) in tensors {
        let values = values.get(&name).ok_or_else(|| Error::failed(format!("no {what} of `{name}`")))?;
        set_floats(&tensor, values).map_err(|error| error.context(format!("{what} of `{name}`")))?;
    }
    Ok(())
}
