//! The messages of a frozen TensorFlow graph that our files use, with the field numbers of the
//! public protos of TensorFlow 2 (in `tensorflow/core/framework`: `graph.proto`, `node_def.proto`,
//! `attr_value.proto`, `tensor.proto`, `tensor_shape.proto`, `types.proto`, `versions.proto`;
//! proto3). Fields that we never write are left out; a reader of ours skips them.

use std::collections::BTreeMap;

/// `GraphDef`: a whole file.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Graph {
    #[prost(message, repeated, tag = "1")]
    pub node: Vec<Node>,
    #[prost(message, optional, tag = "4")]
    pub versions: Option<Versions>,
}

/// `VersionDef`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Versions {
    #[prost(int32, tag = "1")]
    pub producer: i32,
    #[prost(int32, tag = "2")]
    pub min_consumer: i32,
}

/// `NodeDef`: attributes sorted, so that the same network gives the same bytes.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Node {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub op: String,
    /// Names of nodes, whose first output is meant.
    #[prost(string, repeated, tag = "3")]
    pub input: Vec<String>,
    #[prost(btree_map = "string, message", tag = "5")]
    pub attr: BTreeMap<String, Attribute>,
}

/// `AttrValue`
#[derive(Clone, PartialEq, prost::Message)]
pub struct Attribute {
    #[prost(oneof = "Value", tags = "1, 2, 3, 4, 5, 6, 7, 8")]
    pub value: Option<Value>,
}

/// The `value` of an `AttrValue`.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Value {
    #[prost(message, tag = "1")]
    List(List),
    /// A string.
    #[prost(bytes, tag = "2")]
    S(Vec<u8>),
    #[prost(int64, tag = "3")]
    I(i64),
    #[prost(float, tag = "4")]
    F(f32),
    #[prost(bool, tag = "5")]
    B(bool),
    #[prost(enumeration = "DataType", tag = "6")]
    Type(i32),
    #[prost(message, tag = "7")]
    Shape(Shape),
    #[prost(message, tag = "8")]
    Tensor(Tensor),
}

/// `AttrValue.ListValue` of integers.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct List {
    #[prost(int64, repeated, tag = "3")]
    pub i: Vec<i64>,
}

/// `TensorProto`, its values as little-endian bytes.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Tensor {
    #[prost(enumeration = "DataType", tag = "1")]
    pub dtype: i32,
    #[prost(message, optional, tag = "2")]
    pub tensor_shape: Option<Shape>,
    #[prost(bytes = "vec", tag = "4")]
    pub tensor_content: Vec<u8>,
}

/// `TensorShapeProto`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Shape {
    #[prost(message, repeated, tag = "2")]
    pub dim: Vec<Dimension>,
}

/// `TensorShapeProto.Dim`; −1 is any size.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Dimension {
    #[prost(int64, tag = "1")]
    pub size: i64,
}

/// `DataType`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum DataType {
    Invalid = 0,
    Float = 1,
    Int32 = 3,
}
