//! Optimizers whose whole state can be saved: stochastic gradient descent with momentum, and Adam.

use crate::kernels::{self, StepLists};
use crate::network::{Network, floats, set_floats};
use pocketflow::graph::{Param, Role};
use pocketflow::{Error, Result};
use std::collections::BTreeMap;
use tch::Tensor;

/// The update rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    Sgd {
        momentum: f64,
        nesterov: bool,
    },
    /// β = 0.9, 0.999, ε = 1e-8.
    Adam,
}

/// An optimizer of a network's trained parameters.
pub struct Optimizer {
    rule: Rule,
    names: Vec<String>,
    decays: Vec<f64>,
    first: Vec<Tensor>,
    /// Empty for SGD.
    second: Vec<Tensor>,
    steps: i64,
}

impl Optimizer {
    /// `weight_decay` applies to the weights of layers, not to biases and batch normalisations.
    pub fn new(rule: Rule, weight_decay: f64, network: &Network) -> Self {
        Self::of(rule, weight_decay, network, |_| true)
    }

    /// As [`Optimizer::new`], of some parameters only.
    pub fn of(rule: Rule, weight_decay: f64, network: &Network, chosen: impl Fn(&Param) -> bool) -> Self {
        let (mut names, mut decays, mut first, mut second) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (param, tensor) in network.trained().filter(|(param, _)| chosen(param)) {
            names.push(param.name.clone());
            decays.push(if param.role == Role::Weight { weight_decay } else { 0.0 });
            first.push(tensor.zeros_like().set_requires_grad(false));
            if rule == Rule::Adam {
                second.push(tensor.zeros_like().set_requires_grad(false));
            }
        }
        Self { rule, names, decays, first, second, steps: 0 }
    }

    /// Updates the network with the gradients that the backward pass left, drops them, and brings
    /// Q(w) up to date.
    ///
    /// # Errors
    /// libtorch's.
    pub fn step(&mut self, network: &mut Network, rate: f64) -> Result<()> {
        self.steps += 1;
        let lists = StepLists {
            params: self.names.iter().map(|name| network.tensor(name)).collect(),
            leaves: self.names.iter().map(|name| network.leaf(name)).collect(),
            first: self.first.iter().collect(),
            second: self.second.iter().collect(),
            decays: self.decays.clone(),
        };
        match self.rule {
            Rule::Sgd { momentum, nesterov } => kernels::sgd_step(&lists, rate, momentum, nesterov)?,
            Rule::Adam => kernels::adam_step(&lists, rate, self.steps)?,
        }
        network.quantize_weights()
    }

    /// The state, by name, for a checkpoint.
    ///
    /// # Errors
    /// libtorch's.
    pub fn state(&self) -> Result<BTreeMap<String, Vec<f32>>> {
        let mut state = BTreeMap::new();
        for (kind, tensors) in [("first", &self.first), ("second", &self.second)] {
            for (name, tensor) in self.names.iter().zip(tensors) {
                state.insert(format!("{kind}:{name}"), floats(tensor)?);
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
        for (kind, tensors) in [("first", &mut self.first), ("second", &mut self.second)] {
            for (name, tensor) in self.names.iter().zip(tensors) {
                let key = format!("{kind}:{name}");
                let values = state.get(&key).ok_or_else(|| Error::failed(format!("no optimizer state `{key}`")))?;
                set_floats(tensor, values)?;
            }
        }
        Ok(())
    }
}
