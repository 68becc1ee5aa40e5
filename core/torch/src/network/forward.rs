//! The forward pass of a network: its steps one after the other, quantizers within them or behind
//! them.

use super::{InputRounding, Network};
use crate::kernels::{self, ActQuantizer, Fused, Norm};
use crate::steps::Step;
use crate::torch_error;
use pocketflow::affine::Affine;
use pocketflow::graph::{BatchNorm, Conv2d, MaxPool, NodeId, Op, PadShortcut};
use pocketflow::{Error, Result};
use tch::{Kind, Tensor};

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
    Calibrate,
}

impl Mode {
    fn tracks(self) -> bool {
        matches!(self, Self::Train | Self::Calibrate)
    }

    fn takes_batch_statistics(self) -> bool {
        self == Self::Train
    }
}

impl Network {
    /// Logits `[n, classes]` of images `[n, c, h, w]`.
    ///
    /// # Errors
    /// Images of another shape; libtorch's errors.
    pub fn forward(&self, images: &Tensor, mode: Mode) -> Result<Tensor> {
        let (_, logits) = self.run(images, mode, self.last_step(), |_, _| Ok(()))?;
        Ok(logits)
    }

    /// Input and output of a convolution or fully connected layer, by name.
    ///
    /// # Errors
    /// As [`Network::forward`]; no such layer.
    pub fn around(&self, images: &Tensor, mode: Mode, layer: &str) -> Result<(Tensor, Tensor)> {
        self.run(images, mode, self.layer_step(layer)?, |_, _| Ok(()))
    }

    /// What a layer makes of an input.
    ///
    /// # Errors
    /// As [`Network::around`].
    pub fn apply(&self, layer: &str, input: &Tensor) -> Result<Tensor> {
        let step = &self.steps[self.layer_step(layer)?];
        let mut values: Vec<Option<Tensor>> = self.graph.nodes.iter().map(|_| None).collect();
        values[step.input()] = Some(input.shallow_clone());
        Ok(self.execute(step, &values, Mode::Eval)?.1)
    }

    fn layer_step(&self, layer: &str) -> Result<usize> {
        let is_layer = |step: &Step| match step {
            Step::Conv { node, .. } | Step::Linear { node, .. } => self.graph.nodes[*node].name == layer,
            _ => false,
        };
        let step = self.steps.iter().position(is_layer);
        step.ok_or_else(|| Error::failed(format!("`{layer}` is no layer of `{}`", self.graph.name)))
    }

    pub(super) fn last_step(&self) -> usize {
        self.steps.len().saturating_sub(1)
    }

    /// Input and output of the step at an index, after all before it; each step and its input are
    /// shown to `watch` first.
    pub(super) fn run(
        &self,
        images: &Tensor,
        mode: Mode,
        last: usize,
        mut watch: impl FnMut(&Step, &Tensor) -> Result<()>,
    ) -> Result<(Tensor, Tensor)> {
        let mut values: Vec<Option<Tensor>> = self.graph.nodes.iter().map(|_| None).collect();
        values[0] = Some(self.input(images)?);
        for (index, (step, releases)) in self.steps.iter().zip(&self.releases).enumerate() {
            watch(step, values[step.input()].as_ref().ok_or_else(|| Error::failed("a step has no input"))?)?;
            let (node, value) = self.execute(step, &values, mode)?;
            let value = self.quantized(step, node, value, mode)?;
            if index == last {
                let input = values[step.input()].take();
                return input.map(|input| (input, value)).ok_or_else(|| Error::failed("a step has no input"));
            }
            values[node] = Some(value);
            for id in releases {
                values[*id] = None;
            }
        }
        Err(Error::failed("the network computes nothing"))
    }

    fn quantizer(&self, node: &str, mode: Mode) -> Option<ActQuantizer<'_>> {
        self.ranges.quantizer(node, mode.tracks(), self.quantizing)
    }

    /// The images on the grid of the plan, if it has one for them.
    fn input(&self, images: &Tensor) -> Result<Tensor> {
        let grid = self.ranges.grid(&self.graph.nodes[0].name).filter(|_| self.quantizing);
        let Some(Affine { scale, zero_point, max_code, .. }) = grid else { return Ok(images.shallow_clone()) };
        let (scale, zero_point) = (f64::from(scale), f64::from(zero_point));
        let codes = match &self.input {
            InputRounding::Nearest => (images / scale + zero_point).f_round(),
            InputRounding::Pixels => (images / scale + (zero_point - 0.501)).f_ceil(),
            InputRounding::Shifted(shift) => ((images + shift) / scale + zero_point).f_round(),
        };
        let codes = codes.and_then(|codes| codes.f_clamp(0.0, f64::from(max_code)));
        codes.map(|codes| (codes - zero_point) * scale).map_err(|error| torch_error("quantize the images", &error))
    }

    /// The value of a node that [`kernels::norm_act`] has not quantized in its own pass.
    fn quantized(&self, step: &Step, node: NodeId, value: Tensor, mode: Mode) -> Result<Tensor> {
        let name = &self.graph.nodes[node].name;
        match self.quantizer(name, mode) {
            Some(quantizer) if !matches!(step, Step::NormAct { .. }) => {
                kernels::fake_quantize(&value, quantizer).map_err(|error| error.context(format!("node `{name}`")))
            }
            _ => Ok(value),
        }
    }

    fn execute(&self, step: &Step, values: &[Option<Tensor>], mode: Mode) -> Result<(NodeId, Tensor)> {
        let value = |id: &NodeId| values[*id].as_ref().expect("a step runs after its inputs and before their release");
        let failed = |node: &NodeId, error: tch::TchError| torch_error(&self.graph.nodes[*node].name, &error);
        Ok(match step {
            Step::Conv { node, input } => {
                let Op::Conv2d(Conv2d { stride, padding: [top, left, bottom, right], groups, bias, .. }) =
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
                let name = |id: &NodeId| self.graph.nodes[*id].name.as_str();
                let fused = Fused {
                    norm: norm.map(|id| self.norm(id)),
                    residual: residual.as_ref().map(value),
                    outer: self.quantizer(name(node), mode),
                    // A normalisation that is a step of its own is quantized as the step's result.
                    inner: norm.filter(|norm| norm != node).and_then(|norm| self.quantizer(name(&norm), mode)),
                    training: mode.takes_batch_statistics(),
                };
                let result = kernels::norm_act(value(input), *act, &fused);
                (*node, result.map_err(|error| error.context(format!("node `{}`", name(node))))?)
            }
            Step::MaxPool { node, input } => {
                let Op::MaxPool(MaxPool { kernel, stride, padding }) = self.graph.nodes[*node].op else {
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
                let Op::PadShortcut(PadShortcut { out, stride }) = self.graph.nodes[*node].op else {
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

    fn norm(&self, id: NodeId) -> Norm<'_> {
        let Op::BatchNorm(BatchNorm { eps }) = self.graph.nodes[id].op else {
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
}
