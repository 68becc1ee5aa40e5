//! The forward pass of a network: its steps one after the other, quantizers within them or behind
//! them.

use super::program::{Step, Work};
use super::{InputRounding, Network};
use crate::kernels::{self, Fused, Norm};
use crate::quantizer::{Pass, Stored};
use crate::{ops, torch_error};
use pocketflow::affine::Affine;
use pocketflow::graph::{BatchNorm, NodeId, Op, Role};
use pocketflow::quant::ActivationQuant;
use pocketflow::{Error, Result};
use tch::Tensor;

/// Share of the batch in the running statistics, as in PyTorch.
const BATCH_NORM_MOMENTUM: f64 = 0.1;

/// What a forward pass does besides computing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Batch statistics, which update the running ones; activation ranges are tracked.
    Train,
    /// Running statistics, frozen ranges: the answer for an image does not depend on its
    /// neighbours.
    Eval,
    /// Running statistics; activation ranges are tracked: before training, and in training once
    /// batch normalisation is frozen.
    TrackRanges,
}

impl Network {
    /// Returns the logits, `[n, classes]`, of images, `[n, c, h, w]`.
    ///
    /// # Errors
    /// Images of another shape; libtorch's errors.
    pub fn forward(&self, images: &Tensor, mode: Mode) -> Result<Tensor> {
        let (_, logits) = self.run(images, mode, self.last_step(), |_, _| Ok(()))?;
        logits.f_flatten(1, -1).map_err(|error| torch_error("flatten the logits", &error))
    }

    /// Shows the value of every quantized node that images, `[n, c, h, w]`, give, in evaluation;
    /// `each` is given its name.
    ///
    /// # Errors
    /// As [`Network::forward`]; those of `each`.
    pub fn show_values(&self, images: &Tensor, mut each: impl FnMut(&str, &Tensor) -> Result<()>) -> Result<()> {
        let mut values: Vec<Option<Tensor>> = self.graph.nodes.iter().map(|_| None).collect();
        values[0] = Some(self.input(images)?);
        for step in &self.steps {
            let value = self.execute(step, &values, Mode::Eval)?;
            if self.quantizers.value(step.node).is_some() {
                each(&self.graph.nodes[step.node].name, &value)?;
            }
            values[step.node] = Some(value);
            for id in &step.releases {
                values[*id] = None;
            }
        }
        Ok(())
    }

    /// Returns the input and the output of a convolution or fully connected layer, by name.
    ///
    /// # Errors
    /// As [`Network::forward`]; no such layer.
    pub fn layer_values(&self, images: &Tensor, mode: Mode, layer: &str) -> Result<(Tensor, Tensor)> {
        self.run(images, mode, self.layer_step(layer)?, |_, _| Ok(()))
    }

    /// Returns what a layer makes of an input, in evaluation.
    ///
    /// # Errors
    /// As [`Network::layer_values`].
    pub fn layer_output(&self, layer: &str, input: &Tensor) -> Result<Tensor> {
        let step = &self.steps[self.layer_step(layer)?];
        let mut values: Vec<Option<Tensor>> = self.graph.nodes.iter().map(|_| None).collect();
        values[step.input] = Some(input.shallow_clone());
        self.execute(step, &values, Mode::Eval)
    }

    fn layer_step(&self, layer: &str) -> Result<usize> {
        let node = |step: &Step| &self.graph.nodes[step.node];
        let step = self.steps.iter().position(|step| node(step).op.is_layer() && node(step).name == layer);
        step.ok_or_else(|| Error::failed(format!("`{layer}` is no layer of `{}`", self.graph.name)))
    }

    pub(super) fn last_step(&self) -> usize {
        self.steps.len().saturating_sub(1)
    }

    /// Returns input and output of the step at an index, after all before it; each step and its
    /// input are shown to `watch` first.
    pub(super) fn run(
        &self,
        images: &Tensor,
        mode: Mode,
        last: usize,
        mut watch: impl FnMut(&Step, &Tensor) -> Result<()>,
    ) -> Result<(Tensor, Tensor)> {
        let no_input = || Error::failed("a step has no input");
        let mut values: Vec<Option<Tensor>> = self.graph.nodes.iter().map(|_| None).collect();
        values[0] = Some(self.input(images)?);
        for (index, step) in self.steps.iter().enumerate() {
            watch(step, values[step.input].as_ref().ok_or_else(no_input)?)?;
            let value = self.execute(step, &values, mode)?;
            if index == last {
                return values[step.input].take().map(|input| (input, value)).ok_or_else(no_input);
            }
            values[step.node] = Some(value);
            for id in &step.releases {
                values[*id] = None;
            }
        }
        Err(Error::failed("the network computes nothing"))
    }

