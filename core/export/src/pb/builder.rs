//! Puts a GraphDef together: names that TensorFlow takes and that are unique, constants, nodes, and
//! the file around them.

use super::proto::{Attribute, DataType, Dimension, Graph, List, Node, Shape, Tensor, Value, Versions};
use super::{INPUT, LOGITS, PRODUCER};
use pocketflow::{Error, Result};
use prost::Message;
use std::collections::BTreeSet;

/// Protocol buffers end at 2 GiB.
const MAX_BYTES: usize = i32::MAX as usize;

/// An attribute and its name.
pub(crate) type Named = (&'static str, Value);

pub(crate) struct Builder {
    nodes: Vec<Node>,
    names: BTreeSet<String>,
}

impl Builder {
    pub fn new() -> Self {
        Self { nodes: Vec::new(), names: [INPUT, LOGITS].map(String::from).into() }
    }

    /// The images: any number of height, width, channels.
    pub fn placeholder(&mut self, [height, width, channels]: [usize; 3]) -> String {
        let sizes = [-1, height as i64, width as i64, channels as i64];
        let attributes = [("dtype", DataType::Float.attribute()), ("shape", Value::Shape(shape(&sizes)))];
        self.push(INPUT.into(), "Placeholder", &[], attributes.into())
    }

    /// The logits, under the name that users look for.
    pub fn logits(&mut self, input: &str) {
        self.push(LOGITS.into(), "Identity", &[input], vec![("T", DataType::Float.attribute())]);
    }

    /// Adds a node of float values; returns its name.
    pub fn node(&mut self, name: &str, op: &str, inputs: &[&str], mut attributes: Vec<Named>) -> String {
        attributes.push(("T", DataType::Float.attribute()));
        self.untyped(name, op, inputs, attributes)
    }

    /// Adds a node of an operator that has no type attribute.
    pub fn untyped(&mut self, name: &str, op: &str, inputs: &[&str], attributes: Vec<Named>) -> String {
        let name = self.unique(name);
        self.push(name, op, inputs, attributes)
    }

    /// Adds a constant; returns its name. `sizes` empty: a scalar.
    ///
    /// # Errors
    /// Values that do not make the shape.
    pub fn floats(&mut self, name: &str, values: &[f32], sizes: &[usize]) -> Result<String> {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, DataType::Float, values.len(), bytes, sizes)
    }

    /// As [`Builder::floats`].
    ///
    /// # Errors
    /// Values that do not make the shape.
    pub fn ints(&mut self, name: &str, values: &[i32], sizes: &[usize]) -> Result<String> {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, DataType::Int32, values.len(), bytes, sizes)
    }

    fn constant(&mut self, name: &str, of: DataType, held: usize, bytes: Vec<u8>, sizes: &[usize]) -> Result<String> {
        if sizes.iter().try_fold(1usize, |count, size| count.checked_mul(*size)) != Some(held) {
            return Err(Error::failed(format!("constant `{name}`: {held} values do not make the shape {sizes:?}")));
        }
        let sizes: Vec<i64> = sizes.iter().map(|size| *size as i64).collect();
        let tensor = Tensor { dtype: of as i32, tensor_shape: Some(shape(&sizes)), tensor_content: bytes };
        let attributes = vec![("dtype", of.attribute()), ("value", Value::Tensor(tensor))];
        Ok(self.untyped(name, "Const", &[], attributes))
    }

    fn push(&mut self, name: String, op: &str, inputs: &[&str], attributes: Vec<Named>) -> String {
        let attributes = attributes.into_iter();
        self.nodes.push(Node {
            name: name.clone(),
            op: op.into(),
            input: inputs.iter().map(|input| String::from(*input)).collect(),
            attr: attributes.map(|(key, value)| (key.into(), Attribute { value: Some(value) })).collect(),
        });
        name
    }

    /// The name as TensorFlow takes it (`[A-Za-z0-9.][A-Za-z0-9_.\-/]*`); where something has it
    /// already, with as many `_` as it takes.
    fn unique(&mut self, name: &str) -> String {
        let safe = |letter: char| match letter {
            'A'..='Z' | 'a'..='z' | '0'..='9' | '.' | '-' | '/' | '_' => letter,
            _ => '_',
        };
        let mut name: String = name.chars().map(safe).collect();
        if !name.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '.') {
            name.insert_str(0, "node");
        }
        while !self.names.insert(name.clone()) {
            name.push('_');
        }
        name
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// A graph beyond 2 GiB.
    pub fn finish(self) -> Result<Vec<u8>> {
        let graph = Graph { node: self.nodes, versions: Some(Versions { producer: PRODUCER, min_consumer: 0 }) };
        let length = graph.encoded_len();
        if length > MAX_BYTES {
            let problem = format!("the network takes {length} bytes, and a .pb file holds {MAX_BYTES}");
            return Err(Error::failed(format!("{problem}: export it to another format")));
        }
        Ok(graph.encode_to_vec())
    }
}

impl DataType {
    pub(crate) fn attribute(self) -> Value {
        Value::Type(self as i32)
    }
}

fn shape(sizes: &[i64]) -> Shape {
    Shape { dim: sizes.iter().map(|size| Dimension { size: *size }).collect() }
}

/// A string as an attribute.
pub(crate) fn text(value: &str) -> Value {
    Value::S(value.as_bytes().to_vec())
}

/// `[1, height, width, 1]`, as strides and windows have it in NHWC.
pub(crate) fn window(height: usize, width: usize) -> Value {
    Value::List(List { i: vec![1, height as i64, width as i64, 1] })
}
