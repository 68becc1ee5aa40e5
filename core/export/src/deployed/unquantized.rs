//! Why a model cannot be lowered as it is: what training left without the integers that a file
//! needs. Callers add how they are told to quantize it.

use pocketflow::{Error, names};

/// Why a model was not lowered.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LowerError {
    /// Not one layer has quantized weights.
    #[error("training left all layers in float: {}", listed(layers))]
    Float {
        /// All layers.
        layers: Vec<String>,
    },
    /// Codes that do not fit the target's type.
    #[error("these have more bits than the 8 of {target}: {}", listed(named))]
    Wide {
        /// The target's name.
        target: &'static str,
        /// Values and weights of layers, each with its bits.
        named: Vec<String>,
    },
    /// Values that are to be integers and lack a range.
    #[error("these values have no range: {}", listed(values))]
    WithoutRange {
        /// By node of the folded graph.
        values: Vec<String>,
    },
    /// A model that cannot be folded, exported or held.
    #[error(transparent)]
    Other(#[from] Error),
}

fn listed(all: &[String]) -> String {
    names::list(all.iter().map(String::as_str))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_layers_the_first_are_named() {
        let layers = (0..50_000).map(|layer| format!("conv{layer}")).collect();
        let said = LowerError::Float { layers }.to_string();
        assert!(said.ends_with("conv18, conv19 and 49980 more"), "{said}");
    }
}