    fn pass(&self, mode: Mode) -> Pass {
        Pass { tracks: mode != Mode::Eval, quantizes: self.quantizing }
    }

    /// The images on the grid of their quantizer, if there is one.
    fn input(&self, images: &Tensor) -> Result<Tensor> {
        let grid = self.quantizers.value(0).filter(|_| self.quantizing).map(|quantizer| quantizer.stored());
        let Some(Stored::Value(ActivationQuant { bits, range: Some(range) })) = grid else {
            return Ok(images.shallow_clone());
        };
        let Affine { scale, zero_point, max_code, .. } = Affine::of_range(range, bits);
        let (scale, zero_point) = (f64::from(scale), f64::from(zero_point));
        let codes = match &self.input {
            InputRounding::Nearest => (images / scale + zero_point).f_round(),
            InputRounding::Pixels => (images / scale + (zero_point - 0.501)).f_ceil(),
            InputRounding::Shifted(shift) => ((images + shift) / scale + zero_point).f_round(),
        };
        let codes = codes.and_then(|codes| codes.f_clamp(0.0, f64::from(max_code)));
        codes.map(|codes| (codes - zero_point) * scale).map_err(|error| torch_error("quantize the images", &error))
    }

    /// The value of a step's node, quantized.
    fn execute(&self, step: &Step, values: &[Option<Tensor>], mode: Mode) -> Result<Tensor> {
        let node = &self.graph.nodes[step.node];
        let of_node = |error: Error| error.context(format!("node `{}`", node.name));
        let pass = self.pass(mode);
        let value = |id: NodeId| values[id].as_ref().expect("a step runs after its inputs and before their release");
        let made = match step.work {
            Work::Operator => {
                let inputs: Vec<&Tensor> = node.inputs.iter().map(|id| value(*id)).collect();
                let params = self.parameters.of_node(step.node);
                let params: Vec<Tensor> =
                    params.map(|index| self.quantizers.used(&self.parameters, index, pass)).collect::<Result<_>>()?;
                let op = ops::of(&node.op);
                let made = if mode == Mode::Train { op.train(&inputs, &params) } else { op.forward(&inputs, &params) };
                made.map_err(|error| torch_error(&node.name, &error))?
            }
            Work::Fused { norm, residual, act } => {
                let outer = self.quantizers.fused_value(step.node, pass);
                let learned = self.quantizers.step_value(step.node, pass);
                let fused = Fused {
                    norm: norm.map(|id| self.norm(id)).transpose()?,
                    residual: residual.map(value),
                    outer,
                    learned,
                    // A normalisation that is a step of its own is quantized as the step's result.
                    inner: norm
                        .filter(|norm| *norm != step.node)
                        .and_then(|norm| self.quantizers.fused_value(norm, pass)),
                    training: mode == Mode::Train,
                };
                let made = kernels::norm_act(value(step.input), act, &fused).map_err(of_node)?;
                if outer.is_some() || learned.is_some() {
                    return Ok(made);
                }
                made
            }
        };
        match self.quantizers.value(step.node) {
            Some(quantizer) => quantizer.quantize(&made, pass).map_err(of_node),
            None => Ok(made),
        }
    }

    fn norm(&self, id: NodeId) -> Result<Norm<'_>> {
        let node = &self.graph.nodes[id];
        let Op::BatchNorm(BatchNorm { eps }) = node.op else {
            return Err(Error::failed(format!("`{}` is no batch normalisation", node.name)));
        };
        let tensor = |role| {
            let index = self.parameters.in_role(id, role);
            index
                .map(|index| self.parameters.tensor(index))
                .ok_or_else(|| Error::failed("a normalisation lacks a tensor"))
        };
        Ok(Norm {
            scale: tensor(Role::Scale)?,
            shift: tensor(Role::Shift)?,
            running_mean: tensor(Role::RunningMean)?,
            running_var: tensor(Role::RunningVar)?,
            eps,
            momentum: BATCH_NORM_MOMENTUM,
        })
    }
}
