//! The tensors of a network, in full precision: by index where it computes, by name where they are
//! read and written.

use crate::engine::Engine;
use crate::kernels::Generator;
use crate::values::{floats, set_floats};
use pocketflow::graph::{Conv2d, Graph, NodeId, Op, Param, Role};
use pocketflow::{Error, Result};
use std::collections::BTreeMap;
use std::ops::Range;
use tch::{Device, Kind, Tensor};

/// The parameters of a graph with their tensors, in the order of the graph.
pub struct Parameters {
    params: Vec<Param>,
    tensors: Vec<Tensor>,
    /// Of each node, where its parameters are.
    of_node: Vec<Range<usize>>,
    by_name: BTreeMap<String, usize>,
}

impl Parameters {
    /// Fresh ones: He et al. 2015 (arXiv 1502.01852) normal, fan out, for convolutions; uniform
    /// within 1/√fan-in for fully connected layers. Drawn on the CPU, so that a seed means the same
    /// on every device.
    ///
    /// # Errors
    /// A graph that is not valid; out of memory.
    pub fn initialised(engine: &Engine, graph: &Graph, seed: u64) -> Result<Self> {
        let mut generator = Generator::new(seed)?;
        Self::new(engine, graph, |param, shape| {
            let options = (Kind::Float, Device::Cpu);
            Ok(match (param.role, &graph.nodes[param.node].op) {
                (Role::Weight, Op::Conv2d(Conv2d { out, kernel, groups, .. })) => {
                    let fan_out = (out / groups * kernel[0] * kernel[1]).max(1);
                    generator.normal(shape)? * (2.0 / fan_out as f64).sqrt()
                }
                (Role::Weight, _) => {
                    let bound = 1.0 / (param.shape[1..].iter().product::<usize>().max(1) as f64).sqrt();
                    (generator.uniform(shape)? * 2.0 - 1.0) * bound
                }
                // He et al. 2015.
                (Role::Slope, _) => Tensor::ones(shape, options) * 0.25,
                (Role::Scale | Role::RunningVar, _) => Tensor::ones(shape, options),
                _ => Tensor::zeros(shape, options),
            })
        })
    }

    /// Those given by name.
    ///
    /// # Errors
    /// A graph that is not valid, a tensor that is missing or has another size.
    pub fn given(engine: &Engine, graph: &Graph, values: &BTreeMap<String, Vec<f32>>) -> Result<Self> {
        Self::new(engine, graph, |param, shape| {
            let values = values.get(&param.name).ok_or_else(|| Error::failed(format!("no tensor `{}`", param.name)))?;
            if values.len() != param.shape.iter().product::<usize>() {
                let problem = format!("tensor `{}` has {} values, not {:?}", param.name, values.len(), param.shape);
                return Err(Error::failed(problem));
            }
            Ok(Tensor::from_slice(values).view(shape))
        })
    }

    fn new(engine: &Engine, graph: &Graph, mut make: impl FnMut(&Param, &[i64]) -> Result<Tensor>) -> Result<Self> {
        let params = graph.params()?;
        let mut tensors = Vec::with_capacity(params.len());
        let mut of_node = vec![0..0; graph.nodes.len()];
        for (index, param) in params.iter().enumerate() {
            let shape: Vec<i64> = param.shape.iter().map(|size| *size as i64).collect();
            tensors.push(engine.place(make(param, &shape)?)?);
            let range = &mut of_node[param.node];
            *range = if range.end == 0 { index..index + 1 } else { range.start..index + 1 };
        }
        let by_name = params.iter().enumerate().map(|(index, param)| (param.name.clone(), index)).collect();
        Ok(Self { params, tensors, of_node, by_name })
    }

    /// Returns what the parameters are.
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// Returns the tensor at an index.
    pub fn tensor(&self, index: usize) -> &Tensor {
        &self.tensors[index]
    }

    /// Returns the indices of a node's parameters, in the order of [`Graph::params`].
    pub fn of_node(&self, node: NodeId) -> Range<usize> {
        self.of_node[node].clone()
    }

    /// Returns the index of the parameter of that name.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// Returns the index of a node's parameter in a role.
    pub fn in_role(&self, node: NodeId, role: Role) -> Option<usize> {
        self.of_node(node).find(|index| self.params[*index].role == role)
    }

    /// Says whether backward passes leave a gradient at a tensor.
    pub fn set_requires_grad(&mut self, index: usize, requires: bool) {
        self.tensors[index] = self.tensors[index].set_requires_grad(requires);
    }

    /// Returns all values, by name.
    ///
    /// # Errors
    /// libtorch's.
    pub fn values(&self) -> Result<BTreeMap<String, Vec<f32>>> {
        let read = |(param, tensor): (&Param, &Tensor)| Ok((param.name.clone(), floats(tensor)?));
        self.params.iter().zip(&self.tensors).map(read).collect()
    }

    /// Replaces all values, in place.
    ///
    /// # Errors
    /// A tensor that is missing or has another size.
    pub fn set_values(&mut self, values: &BTreeMap<String, Vec<f32>>) -> Result<()> {
        for (param, tensor) in self.params.iter().zip(&self.tensors) {
            let name = &param.name;
            let values = values.get(name).ok_or_else(|| Error::failed(format!("no tensor `{name}`")))?;
            set_floats(tensor, values).map_err(|error| error.context(format!("tensor `{name}`")))?;
        }
        Ok(())
    }
}
