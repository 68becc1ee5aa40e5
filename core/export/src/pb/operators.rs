//! Operators without weights, and the walk over the network.

use super::builder::{Builder, text, window};
use super::fake_quant;
use super::proto::{DataType, Value};
use pocketflow::graph::{Graph, MaxPool, NodeId, Op, PadShortcut, Relu, Shape};
use pocketflow::model::Model;
use pocketflow::{Error, Result};

/// What holds a node's output: a node of the GraphDef, and whether it is `[N, features]` or `[N,
/// height, width, channels]`.
#[derive(Debug, Clone)]
struct Held {
    node: String,
    row: bool,
}

pub(super) struct Writer<'a> {
    pub(super) model: &'a Model,
    shapes: &'a [Shape],
    pub(super) builder: Builder,
    /// By node of the network, as far as written.
    held: Vec<Held>,
}

impl<'a> Writer<'a> {
    pub fn new(model: &'a Model, shapes: &'a [Shape]) -> Self {
        Self { model, shapes, builder: Builder::new(), held: Vec::with_capacity(shapes.len()) }
    }

    fn graph(&self) -> &'a Graph {
        &self.model.graph
    }

    /// Writes the node `id`; those before it are written.
    ///
    /// # Errors
    /// A convolution that TensorFlow's converter has no operator for; a parameter that is missing
    /// or has another size.
    pub fn node(&mut self, id: NodeId) -> Result<()> {
        let node = &self.graph().nodes[id];
        let quant = self.model.plan.activations.get(&node.name);
        let written = self.write(id)?;
        let name = match quant {
            Some(quant) => fake_quant::activation(&mut self.builder, &written.node, quant)?,
            None => written.node,
        };
        self.held.push(Held { node: name, row: written.row });
        Ok(())
    }

    fn write(&mut self, id: NodeId) -> Result<Held> {
        let node = &self.graph().nodes[id];
        let name = node.name.as_str();
        let image = |node| Ok(Held { node, row: false });
        let Some(input) = node.inputs.first().copied() else {
            let [channels, height, width] = self.shapes[id];
            return image(self.builder.placeholder([height, width, channels]));
        };
        match node.op {
            Op::Conv2d(_) => {
                let from = self.as_image(input, name)?;
                image(self.convolution(node, &from, self.shapes[input])?)
            }
            Op::Linear(_) => {
                let from = self.as_row(input, name)?;
                Ok(Held { node: self.linear(node, &from, self.shapes[input])?, row: true })
            }
            Op::Relu(_) | Op::Relu6(_) => {
                let op = if node.op == Op::Relu(Relu) { "Relu" } else { "Relu6" };
                let Held { node: from, row } = self.held[input].clone();
                Ok(Held { node: self.builder.node(name, op, &[&from], Vec::new()), row })
            }
            Op::Add(_) => {
                let row = node.inputs.iter().all(|input| self.held[*input].row);
                let mut read = |id| if row { self.as_row(id, name) } else { self.as_image(id, name) };
                let [left, right] = [read(input)?, read(node.inputs[1])?];
                Ok(Held { node: self.builder.node(name, "AddV2", &[&left, &right], Vec::new()), row })
            }
            Op::MaxPool(MaxPool { kernel, stride, padding }) => {
                let from = self.as_image(input, name)?;
                image(self.max_pool(name, &from, self.shapes[input], [kernel, stride, padding])?)
            }
            Op::GlobalAvgPool(_) => self.global_average(name, input),
            Op::PadShortcut(PadShortcut { out, stride }) => {
                let from = self.as_image(input, name)?;
                let extra = out.saturating_sub(self.shapes[input][0]);
                image(self.pad_shortcut(name, &from, [extra / 2, extra - extra / 2], stride)?)
            }
            Op::Input(_) | Op::BatchNorm(_) => Err(Error::failed("it cannot stand here in a folded network")),
        }
    }

    /// The output of `id` as an image, for the node `reader`.
    fn as_image(&mut self, id: NodeId, reader: &str) -> Result<String> {
        let Held { node, row } = self.held[id].clone();
        let channels = i32_of(self.shapes[id][0])?;
        if row { self.reshape(&format!("{reader}/image"), &node, &[-1, 1, 1, channels]) } else { Ok(node) }
    }

    /// The output of `id` as a row of features, pixel by pixel, for the node `reader`.
    fn as_row(&mut self, id: NodeId, reader: &str) -> Result<String> {
        let Held { node, row } = self.held[id].clone();
        let features = i32_of(self.shapes[id].iter().fold(1, |count: usize, size| count.saturating_mul(*size)))?;
        if row { Ok(node) } else { self.reshape(&format!("{reader}/row"), &node, &[-1, features]) }
    }

    pub(super) fn reshape(&mut self, name: &str, from: &str, sizes: &[i32]) -> Result<String> {
        let shape = self.builder.ints(&format!("{name}/shape"), sizes, &[sizes.len()])?;
        let attributes = vec![("Tshape", DataType::Int32.attribute())];
        Ok(self.builder.node(name, "Reshape", &[from, &shape], attributes))
    }

    /// Adds `before` and `after` of height, width and channels: `value`, or zero.
    pub(super) fn pad(&mut self, name: &str, from: &str, sides: [[usize; 2]; 3], value: Option<f32>) -> Result<String> {
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

    fn max_pool(
        &mut self,
        name: &str,
        from: &str,
        shape: Shape,
        [kernel, stride, padding]: [usize; 3],
    ) -> Result<String> {
        let [_, height, width] = shape;
        let (from, mode) = match padding_mode([height, width], [kernel; 2], [stride; 2], [padding; 4]) {
            Some(mode) => (from.to_owned(), mode),
            // The least of all floats, which the converter makes the lowest code.
            None => {
                let sides = [[padding; 2], [padding; 2], [0; 2]];
                (self.pad(&format!("{name}/pad"), from, sides, Some(f32::MIN))?, VALID)
            }
        };
        let attributes = vec![
            ("ksize", window(kernel, kernel)),
            ("strides", window(stride, stride)),
            ("padding", text(mode)),
            ("data_format", text("NHWC")),
        ];
        Ok(self.builder.node(name, "MaxPool", &[&from], attributes))
    }

    /// A mean where it has a grid of its own. In a quantized network that gives it none it is an
    /// average pool, which the converter keeps on the grid of its input.
    fn global_average(&mut self, name: &str, input: NodeId) -> Result<Held> {
        let from = self.as_image(input, name)?;
        let [_, height, width] = self.shapes[input];
        let grids = &self.model.plan.activations;
        if !grids.is_empty() && !grids.contains_key(name) {
            let attributes = vec![
                ("ksize", window(height, width)),
                ("strides", window(1, 1)),
                ("padding", text(VALID)),
                ("data_format", text("NHWC")),
            ];
            return Ok(Held { node: self.builder.node(name, "AvgPool", &[&from], attributes), row: false });
        }
        let axes = self.builder.ints(&format!("{name}/axes"), &[1, 2], &[2])?;
        let attributes = vec![("Tidx", DataType::Int32.attribute()), ("keep_dims", Value::B(false))];
        Ok(Held { node: self.builder.node(name, "Mean", &[&from, &axes], attributes), row: true })
    }

    fn pad_shortcut(&mut self, name: &str, from: &str, around: [usize; 2], stride: usize) -> Result<String> {
        let pixels = format!("{name}/pixels");
        let mut list = |suffix: &str, values: [i32; 4]| self.builder.ints(&format!("{pixels}/{suffix}"), &values, &[4]);
        let step = i32_of(stride)?;
        let (begin, end) = (list("begin", [0; 4])?, list("end", [0; 4])?);
        let strides = list("strides", [1, step, step, 1])?;
        // A bit for each axis: it is taken whole, whatever begin and end say.
        let masks = [("begin_mask", 0b1111), ("end_mask", 0b1111)];
        let unused = ["ellipsis_mask", "new_axis_mask", "shrink_axis_mask"].map(|mask| (mask, 0));
        let masks = masks.into_iter().chain(unused).map(|(mask, bits)| (mask, Value::I(bits)));
        let attributes = masks.chain([("Index", DataType::Int32.attribute())]).collect();
        let slice = self.builder.node(&pixels, "StridedSlice", &[from, &begin, &end, &strides], attributes);
        self.pad(name, &slice, [[0; 2], [0; 2], around], None)
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// A graph beyond 2 GiB.
    pub fn finish(mut self) -> Result<Vec<u8>> {
        let last = self.graph().nodes.len().saturating_sub(1);
        let logits = self.as_row(last, super::LOGITS)?;
        self.builder.logits(&logits);
        self.builder.finish()
    }
}

pub(super) const SAME: &str = "SAME";
pub(super) const VALID: &str = "VALID";

/// TensorFlow's word for a padding (top, left, bottom, right), if it has one: SAME gives ⌈size /
/// stride⌉ pixels and puts the odd pixel after.
pub(super) fn padding_mode(
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

pub(super) fn i32_of(size: usize) -> Result<i32> {
    i32::try_from(size).map_err(|_| Error::failed(format!("a size of {size} is beyond TensorFlow's")))
}
