//! What can be wrong with a file of weights.

use pocketflow::names::shown;

/// Keys with numbers of tensors, for people.
fn dictionaries(there: &[(String, usize)]) -> String {
    let one = |(key, tensors): &(String, usize)| match key.as_str() {
        "" => format!("the whole ({tensors} tensors)"),
        key => format!("`{}` ({tensors} tensors)", shown(key)),
    };
    match there.is_empty() {
        true => "none".into(),
        false => there.iter().map(one).collect::<Vec<_>>().join(", "),
    }
}

/// Why a file of weights is refused.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    #[error("it cannot be read")]
    Io(#[from] std::io::Error),
    #[error("it is no .safetensors, PyTorch or .tflite file")]
    Unknown,
    /// Something else that is known by how it begins.
    #[error("it is {what}, no file of weights")]
    Other { what: &'static str, advice: &'static str },
    /// Several dictionaries of tensors; their keys, and how many tensors each has.
    #[error("it holds several dictionaries of tensors: {}", dictionaries(there))]
    Several { there: Vec<(String, usize)> },
    #[error("it holds no dictionary of tensors under `{}`; there are {}", shown(key), dictionaries(there))]
    Key { key: String, there: Vec<(String, usize)> },
    #[error("it is damaged: {0}")]
    Malformed(String),
    /// Offsets count from the start of the pickle.
    #[error("its pickle, at byte {at}: {problem}")]
    Pickle { at: usize, problem: String },
    /// A class or function that the pickle names, and that is not known to be data.
    #[error("its pickle, at byte {at}, asks for `{}`, which is code and no weights; nothing was run", shown(name))]
    Code { at: usize, name: String },
    #[error("its tensor `{}` {problem}", shown(name))]
    Tensor { name: String, problem: String },
}

impl WeightsError {
    /// What the user can do about it.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Io(_) => "check the disk",
            Self::Unknown => "give a .safetensors or .tflite file, or a .pth file written by torch.save",
            Self::Malformed(_) | Self::Pickle { .. } | Self::Tensor { .. } => "fetch or save it again",
            Self::Other { advice, .. } => advice,
            Self::Several { .. } | Self::Key { .. } => "choose one by its key (--key)",
            Self::Code { .. } => "save only the weights: torch.save(model.state_dict(), FILE)",
        }
    }
}
