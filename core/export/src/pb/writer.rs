//! What operators write a .pb file with: values as rows or images, padding, weights.

use super::builder::{Builder, Named, text};
use super::fake_quant::{self, WeightGrid};
use super::proto::DataType;
use pocketflow::graph::{NodeId, Shape};
use pocketflow::model::Model;
use pocketflow::tensors::Stored;
use pocketflow::{Error, Result};

/// What holds a node's output: a node of the GraphDef, and whether it is `[N, features]` or `[N,
/// height, width, channels]`.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub node: String,
    pub row: bool,
}

impl Held {
    /// Of an image.
    pub fn image(node: String) -> Self {
        Self { node, row: false }
    }
}

/// A file on its way, and what each operator needs to write itself.
pub(crate) struct Writer<'a> {
    pub model: &'a Model,
    shapes: &'a [Shape],
    pub builder: Builder,
    /// By node of the network, as far as written.
    held: Vec<Held>,
}

impl<'a> Writer<'a> {
    pub fn new(model: &'a Model, shapes: &'a [Shape]) -> Self {
        Self { model, shapes, builder: Builder::new(), held: Vec::with_capacity(shapes.len()) }
    }

    pub fn shape(&self, id: NodeId) -> Shape {
        self.shapes[id]
    }

    /// What holds the output of `id`, which is written.
    pub fn held(&self, id: NodeId) -> Held {
        self.held[id].clone()
    }

    /// Keeps what the next node is held in, on its grid.
    pub(super) fn hold(&mut self, node: &str, written: Held) -> Result<()> {
        let name = match self.model.plan.activations.get(node) {
            Some(quant) => fake_quant::activation(&mut self.builder, &written.node, quant)?,
            None => written.node,
        };
        self.held.push(Held { node: name, row: written.row });
        Ok(())
    }

    /// The output of `id` as an image, for the node `reader`.
    pub fn as_image(&mut self, id: NodeId, reader: &str) -> Result<String> {
        let Held { node, row } = self.held[id].clone();
        let channels = i32_of(self.shapes[id][0])?;
        if row { self.reshape(&format!("{reader}/image"), &node, &[-1, 1, 1, channels]) } else { Ok(node) }
    }

    /// The output of `id` as a row of features, pixel by pixel, for the node `reader`.
    pub fn as_row(&mut self, id: NodeId, reader: &str) -> Result<String> {
        let Held { node, row } = self.held[id].clone();
        let features = i32_of(self.shapes[id].iter().fold(1, |count: usize, size| count.saturating_mul(*size)))?;
        if row { Ok(node) } else { self.reshape(&format!("{reader}/row"), &node, &[-1, features]) }
    }

    pub fn reshape(&mut self, name: &str, from: &str, sizes: &[i32]) -> Result<String> {
        let shape = self.builder.ints(&format!("{name}/shape"), sizes, &[sizes.len()])?;
        let attributes = vec![("Tshape", DataType::Int32.attribute())];
        Ok(self.builder.node(name, "Reshape", &[from, &shape], attributes))
    }

    /// Adds `before` and `after` of height, width and channels: `value`, or zero.
    pub fn pad(&mut self, name: &str, from: &str, sides: [[usize; 2]; 3], value: Option<f32>) -> Result<String> {
        let sides: Result<Vec<i32>> = sides.into_iter().flatten().map(i32_of).collect();
        let sides = [vec![0, 0], sides?].concat();
        let sides = self.builder.ints(&format!("{name}/sides"), &sides, &[4, 2])?;
        let attributes = vec![("Tpaddings", DataType::Int32.attribute())];
        Ok(match value {
            None => self.builder.node(name, "Pad", &[from, &sides], attributes),
            Some(value) => {
                let value = self.builder.floats(&format!("{name}/value"), &[value], &[])?;
                self.builder.node(name, "PadV2", &[from, &sides, &value], attributes)
            }
        })
    }

    /// `inputs` multiplied by the layer, and its bias added.
    pub fn with_bias(
        &mut self,
        name: &str,
        op: &str,
        inputs: [&str; 2],
        attributes: Vec<Named>,
        bias: Option<usize>,
    ) -> Result<String> {
        let Some(out) = bias else {
            return Ok(self.builder.node(name, op, &inputs, attributes));
        };
        let product = self.builder.node(&format!("{name}/{op}"), op, &inputs, attributes);
        let values = self.model.values(&format!("{name}.bias"))?;
        let bias = self.builder.floats(&format!("{name}/bias"), &values, &[out])?;
        Ok(self.builder.node(name, "BiasAdd", &[&product, &bias], vec![("data_format", text("NHWC"))]))
    }

    /// A layer's weights `[out, in, height, width]` in the order `[height, width, in, out]`.
    ///
    /// # Errors
    /// Weights that are missing or have another size.
    pub fn weights(&self, layer: &str, shape: [usize; 4]) -> Result<Vec<f32>> {
        let values = self.model.values(&format!("{layer}.weight"))?;
        match shape.iter().try_fold(1usize, |count, size| count.checked_mul(*size)) == Some(values.len()) {
            true => Ok(last_axis_out(&values, shape)),
            false => Err(Error::failed(format!("{} weights do not make the shape {shape:?}", values.len()))),
        }
    }

    /// The grid of a layer's weights, where TensorFlow can say it.
    pub fn grid(&self, layer: &str, out: usize) -> Option<WeightGrid> {
        match self.model.tensors.get(&format!("{layer}.weight")) {
            Some(Stored::Packed { quantized, .. }) => WeightGrid::of(quantized, out),
            _ => None,
        }
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// A graph beyond 2 GiB.
    pub fn finish(mut self) -> Result<Vec<u8>> {
        let last = self.model.graph.nodes.len().saturating_sub(1);
        let logits = self.as_row(last, super::LOGITS)?;
        self.builder.logits(&logits);
        self.builder.finish()
    }
}

pub(crate) const SAME: &str = "SAME";
pub(crate) const VALID: &str = "VALID";

/// TensorFlow's word for a padding (top, left, bottom, right), if it has one: SAME gives ⌈size /
/// stride⌉ pixels and puts the odd pixel after.
pub(crate) fn padding_mode(
    size: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 4],
) -> Option<&'static str> {
    let same = |axis: usize| {
        let steps = size[axis].div_ceil(stride[axis].max(1)).saturating_sub(1);
        let covered = steps.saturating_mul(stride[axis]).saturating_add(kernel[axis]);
        let total = covered.saturating_sub(size[axis]);
        [total / 2, total - total / 2]
    };
    let [top, left, bottom, right] = padding;
    if [[top, bottom], [left, right]] == [same(0), same(1)] {
        return Some(SAME);
    }
    (padding == [0; 4]).then_some(VALID)
}

pub(crate) fn i32_of(size: usize) -> Result<i32> {
    i32::try_from(size).map_err(|_| Error::failed(format!("a size of {size} is beyond TensorFlow's")))
}

/// `[out, in, height, width]` to `[height, width, in, out]`; there are as many values as the shape
/// says.
fn last_axis_out(values: &[f32], [out, per_group, height, width]: [usize; 4]) -> Vec<f32> {
    let pixels = height * width;
    let pixel = |at: usize| {
        (0..per_group).flat_map(move |input| (0..out).map(move |output| (output * per_group + input) * pixels + at))
    };
    (0..pixels).flat_map(pixel).filter_map(|index| values.get(index).copied()).collect()
}
