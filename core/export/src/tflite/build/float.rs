//! A model as float32 operators.

use super::builder::{Builder, Sweep};
use crate::tflite::model::{Activation, DType, Kind, TfliteModel};
use pocketflow::error::{Error, Result};
use pocketflow::fold::fold_model;
use pocketflow::graph::{Node, NodeId, Op, Shape};
use pocketflow::model::Model;

/// The model with float32 values, its weights as the learner left them. Its input is the normalised image `[1, h, w,
/// c]`, named after the input node; its output the logits, named after the last. Batch normalisations are folded; an
/// activation function that alone reads a layer or a sum is fused into it.
///
/// # Errors
/// A node that the format cannot express (which, and what to do); a model whose parts do not fit each other.
pub fn from_model(model: &Model) -> Result<TfliteModel> {
    if model.graph.nodes.iter().any(|node| matches!(node.op, Op::BatchNorm { .. })) {
        return from_model(&fold_model(model)?);
    }
    let shapes = model.graph.shapes()?;
    let mut network =
        Network { model, shapes, builder: Builder::default(), tensors: vec![None; model.graph.nodes.len()] };
    for id in 0..model.graph.nodes.len() {
        if network.tensors[id].is_none() {
            network.node(id)?;
        }
    }
    let output = network.tensors.last().copied().flatten();
    let Network { builder: Builder { model: mut result }, .. } = network;
    result.description = model.graph.name.clone();
    result.inputs = vec![0];
    result.outputs = output.into_iter().collect();
    Ok(result)
}

struct Network<'a> {
    model: &'a Model,
    shapes: Vec<Shape>,
    builder: Builder,
    /// Of each node's output; that of a fused node is that of the activation function.
    tensors: Vec<Option<usize>>,
}

