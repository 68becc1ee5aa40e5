//! The network as .tflite and .onnx files hold it, before either's format: integers, floats where
//! training left it so, or floats throughout.

mod layer;
mod lower;
pub(crate) mod lowering;
mod note;
mod unquantized;
mod weight_range;

pub use lower::{Lowered, lower, lower_to_floats, lower_within, without_range};
pub use note::{Fate, LayerNote};
pub use unquantized::LowerError;
pub use weight_range::WeightRange;

use pocketflow::graph::Op;
use pocketflow::integer::Target;
use pocketflow::{Error, Result};

/// A network of operators in execution order. Codes are those of the target: int8 −128…127, uint8
/// 0…255.
///
/// An operator computes with integers where everything that it reads and writes lies on grids; else
/// with floats, and what lies on a grid is decoded before and encoded after it
/// ([`DeployedNet::computes_in_float`]).
#[derive(Debug, Clone, PartialEq)]
pub struct DeployedNet {
    /// The graph's name: `resnet20_at_cifar10`.
    pub name: String,
    /// The type of the codes, where there are some.
    pub target: Target,
    /// All values, the images among them.
    pub values: Vec<Value>,
    /// In an order in which what they read is there.
    pub operators: Vec<Operator>,
    /// Index into `values` of the images and of the logits.
    pub input: usize,
    /// Index into `values` of the logits.
    pub output: usize,
    /// How pixels become the input's real values: (pixel − mean) / std by channel, then
    /// `values[input]`'s grid.
    pub mean: Vec<f32>,
    /// Standard deviation by channel, positive.
    pub std: Vec<f32>,
}

/// A value that operators read and write.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// The node whose output it is.
    pub name: String,
    /// `[height, width, channels]`; features are `[1, 1, n]`.
    pub shape: [usize; 3],
    /// `None`: float.
    pub grid: Option<Grid>,
}

/// value = scale · (code − zero point).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    /// Positive.
    pub scale: f32,
    /// In the target's codes: −128…127 or 0…255.
    pub zero_point: i32,
}

/// The activation function fused into an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activation {
    #[default]
    /// The value as it is.
    None,
    /// max(x, 0).
    Relu,
    /// min(max(x, 0), 6).
    Relu6,
}

#[derive(Debug, Clone, PartialEq)]
/// A node of the graph, with what is fused into it.
pub struct Operator {
    /// The node that it does; of fused nodes the layer's (or the sum's).
    pub name: String,
    /// A fully connected layer reads an image only in float; with integers it is a convolution
    /// with a kernel of the image's size.
    pub op: Op,
    /// Its weights, where it has some: of a fully connected layer on an image in the shape `[out,
    /// channels, height, width]`.
    pub layer: Option<Layer>,
    /// The numbers of an operator without weights: the slopes of a PReLU, one for each channel.
    pub constants: Vec<f32>,
    /// Indices into `values`: as many as the operator reads.
    pub inputs: Vec<usize>,
    /// Index into `values`.
    pub output: usize,
    /// Applied to what it writes.
    pub activation: Activation,
}

/// Weights and biases, one bias for each output.
#[derive(Debug, Clone, PartialEq)]
pub enum Layer {
    /// To compute with integers: biases on the grid of the products, whose scale is the input's
    /// times the weights'.
    Integer {
        /// As codes.
        weights: Weights,
        /// `[out]`, in steps of the products' grid.
        bias: Vec<i32>,
    },
    /// To compute with floats.
    Float {
        /// As floats, or as codes to be decoded.
        weights: FloatWeights,
        /// `[out]`.
        bias: Vec<f32>,
    },
}

/// Weights that are multiplied as floats.
#[derive(Debug, Clone, PartialEq)]
pub enum FloatWeights {
    /// Stored as codes, decoded when the file is loaded.
    Codes(Weights),
    /// Stored as they are.
    Values {
        /// `[out, in / groups, kh, kw]`.
        shape: [usize; 4],
        /// Row-major.
        values: Vec<f32>,
    },
}

/// The weights of a layer as codes.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// `[out, in / groups, kh, kw]`.
    pub shape: [usize; 4],
    /// In the target's codes, in the order of the shape.
    pub codes: Vec<i32>,
    /// One for the tensor or one for each output channel.
    pub scales: Vec<f32>,
    /// As many as scales. int8: all zero where they are multiplied as integers.
    pub zero_points: Vec<i32>,
}

impl Layer {
    /// `[out, in / groups, kh, kw]` of the weights.
    pub fn shape(&self) -> [usize; 4] {
        match self {
            Self::Integer { weights, .. } | Self::Float { weights: FloatWeights::Codes(weights), .. } => weights.shape,
            Self::Float { weights: FloatWeights::Values { shape, .. }, .. } => *shape,
        }
    }
}

impl Operator {
    /// The weights.
    ///
    /// # Errors
    /// It has none.
    pub(crate) fn layer(&self) -> Result<&Layer> {
        self.layer.as_ref().ok_or_else(|| Error::failed("it has no weights"))
    }
}

impl DeployedNet {
    /// Whether an operator computes with floats.
    ///
    /// # Errors
    /// Values that do not exist; weights for integers between values that are not.
    pub fn computes_in_float(&self, operator: &Operator) -> Result<bool> {
        let count = self.values.len();
        let float = |index: &usize| {
            let value = self.values.get(*index);
            value
                .map(|value| value.grid.is_none())
                .ok_or_else(|| Error::failed(format!("there is no value {index} of {count}")))
        };
        let values = operator.inputs.iter().chain([&operator.output]).map(float).collect::<Result<Vec<bool>>>()?;
        let values = values.contains(&true);
        match operator.layer {
            Some(Layer::Integer { .. }) if values => {
                Err(Error::failed("it has weights for integers and reads or writes floats"))
            }
            Some(Layer::Float { .. }) => Ok(true),
            _ => Ok(values),
        }
    }
}
