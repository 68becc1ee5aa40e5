//! A .tflite model as plain data: what the file's FlatBuffers tables say, for the operators that
//! image classifiers use. Reader, writer, interpreter and tests meet here.

use crate::deployed::Activation;

/// A model with one subgraph.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TfliteModel {
    pub description: String,
    pub tensors: Vec<Tensor>,
    /// In execution order.
    pub operators: Vec<Operator>,
    /// Indices into [`TfliteModel::tensors`].
    pub inputs: Vec<usize>,
    pub outputs: Vec<usize>,
    /// The signature's key with the names of its inputs and outputs: `serving_default`.
    pub signature: Option<Signature>,
    /// What is embedded beside the graph: name and contents (`TFLITE_METADATA`,
    /// `min_runtime_version`).
    pub metadata: Vec<(String, Vec<u8>)>,
    /// Files packed behind the model, as the Task Library reads them: `labels.txt`.
    pub files: Vec<(String, Vec<u8>)>,
}

/// Names by which a program addresses inputs and outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    pub key: String,
    /// Name and tensor index.
    pub inputs: Vec<(String, usize)>,
    pub outputs: Vec<(String, usize)>,
}

/// Types of elements; all numbers in buffers are little endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DType {
    Float32,
    Int8,
    Uint8,
    Int32,
    Int64,
}

impl DType {
    pub const COUNT: usize = 5;

    /// Bytes of an element.
    pub fn size(self) -> usize {
        match self {
            Self::Int8 | Self::Uint8 => 1,
            Self::Float32 | Self::Int32 => 4,
            Self::Int64 => 8,
        }
    }
}

/// value = scale · (code − zero point), per tensor (one scale) or per slice of `axis`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Quantization {
    pub scales: Vec<f32>,
    /// As many as scales.
    pub zero_points: Vec<i64>,
    /// Ranges that the scales were made from; often empty.
    pub min: Vec<f32>,
    pub max: Vec<f32>,
    /// The dimension that the scales run along, where there are several.
    pub axis: usize,
}

/// A tensor; a constant where it has data.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    pub name: String,
    /// Activations are `[n, h, w, c]` or `[n, features]` with n = 1.
    pub shape: Vec<usize>,
    pub dtype: DType,
    pub quantization: Option<Quantization>,
    /// Row-major, as long as shape and type say; `None` for what is computed.
    pub data: Option<Vec<u8>>,
}

/// One operator with the tensors it reads and writes; an optional input that is absent is `None`.
#[derive(Debug, Clone, PartialEq)]
pub struct Operator {
    pub kind: Kind,
    pub inputs: Vec<Option<usize>>,
    pub outputs: Vec<usize>,
}

/// TensorFlow's padding: SAME pads so that the output has ⌈size / stride⌉ pixels, the odd pixel at
/// the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    Same,
    Valid,
}

/// Operators with their options.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// Input, filter `[out, kh, kw, in / groups]`, bias `[out]`: as many groups as the filter says.
    Conv2d {
        stride: [usize; 2],
        padding: Padding,
        dilation: [usize; 2],
        activation: Activation,
    },
    /// Input, filter `[1, kh, kw, in · multiplier]`, bias.
    DepthwiseConv2d {
        stride: [usize; 2],
        padding: Padding,
        dilation: [usize; 2],
        multiplier: usize,
        activation: Activation,
    },
    /// Input, filter `[out, in]`, bias.
    FullyConnected {
        activation: Activation,
    },
    /// Two inputs, of which one may repeat along dimensions of 1.
    Add {
        activation: Activation,
    },
    /// As [`Kind::Add`].
    Mul {
        activation: Activation,
    },
    /// Inputs of one grid, behind each other along `axis`.
    Concatenation {
        axis: i32,
        activation: Activation,
    },
    AveragePool2d {
        filter: [usize; 2],
        stride: [usize; 2],
        padding: Padding,
        activation: Activation,
    },
    MaxPool2d {
        filter: [usize; 2],
        stride: [usize; 2],
        padding: Padding,
        activation: Activation,
    },
    /// Input, int32 axes; `keep_dims`.
    Mean {
        keep_dims: bool,
    },
    /// Input, int32 `[rank, 2]` paddings.
    Pad,
    /// As [`Kind::Pad`], and the value around the input, on its grid.
    PadV2,
    /// Input, int32 permutation.
    Transpose,
    LeakyRelu {
        alpha: f32,
    },
    /// Input, constant slopes that repeat along dimensions of 1.
    Prelu,
    /// Input, int32 begin, end, strides `[rank]`; masks as TensorFlow has them.
    StridedSlice {
        begin_mask: i32,
        end_mask: i32,
    },
    /// Input, optional int32 shape.
    Reshape {
        shape: Vec<i32>,
    },
    Softmax {
        beta: f32,
    },
    Relu,
    Relu6,
    Quantize,
    Dequantize,
    /// Anything else, by its builtin code: read; written and run where an operator of ours is it.
    Other {
        code: i32,
    },
}
