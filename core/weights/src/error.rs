//! What can be wrong with a file of weights.

use pocketflow::ErrorKind;
use pocketflow::names::shown;

/// Why a file of weights is refused.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    #[error("it cannot be read")]
    /// The system does not give its bytes.
    Io(#[from] std::io::Error),
    #[error("it is no .safetensors, PyTorch or .tflite file")]
    /// No format that is known.
    Unknown,
    #[error("it is damaged: {0}")]
    /// Bytes that contradict each other, in words.
    Malformed(String),
    /// Offsets count from the start of the pickle.
    #[error("its pickle, at byte {at}: {problem}")]
    Pickle {
        /// Bytes before it.
        at: usize,
        /// What is wrong, in words.
        problem: String,
    },
    /// A class or function that the pickle names, and that is not known to be data.
    #[error("its pickle, at byte {at}, asks for `{}`, which is code and no weights; nothing was run", shown(name))]
    Code {
        /// Bytes before it.
        at: usize,
        /// With its module.
        name: String,
    },
    /// A tensor that cannot be read.
    #[error("its tensor `{}` {problem}", shown(name))]
    Tensor {
        /// As the file has it.
        name: String,
        /// What is wrong, as the end of a sentence.
        problem: String,
    },
    /// Something else than weights, in a whole sentence that says what to do.
    #[error("{0}")]
    Other(String),
    /// More than one network, of which none was chosen.
    #[error("it holds several state dictionaries, under {}", listed(keys))]
    Several {
        /// What chooses one.
        keys: Vec<String>,
    },
    /// A key under which there is no network.
    #[error("it holds no tensors under `{}`; there are some under {}", shown(key), listed(keys))]
    Key {
        /// What was asked for.
        key: String,
        /// What can be asked for.
        keys: Vec<String>,
    },
}

/// Keys for a message.
fn listed(keys: &[String]) -> String {
    const SHOWN: usize = 12;
    let names: Vec<String> = keys.iter().take(SHOWN).map(|key| format!("`{}`", shown(key))).collect();
    match names.is_empty() {
        true => "no key".into(),
        false if keys.len() > SHOWN => format!("{} and {} more", names.join(", "), keys.len() - SHOWN),
        false => names.join(", "),
    }
}

impl WeightsError {
    /// Whose mistake it is: the file's, or that of who chose what is in it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Several { .. } | Self::Key { .. } => ErrorKind::Config,
            _ => ErrorKind::Failed,
        }
    }

    /// What the user can do about it.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Io(_) => "check the disk",
            Self::Unknown => "give a .safetensors or .tflite file, or a .pth file written by torch.save",
            Self::Malformed(_) | Self::Pickle { .. } | Self::Tensor { .. } => "fetch or save it again",
            Self::Other(_) => "nothing was imported",
            Self::Several { .. } | Self::Key { .. } => "choose one by --key=KEY",
            Self::Code { .. } => "save only the weights: torch.save(model.state_dict(), FILE)",
        }
    }
}
