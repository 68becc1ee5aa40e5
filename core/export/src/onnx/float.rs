//! A float network as .onnx: weights as they are after quantization, values in float.

use super::OnnxInfo;
use super::builder::{Builder, Values, int};
use super::operators::{Held, convolution, max_pool, pad_shortcut, relu6, value_count};
use pocketflow::fold::fold_model;
use pocketflow::graph::{Node, Op, Shape};
use pocketflow::model::Model;
use pocketflow::{Error, Result};

/// The model in float, its batch normalisations folded. Quantized weights are written as Q(x); values between the layers are not
/// quantized.
///
/// # Errors
/// A model that cannot be folded or whose parts do not fit each other; one beyond the 2 GiB of the format.
pub fn from_model(model: &Model, info: &OnnxInfo) -> Result<Vec<u8>> {
    let folded = fold_model(model)?;
    let graph = &folded.graph;
    let shapes = graph.shapes()?;
    let mut writer = Writer { model: &folded, builder: Builder::new(&graph.name) };
    let mut held: Vec<Held> = Vec::with_capacity(graph.nodes.len());
    for node in &graph.nodes {
        let inputs: Vec<(Held, Shape)> = node.inputs.iter().map(|id| (held[*id].clone(), shapes[*id])).collect();
        let output = writer.write(node, &inputs).map_err(|error| {
            error.context(format!("cannot write node `{}` ({}) to .onnx", node.name, node.op.kind()))
        })?;
        held.push(output);
    }
    let mut builder = writer.builder;
    let (Some(last), Some(shape)) = (held.last(), shapes.last()) else {
        return Err(Error::failed(format!("`{}` has no nodes", graph.name)));
    };
    match last.row {
        true => builder.logits("Identity", &[&last.tensor], Vec::new()),
        false => builder.logits("Flatten", &[&last.tensor], vec![int("axis", 1)]),
    }
    let [channels, height, width] = graph.input_shape();
    let metadata = info.metadata(&folded.meta.mean, &folded.meta.std, "none");
    builder.finish([height, width, channels], value_count(shape), metadata)
}

struct Writer<'a> {
    model: &'a Model,
    builder: Builder,
}

impl Writer<'_> {
    /// Writes a node that reads values of these shapes.
    fn write(&mut self, node: &Node, inputs: &[(Held, Shape)]) -> Result<Held> {
        let Some((first, shape)) = inputs.first() else {
            return Ok(Held { tensor: super::INPUT.into(), row: false });
        };
        let name = node.name.as_str();
        let (op, operands, attributes, row) = match node.op {
            Op::Conv2d { out, kernel: [height, width], stride, padding, groups, bias } => {
                let channels = shape[0].checked_div(groups).unwrap_or_default();
                let mut operands = vec![first.as_image(&mut self.builder, name)?];
                operands.extend(self.parameters(name, &[out, channels, height, width], bias)?);
                ("Conv", operands, convolution([height, width], stride, padding, groups), false)
            }
            Op::Linear { out, bias } => {
                let mut operands = vec![first.as_row(&mut self.builder, name)];
                operands.extend(self.parameters(name, &[out, value_count(shape)], bias)?);
                ("Gemm", operands, vec![int("transB", 1)], true)
            }
            Op::Relu => ("Relu", vec![first.tensor.clone()], Vec::new(), first.row),
            Op::Relu6 => {
                return Ok(Held { tensor: relu6(&mut self.builder, name, &first.tensor)?, row: first.row });
            }
            Op::Add => {
                let row = inputs.iter().all(|(input, _)| input.row);
                let read = |(input, _): &(Held, Shape)| input.shaped(row, &mut self.builder, name);
                ("Add", inputs.iter().map(read).collect::<Result<_>>()?, Vec::new(), row)
            }
            Op::MaxPool { kernel, stride, padding } => {
                let input = first.as_image(&mut self.builder, name)?;
                ("MaxPool", vec![input], max_pool(kernel, stride, padding), false)
            }
            Op::GlobalAvgPool => {
                ("GlobalAveragePool", vec![first.as_image(&mut self.builder, name)?], Vec::new(), false)
            }
            Op::PadShortcut { out, stride } => {
                let input = first.as_image(&mut self.builder, name)?;
                let extra = out.saturating_sub(shape[0]);
                let around = [extra / 2, extra - extra / 2];
                let zero = Values::Floats(&[0.0]);
                let tensor = pad_shortcut(&mut self.builder, name, &input, around, stride, zero)?;
                return Ok(Held { tensor, row: false });
            }
            Op::Input { .. } | Op::BatchNorm { .. } => {
                return Err(Error::failed("it cannot stand here in a folded network"));
            }
        };
        let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
        Ok(Held { tensor: self.builder.node(name.into(), op, &operands, attributes), row })
    }

    /// The weights of a layer and, if it has one, its bias.
    fn parameters(&mut self, layer: &str, shape: &[usize], bias: bool) -> Result<Vec<String>> {
        let wanted = [("weight", shape), ("bias", &shape[..1])].into_iter().take(1 + usize::from(bias));
        wanted
            .map(|(suffix, shape)| {
                let name = format!("{layer}.{suffix}");
                let values = self.model.values(&name)?;
                self.builder.constant(name, Values::Floats(&values), shape)
            })
            .collect()
    }
}
