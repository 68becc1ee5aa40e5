//! Optimizers whose whole state can be saved: stochastic gradient descent with momentum, and Adam.

use crate::kernels::{self, StepLists};
use crate::network::{Network, Trainable};
use crate::values::{floats, set_floats};
use crate::workers::Workers;
use pocketflow::graph::Role;
use pocketflow::{Error, Result};
use std::collections::BTreeMap;
use tch::Tensor;

/// The update rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// Stochastic gradient descent.
    Sgd {
        /// Share of the last change in the next, 0 to below 1.
        momentum: f64,
        /// Whether the gradient is taken where the momentum leads (Sutskever et al. 2013).
        nesterov: bool,
    },
    /// β = 0.9, 0.999, ε = 1e-8.
    Adam,
}

/// An optimizer of a network's trained parameters. It holds the network's own tensors: a quantizer
/// that is exchanged later is not trained by it.
pub struct Optimizer {
    rule: Rule,
    trained: Vec<Trainable>,
    decays: Vec<f64>,
    rates: Vec<f64>,
    first: Vec<Tensor>,
    /// Empty for SGD.
    second: Vec<Tensor>,
    steps: i64,
}

impl Optimizer {
    /// `weight_decay` applies to the weights of layers, not to biases and batch normalisations.
    pub fn new(rule: Rule, weight_decay: f64, network: &Network) -> Self {
        Self::of(rule, weight_decay, network.trained())
    }

    /// As [`Optimizer::new`], of some of what [`Network::trained`] gives.
    pub fn of(rule: Rule, weight_decay: f64, trained: Vec<Trainable>) -> Self {
        let zeros = |each: &Trainable| each.tensor.zeros_like().set_requires_grad(false);
        let decay = |each: &Trainable| if each.role == Some(Role::Weight) { weight_decay } else { each.decay };
        Self {
            rule,
            decays: trained.iter().map(decay).collect(),
            rates: trained.iter().map(|each| each.rate).collect(),
            first: trained.iter().map(zeros).collect(),
            second: if rule == Rule::Adam { trained.iter().map(zeros).collect() } else { Vec::new() },
            trained,
            steps: 0,
        }
    }

    /// Updates the network with the gradients that the backward pass left, drops them, and brings
    /// Q(w) up to date.
    ///
    /// # Errors
    /// libtorch's.
    pub fn step(&mut self, network: &mut Network, rate: f64) -> Result<()> {
        network.finish_gradients()?;
        self.steps += 1;
        let lists = StepLists {
            params: self.trained.iter().map(|each| &each.tensor).collect(),
            leaves: self.trained.iter().map(|each| &each.leaf).collect(),
            first: self.first.iter().collect(),
            second: self.second.iter().collect(),
            decays: self.decays.clone(),
            rates: self.rates.clone(),
        };
        match self.rule {
            Rule::Sgd { momentum, nesterov } => kernels::sgd_step(&lists, rate, momentum, nesterov)?,
            Rule::Adam => kernels::adam_step(&lists, rate, self.steps)?,
        }
        network.quantize_weights()
    }

    /// Returns the gradients that the backward pass left: the tensors themselves, without those
    /// that there are none of.
    pub fn gradients(&self) -> Vec<Tensor> {
        self.trained.iter().map(|each| each.leaf.grad()).filter(Tensor::defined).collect()
    }

    /// Gives every worker worker 0's state, after `steps` steps.
    ///
    /// # Errors
    /// A worker that does not answer.
    pub fn take_first(&mut self, workers: &dyn Workers, steps: i64) -> Result<()> {
        let mut tensors: Vec<Tensor> = self.first.iter().chain(&self.second).map(Tensor::shallow_clone).collect();
        workers.broadcast(&mut tensors)?;
        self.steps = steps;
        Ok(())
    }

    /// Returns the state, by name, for a checkpoint.
    ///
    /// # Errors
    /// libtorch's.
    pub fn state(&self) -> Result<BTreeMap<String, Vec<f32>>> {
        let mut state = BTreeMap::new();
        for (kind, tensors) in [("first", &self.first), ("second", &self.second)] {
            for (each, tensor) in self.trained.iter().zip(tensors) {
                state.insert(format!("{kind}:{}", each.name), floats(tensor)?);
            }
        }
        Ok(state)
    }

    /// Takes over what [`Optimizer::state`] gave after `steps` steps.
    ///
    /// # Errors
    /// A tensor that is missing or has another size.
    pub fn set_state(&mut self, state: &BTreeMap<String, Vec<f32>>, steps: i64) -> Result<()> {
        self.steps = steps;
        for (kind, tensors) in [("first", &self.first), ("second", &self.second)] {
            for (each, tensor) in self.trained.iter().zip(tensors) {
                let key = format!("{kind}:{}", each.name);
                let values = state.get(&key).ok_or_else(|| Error::failed(format!("no optimizer state `{key}`")))?;
                set_floats(tensor, values)?;
            }
        }
        Ok(())
    }
}