impl Network<'_> {
    fn node(&mut self, id: NodeId) -> Result<()> {
        let model = self.model;
        let Node { name, op, .. } = &model.graph.nodes[id];
        match *op {
            Op::Input { .. } => {
                self.output(id, 4);
            }
            Op::Conv2d { kernel, stride, padding, groups, out, .. } => {
                let from = self.input(id, 0)?;
                let channels = self.shapes[model.graph.nodes[id].inputs[0]][0];
                let depthwise = groups > 1 && groups == channels;
                if groups > 1 && !depthwise {
                    return Err(Error::failed(format!(
                        "convolution `{name}` has {groups} groups; .tflite can express one, or one per input channel"
                    )));
                }
                let constants = self.conv_constants(name, [out, channels / groups, kernel[0], kernel[1]], depthwise)?;
                let (activation, output) = self.fused(id, 4);
                let sweep = Sweep { kernel, stride, padding };
                let multiplier = depthwise.then_some(out / groups);
                self.builder.conv(from, constants, sweep, multiplier, activation, output)?;
            }
            Op::Linear { out, .. } => {
                let from = self.input(id, 0)?;
                let shape = self.shapes[model.graph.nodes[id].inputs[0]];
                let constants = self.linear_constants(name, out, shape)?;
                let (activation, output) = self.fused(id, 2);
                self.builder.linear(from, constants, activation, output)?;
            }
            Op::Add => {
                let inputs = [self.input(id, 0)?, self.input(id, 1)?];
                let (activation, output) = self.fused(id, self.builder.shape(inputs[0]).len());
                self.builder.add(inputs, activation, output)?;
            }
            Op::Relu | Op::Relu6 => {
                let from = self.input(id, 0)?;
                let output = self.output(id, self.builder.shape(from).len());
                let kind = if matches!(op, Op::Relu) { Kind::Relu } else { Kind::Relu6 };
                self.builder.operator(kind, &[from], output);
            }
            Op::MaxPool { kernel, stride, padding } => {
                let from = self.input(id, 0)?;
                let nonnegative = self.nonnegative(model.graph.nodes[id].inputs[0]);
                let output = self.output(id, 4);
                let sweep = Sweep { kernel: [kernel; 2], stride: [stride; 2], padding: [padding; 4] };
                self.builder.max_pool(from, sweep, nonnegative, output)?;
            }
            Op::GlobalAvgPool => {
                let from = self.input(id, 0)?;
                let readers = model.graph.nodes.iter().filter(|node| node.inputs.contains(&id));
                let flat = readers.into_iter().all(|node| matches!(node.op, Op::Linear { .. }));
                let output = self.output(id, if flat { 2 } else { 4 });
                self.builder.mean(from, output)?;
            }
            Op::PadShortcut { out, stride } => {
                let from = self.input(id, 0)?;
                let extra = out - self.shapes[model.graph.nodes[id].inputs[0]][0];
                let output = self.output(id, 4);
                self.builder.shortcut(from, stride, [extra / 2, extra - extra / 2], output)?;
            }
            Op::BatchNorm { .. } => {
                return Err(Error::failed(format!("batch normalisation `{name}` was not folded")));
            }
        }
        Ok(())
    }

    fn input(&self, id: NodeId, index: usize) -> Result<usize> {
        let Node { name, inputs, .. } = &self.model.graph.nodes[id];
        inputs
            .get(index)
            .and_then(|input| self.tensors[*input])
            .ok_or_else(|| Error::failed(format!("`{name}` lacks its input {index}")))
    }

    /// The tensor of the node's output, with 2 or 4 dimensions.
    fn output(&mut self, id: NodeId, rank: usize) -> usize {
        let [channels, height, width] = self.shapes[id];
        let shape = if rank == 2 { vec![1, channels] } else { vec![1, height, width, channels] };
        let tensor = self.builder.value(self.model.graph.nodes[id].name.clone(), shape, DType::Float32, None);
        self.tensors[id] = Some(tensor);
        tensor
    }

    /// The activation function that alone reads the node, and the tensor of the output of both.
    fn fused(&mut self, id: NodeId, rank: usize) -> (Activation, usize) {
        let nodes = &self.model.graph.nodes;
        let mut readers = (id + 1..nodes.len()).filter(|reader| nodes[*reader].inputs.contains(&id));
        let sole = readers.next().filter(|_| readers.next().is_none());
        let (activation, last) = match sole.map(|reader| (reader, &nodes[reader].op)) {
            Some((reader, Op::Relu)) => (Activation::Relu, reader),
            Some((reader, Op::Relu6)) => (Activation::Relu6, reader),
            _ => (Activation::None, id),
        };
        let output = self.output(last, rank);
        self.tensors[id] = Some(output);
        (activation, output)
    }

    /// That no value of the node's output is below zero.
    fn nonnegative(&self, id: NodeId) -> bool {
        let Node { op, inputs, .. } = &self.model.graph.nodes[id];
        match op {
            Op::Relu | Op::Relu6 => true,
            Op::MaxPool { .. } | Op::PadShortcut { .. } | Op::GlobalAvgPool => self.nonnegative(inputs[0]),
            _ => false,
        }
    }

    /// Filter `[out, kh, kw, in]`, or `[1, kh, kw, out]` of a depth-wise convolution, and bias.
    fn conv_constants(&mut self, name: &str, shape: [usize; 4], depthwise: bool) -> Result<[usize; 2]> {
        let weights = self.model.values(&format!("{name}.weight"))?;
        let [out, depth, height, width] = shape;
        let filter = to_filter(&weights, shape, depthwise);
        let shape = if depthwise { vec![1, height, width, out] } else { vec![out, height, width, depth] };
        self.constants(name, shape, &filter, out)
    }

    /// Filter `[out, in]` for the input in the order height, width, channels; a model's is for channels, height, width.
    fn linear_constants(&mut self, name: &str, out: usize, [channels, height, width]: Shape) -> Result<[usize; 2]> {
        let weights = self.model.values(&format!("{name}.weight"))?;
        let filter = to_filter(&weights, [out, channels, height, width], false);
        self.constants(name, vec![out, filter.len() / out.max(1)], &filter, out)
    }

    fn constants(&mut self, name: &str, shape: Vec<usize>, filter: &[f32], out: usize) -> Result<[usize; 2]> {
        let key = format!("{name}.bias");
        let bias = if self.model.tensors.contains_key(&key) { self.model.values(&key)? } else { vec![0.0; out] };
        let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let filter = self.builder.constant(format!("{name}.weight"), shape, DType::Float32, None, bytes(filter));
        Ok([filter, self.builder.constant(key, vec![out], DType::Float32, None, bytes(&bias))])
    }
}

/// Weights `[out, in, kh, kw]` in the order of a filter: `[out, kh, kw, in]`, or `[kh, kw, out]` of a depth-wise
/// convolution.
pub(super) fn to_filter<T: Copy>(weights: &[T], [out, depth, height, width]: [usize; 4], depthwise: bool) -> Vec<T> {
    let pixels = height.saturating_mul(width);
    let at = |out: usize, depth_index: usize, pixel: usize| (out * depth + depth_index) * pixels + pixel;
    let mut filter = Vec::with_capacity(weights.len());
    if depthwise {
        for pixel in 0..pixels {
            filter.extend((0..out).filter_map(|out| weights.get(at(out, 0, pixel))));
        }
    } else {
        for out in 0..out {
            for pixel in 0..pixels {
                filter.extend((0..depth).filter_map(|depth| weights.get(at(out, depth, pixel))));
            }
        }
    }
    filter
}

#[cfg(test)]
mod tests;
