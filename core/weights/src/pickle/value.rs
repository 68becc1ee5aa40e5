//! What a pickle of weights is made of. Values lie in one list and refer to each other by index, so
//! that neither deep nesting nor cycles, which a forged pickle may hold, cost more than their place
//! in it.

use crate::element::Element;
use std::rc::Rc;

/// Index into [`Loaded::nodes`].
pub type Id = usize;

#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Rc<str>),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    /// In the order of insertion; a later pair replaces an earlier one of the same key.
    Dict(Vec<(Id, Id)>),
    Global(Global),
    /// Index into [`Loaded::storages`].
    Storage(usize),
    /// Index into [`Loaded::tensors`].
    Tensor(usize),
    /// Something beside the weights: bytes, a set, a huge number, an object of a class that is not
    /// known. What it is made of is not kept.
    Opaque,
}

/// The classes and functions that a pickle names. They are words here; none is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(Element),
    /// Any other. What is made by it is [`Node::Opaque`].
    Foreign,
}

impl Global {
    /// What a name means here.
    pub fn find(module: &str, name: &str) -> Self {
        match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            // The first is of PyTorch before 0.4.
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Self::RebuildParameter,
            ("torch", _) => Self::Storage(match name {
                "DoubleStorage" => Element::F64,
                "FloatStorage" => Element::F32,
                "HalfStorage" => Element::F16,
                "BFloat16Storage" => Element::Bf16,
                "LongStorage" => Element::I64,
                "IntStorage" => Element::I32,
                "ShortStorage" => Element::I16,
                "CharStorage" => Element::I8,
                "ByteStorage" => Element::U8,
                "BoolStorage" => Element::Bool,
                _ => return Self::Foreign,
            }),
            _ => Self::Foreign,
        }
    }
}

/// A run of numbers that lies elsewhere in the file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StorageRef {
    pub key: Rc<str>,
    pub element: Element,
    /// Numbers in it.
    pub len: usize,
}

/// A tensor over a storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorRef {
    /// Index into [`Loaded::storages`].
    pub storage: usize,
    /// Of the first number, in numbers.
    pub offset: usize,
    pub shape: Vec<usize>,
    /// In numbers, one for each dimension.
    pub strides: Vec<usize>,
}

/// A pickle as read.
#[derive(Debug)]
pub struct Loaded {
    pub nodes: Vec<Node>,
    pub storages: Vec<StorageRef>,
    pub tensors: Vec<TensorRef>,
    pub root: Id,
    /// The first class or function that is not known here, with its place.
    pub foreign: Option<(usize, String)>,
    /// Bytes that it took; others may follow.
    pub length: usize,
}

impl Loaded {
    pub fn text(&self, id: Id) -> Option<&str> {
        match &self.nodes[id] {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn int(&self, id: Id) -> Option<i64> {
        match self.nodes[id] {
            Node::Int(number) => Some(number),
            _ => None,
        }
    }

    pub fn tensor(&self, id: Id) -> Option<&TensorRef> {
        match self.nodes[id] {
            Node::Tensor(index) => Some(&self.tensors[index]),
            _ => None,
        }
    }

    /// The pairs of a dictionary whose keys are text.
    pub fn pairs(&self, id: Id) -> impl Iterator<Item = (&str, Id)> {
        let pairs: &[(Id, Id)] = match &self.nodes[id] {
            Node::Dict(pairs) => pairs,
            _ => &[],
        };
        pairs.iter().filter_map(|(key, value)| Some((self.text(*key)?, *value)))
    }
}
