//! Puts an ONNX graph together: names that are unique, constants, nodes of one output, and the file
//! around them.

use super::proto::{
    Attribute, DataType, Dimension, Extent, Graph, Model, Node, OperatorSet, Shape, StringPair, Tensor, TensorType,
    Type, ValueInfo,
};
use super::{INPUT, IR_VERSION, LOGITS, OPSET};
use pocketflow::{Error, Result};
use prost::Message;
use std::collections::BTreeSet;

/// Protocol buffers end at 2 GiB.
const MAX_BYTES: usize = i32::MAX as usize;

/// The values of a constant.
pub(crate) enum Values<'a> {
    Floats(&'a [f32]),
    Uint8(Vec<u8>),
    Int8(Vec<i8>),
    Int32(&'a [i32]),
    Int64(&'a [i64]),
}

impl Values<'_> {
    fn into_raw(self) -> (DataType, usize, Vec<u8>) {
        match self {
            Self::Floats(values) => (DataType::Float, values.len(), bytes(values, |value| value.to_le_bytes())),
            Self::Uint8(values) => (DataType::Uint8, values.len(), values),
            Self::Int8(values) => (DataType::Int8, values.len(), bytes(&values, |value| value.to_le_bytes())),
            Self::Int32(values) => (DataType::Int32, values.len(), bytes(values, |value| value.to_le_bytes())),
            Self::Int64(values) => (DataType::Int64, values.len(), bytes(values, |value| value.to_le_bytes())),
        }
    }
}

fn bytes<T: Copy, const N: usize>(values: &[T], of: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|value| of(*value)).collect()
}

pub(crate) struct Builder {
    graph: Graph,
    names: BTreeSet<String>,
}

impl Builder {
    pub fn new(name: &str) -> Self {
        let names = [INPUT, LOGITS].map(String::from).into();
        Self { graph: Graph { name: Some(name.into()), ..Graph::default() }, names }
    }

    /// The name, or where something has it already, the name with as many `_` as it takes.
    fn unique(&mut self, name: String) -> String {
        let mut name = name;
        while !self.names.insert(name.clone()) {
            name.push('_');
        }
        name
    }

    /// Adds a constant; returns its tensor's name. `dims` empty: a scalar.
    ///
    /// # Errors
    /// Values that do not make the shape.
    pub fn constant(&mut self, name: String, values: Values, dims: &[usize]) -> Result<String> {
        let (data_type, held, raw_data) = values.into_raw();
        if dims.iter().try_fold(1usize, |count, size| count.checked_mul(*size)) != Some(held) {
            return Err(Error::failed(format!("constant `{name}`: {held} values do not make the shape {dims:?}")));
        }
        let name = self.unique(name);
        self.graph.initializer.push(Tensor {
            dims: dims.iter().map(|size| *size as i64).collect(),
            data_type: Some(data_type as i32),
            name: Some(name.clone()),
            raw_data: Some(raw_data),
        });
        Ok(name)
    }

    /// Adds a node; returns the name of its output, which is also the node's.
    pub fn node(&mut self, name: String, op: &str, inputs: &[&str], attributes: Vec<Attribute>) -> String {
        let name = self.unique(name);
        self.push(name, op, inputs, attributes)
    }

    /// Adds the node that writes the graph's output.
    pub fn logits(&mut self, op: &str, inputs: &[&str], attributes: Vec<Attribute>) {
        self.push(LOGITS.into(), op, inputs, attributes);
    }

    fn push(&mut self, name: String, op: &str, inputs: &[&str], attributes: Vec<Attribute>) -> String {
        self.graph.node.push(Node {
            input: inputs.iter().map(|input| String::from(*input)).collect(),
            output: vec![name.clone()],
            name: Some(name.clone()),
            op_type: Some(op.into()),
            attribute: attributes,
        });
        name
    }

    /// The file's bytes. `input` is height, width, channels; `metadata` keys and values.
    ///
    /// # Errors
    /// A model beyond 2 GiB.
    pub fn finish(mut self, input: [usize; 3], classes: usize, metadata: Vec<(&str, String)>) -> Result<Vec<u8>> {
        let [height, width, channels] = input;
        self.graph.input.push(images_or_rows(INPUT, &[channels, height, width]));
        self.graph.output.push(images_or_rows(LOGITS, &[classes]));
        let metadata = metadata.into_iter();
        let model = Model {
            ir_version: Some(IR_VERSION),
            producer_name: Some("pocketflow".into()),
            producer_version: Some(env!("CARGO_PKG_VERSION").into()),
            graph: Some(self.graph),
            opset_import: vec![OperatorSet { domain: Some(String::new()), version: Some(OPSET) }],
            metadata_props: metadata
                .map(|(key, value)| StringPair { key: Some(key.into()), value: Some(value) })
                .collect(),
        };
        let length = model.encoded_len();
        if length > MAX_BYTES {
            let problem = format!("the network takes {length} bytes, and an .onnx file holds {MAX_BYTES}");
            return Err(Error::failed(format!("{problem}: export it to another format")));
        }
        Ok(model.encode_to_vec())
    }
}

/// A float tensor of any number of samples.
fn images_or_rows(name: &str, sizes: &[usize]) -> ValueInfo {
    let batch = Extent::Symbol("N".into());
    let sizes = sizes.iter().map(|size| Extent::Size(*size as i64));
    let dim = std::iter::once(batch).chain(sizes).map(|value| Dimension { value: Some(value) }).collect();
    let tensor = TensorType { elem_type: Some(DataType::Float as i32), shape: Some(Shape { dim }) };
    ValueInfo { name: Some(name.into()), r#type: Some(Type { tensor_type: Some(tensor) }) }
}

/// An attribute of one integer.
pub(crate) fn int(name: &str, value: usize) -> Attribute {
    Attribute { name: Some(name.into()), i: Some(value as i64), r#type: Some(Attribute::INT), ..Attribute::default() }
}

/// An attribute of one float.
pub(crate) fn float(name: &str, value: f32) -> Attribute {
    Attribute { name: Some(name.into()), f: Some(value), r#type: Some(Attribute::FLOAT), ..Attribute::default() }
}

/// An attribute of several integers.
pub(crate) fn ints(name: &str, values: &[usize]) -> Attribute {
    let ints = values.iter().map(|value| *value as i64).collect();
    Attribute { name: Some(name.into()), ints, r#type: Some(Attribute::INTS), ..Attribute::default() }
}
