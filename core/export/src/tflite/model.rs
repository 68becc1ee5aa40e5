//! A .tflite model as plain data: what the file's FlatBuffers tables say, for the operators that
//! image classifiers use. Reader, writer, interpreter and tests meet here.

use crate::deployed::Activation;

/// A model with one subgraph.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TfliteModel {
    /// For people; may be empty.
    pub description: String,
    /// In no order; operators, inputs and outputs name them by index.
    pub tensors: Vec<Tensor>,
    /// In execution order.
    pub operators: Vec<Operator>,
    /// Indices into [`TfliteModel::tensors`].
    pub inputs: Vec<usize>,
    /// Indices into [`TfliteModel::tensors`].
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
    /// Names the signature: `serving_default`.
    pub key: String,
    /// Name and tensor index.
    pub inputs: Vec<(String, usize)>,
    /// Name and tensor index.
    pub outputs: Vec<(String, usize)>,
}

/// Types of elements; all numbers in buffers are little endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DType {
    /// IEEE single precision.
    Float32,
    /// Signed, 8 bits.
    Int8,
    /// Unsigned, 8 bits.
    Uint8,
    /// Signed, 32 bits: biases, axes, sizes.
    Int32,
    /// Signed, 64 bits; no operator computes with it.
    Int64,
}

impl DType {
    /// Number of types: a bound for tables by type.
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
    /// Distance of two neighbouring values, for the tensor or for each slice of `axis`.
    pub scales: Vec<f32>,
    /// As many as scales.
    pub zero_points: Vec<i64>,
    /// Ranges that the scales were made from; often empty.
    pub min: Vec<f32>,
    /// As `min`.
    pub max: Vec<f32>,
    /// The dimension that the scales run along, where there are several.
    pub axis: usize,
}

/// A tensor; a constant where it has data.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// As the file has it; may be empty, and need not be unique.
    pub name: String,
    /// Activations are `[n, h, w, c]` or `[n, features]` with n = 1.
    pub shape: Vec<usize>,
    /// Type of the elements.
    pub dtype: DType,
    /// What the codes mean; `None`: the elements mean themselves.
    pub quantization: Option<Quantization>,
    /// Row-major, as long as shape and type say; `None` for what is computed.
    pub data: Option<Vec<u8>>,
}

/// One operator with the tensors it reads and writes; an optional input that is absent is `None`.
#[derive(Debug, Clone, PartialEq)]
pub struct Operator {
    /// What it computes, with its options.
    pub kind: Kind,
    /// Indices into [`TfliteModel::tensors`], in the order that [`Kind`] says.
    pub inputs: Vec<Option<usize>>,
    /// Indices into [`TfliteModel::tensors`]; one, for every operator that is computed here.
    pub outputs: Vec<usize>,
}

/// TensorFlow's padding: SAME pads so that the output has ⌈size / stride⌉ pixels, the odd pixel at
/// the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// The output has ⌈size / stride⌉ pixels.
    Same,
    /// No padding: windows lie within the input.
    Valid,
}

/// Operators with their options.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// Input, filter `[out, kh, kw, in / groups]`, bias `[out]`: as many groups as the filter says.
    Conv2d {
        /// From one window to the next: height, width.
        stride: [usize; 2],
        /// Around the input.
        padding: Padding,
        /// From one tap of the filter to the next: height, width; 1 is none.
        dilation: [usize; 2],
        /// Applied to the result.
        activation: Activation,
    },
    /// Input, filter `[1, kh, kw, in · multiplier]`, bias.
    DepthwiseConv2d {
        /// From one window to the next: height, width.
        stride: [usize; 2],
        /// Around the input.
        padding: Padding,
        /// From one tap of the filter to the next: height, width; 1 is none.
        dilation: [usize; 2],
        /// Output channels for each input channel.
        multiplier: usize,
        /// Applied to the result.
        activation: Activation,
    },
    /// Input, filter `[out, in]`, bias.
    FullyConnected {
        /// Applied to the result.
        activation: Activation,
    },
    /// Two inputs, of which one may repeat along dimensions of 1.
    Add {
        /// Applied to the result.
        activation: Activation,
    },
    /// As [`Kind::Add`].
    Mul {
        /// Applied to the result.
        activation: Activation,
    },
    /// Inputs of one grid, behind each other along `axis`.
    Concatenation {
        /// The dimension; from the last where negative: −1 is the last.
        axis: i32,
        /// Applied to the result.
        activation: Activation,
    },
    /// Input; the mean of the pixels of each window that lie within it.
    AveragePool2d {
        /// Size of a window: height, width.
        filter: [usize; 2],
        /// From one window to the next: height, width.
        stride: [usize; 2],
        /// Around the input.
        padding: Padding,
        /// Applied to the result.
        activation: Activation,
    },
    /// Input; the largest value of each window.
    MaxPool2d {
        /// Size of a window: height, width.
        filter: [usize; 2],
        /// From one window to the next: height, width.
        stride: [usize; 2],
        /// Around the input.
        padding: Padding,
        /// Applied to the result.
        activation: Activation,
    },
    /// Input, int32 axes; `keep_dims`.
    Mean {
        /// Whether the dimensions of the mean stay, with size 1.
        keep_dims: bool,
    },
    /// Input, int32 `[rank, 2]` paddings.
    Pad,
    /// As [`Kind::Pad`], and the value around the input, on its grid.
    PadV2,
    /// Input, int32 permutation.
    Transpose,
    /// Input; values below zero are multiplied by `alpha`.
    LeakyRelu {
        /// The slope below zero.
        alpha: f32,
    },
    /// Input, constant slopes that repeat along dimensions of 1.
    Prelu,
    /// Input, int32 begin, end, strides `[rank]`; masks as TensorFlow has them.
    StridedSlice {
        /// Bit i: `begin` of dimension i is of no meaning, and the slice begins at the first
        /// element.
        begin_mask: i32,
        /// Bit i: `end` of dimension i is of no meaning, and the slice goes on to the last element.
        end_mask: i32,
    },
    /// Input, optional int32 shape.
    Reshape {
        /// The new sizes; −1 in one place stands for what is left.
        shape: Vec<i32>,
    },
    /// Input; exp(beta · x), divided by its sum along the last dimension.
    Softmax {
        /// Factor on the input.
        beta: f32,
    },
    /// Input; max(x, 0).
    Relu,
    /// Input; min(max(x, 0), 6).
    Relu6,
    /// Input, float or codes; its values as codes of the output's grid.
    Quantize,
    /// Input, codes; its values as floats.
    Dequantize,
    /// Anything else, by its builtin code: read; written and run where an operator of ours is it.
    Other {
        /// The number of `BuiltinOperator` in TensorFlow Lite's schema.
        code: i32,
    },
}
