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
    /// A part of a storage, as files before PyTorch 0.4 have it: index into [`Loaded::storages`],
    /// and its first number.
    Storage(usize, usize),
    /// Index into [`Loaded::tensors`].
    Tensor(usize),
    /// What is neither weights nor a way to them. Of a class or function that is not known: index
    /// into [`Loaded::foreign`].
    Opaque(Option<usize>),
}

/// The classes and functions that a pickle may name. They are words here; none is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Global {
    OrderedDict,
    /// Of a storage, an offset, a shape and strides; the first argument of it may be a tensor, too.
    RebuildTensor,
    RebuildParameter,
    /// Of another function, a type, that function's arguments and attributes.
    RebuildFromType,
    /// Of a type of number that came later: `uint16`, the eight-bit floats.
    RebuildNewType,
    Storage(Element),
    /// Of numbers that are not read; how many bytes each takes.
    OtherStorage(u8),
    /// Anything else: index into [`Loaded::foreign`].
    Foreign(usize),
}

impl Global {
    /// `None`: not known to be data.
    pub fn find(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_tensor_v3") => Self::RebuildNewType,
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Self::RebuildParameter,
            ("torch._tensor", "_rebuild_from_type_v2") => Self::RebuildFromType,
            ("torch.storage", "UntypedStorage") => Self::OtherStorage(1),
            ("torch", "UntypedStorage" | "QInt8Storage" | "QUInt8Storage") => Self::OtherStorage(1),
            ("torch", "QInt32Storage") => Self::OtherStorage(4),
            ("torch", "ComplexFloatStorage") => Self::OtherStorage(8),
            ("torch", "ComplexDoubleStorage") => Self::OtherStorage(16),
            ("torch" | "torch.cuda", _) => Self::Storage(match name {
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
                _ => return None,
            }),
            _ => return None,
        })
    }
}

/// A run of numbers that lies elsewhere in the file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StorageRef {
    pub key: Rc<str>,
    pub kind: StorageKind,
    /// Numbers in it.
    pub len: usize,
}

/// The numbers of a storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StorageKind {
    Of(Element),
    /// Not read; how many bytes each takes.
    Other(u8),
}

impl StorageKind {
    /// Bytes of one number.
    pub fn size(self) -> usize {
        match self {
            Self::Of(element) => element.size(),
            Self::Other(bytes) => bytes.into(),
        }
    }
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
    /// Of numbers that are not read, whatever its storage says.
    pub of_new_type: bool,
}

/// A class or function that a pickle names and that is not known to be data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    /// Of the opcode that names it, from the start of the pickle.
    pub at: usize,
    /// With its module.
    pub name: String,
}

/// A pickle as read.
#[derive(Debug, Default)]
pub struct Loaded {
    pub nodes: Vec<Node>,
    pub foreign: Vec<Foreign>,
    pub storages: Vec<StorageRef>,
    pub tensors: Vec<TensorRef>,
    pub root: Id,
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
