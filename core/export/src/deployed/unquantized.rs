//! Why a model cannot be lowered as it is: what training left without the integers that a file
//! needs. Callers add how they are told to quantize it.

use pocketflow::Error;

/// Why a model was not lowered.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LowerError {
    /// Not one layer has quantized weights.
    #[error("training left all layers in float: {}", layers.join(", "))]
    Float {
        /// All layers.
        layers: Vec<String>,
    },
    /// Codes that do not fit the target's type.
    #[error("these have more bits than the 8 of {target}: {}", named.join(", "))]
    Wide {
        /// The target's name.
        target: &'static str,
        /// Values and weights of layers, each with its bits.
        named: Vec<String>,
    },
    /// Values that are to be integers and lack a range.
    #[error("these values have no range: {}", values.join(", "))]
    WithoutRange {
        /// By node of the folded graph.
        values: Vec<String>,
    },
    /// A model that cannot be folded, exported or held.
    #[error(transparent)]
    Other(#[from] Error),
}

impl LowerError {
    /// Whether the model can be lowered once what training left is quantized after it.
    pub fn is_unquantized(&self) -> bool {
        !matches!(self, Self::Other(_))
    }
}

impl From<LowerError> for Error {
    fn from(error: LowerError) -> Self {
        match error {
            LowerError::Other(error) => error,
            unquantized => Self::config(unquantized.to_string()),
        }
    }
}
