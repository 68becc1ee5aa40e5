//! What an import matched and what not, for people and as data.

use pocketflow::{Error, Result};
use serde::Serialize;

/// A parameter that got a tensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Matched {
    pub ours: String,
    pub theirs: String,
    pub shape: Vec<usize>,
    /// The tensor's own shape, where it had further dimensions of 1 or lacked them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reshaped: Option<Vec<usize>>,
}

/// A parameter that no tensor is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Wanted {
    pub ours: String,
    pub shape: Vec<usize>,
}

/// A tensor that its parameter cannot take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Misfit {
    pub ours: String,
    pub theirs: String,
    pub problem: String,
}

/// A tensor that no parameter is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unused {
    pub theirs: String,
    pub shape: Vec<usize>,
}

/// What became of every tensor of a file and every parameter of a graph.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ImportReport {
    pub matched: Vec<Matched>,
    pub missing: Vec<Wanted>,
    pub misfits: Vec<Misfit>,
    pub unused: Vec<Unused>,
    /// Left out on purpose: counters of training, and what the map says.
    pub ignored: Vec<String>,
    /// The file knows one class less, and the background was put before them.
    pub background_added: bool,
    /// Batch normalisations that the file has folded into their layers, and that do nothing here but add the bias.
    pub folded: Vec<String>,
}

impl ImportReport {
    /// Every parameter has its tensor.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.misfits.is_empty()
    }

    /// # Errors
    /// Parameters without a tensor; the message lists the first of them, and of the tensors that are over.
    pub fn check(&self) -> Result<()> {
        if self.is_complete() {
            return Ok(());
        }
        let mut problems: Vec<String> = self
            .misfits
            .iter()
            .map(|misfit| format!("`{}` for `{}` {}", misfit.theirs, misfit.ours, misfit.problem))
            .collect();
        problems.extend(self.missing.iter().map(|wanted| format!("nothing for `{}` {:?}", wanted.ours, wanted.shape)));
        let unused: Vec<String> =
            self.unused.iter().map(|unused| format!("`{}` {:?}", unused.theirs, unused.shape)).collect();
        let unused = match unused.is_empty() {
            true => String::new(),
            false => format!("; unused in the file: {}", first(&unused, ", ")),
        };
        Err(Error::config(format!(
            "{} of {} parameters get no weights: {}{unused}. Check the net's options (size, version, shortcuts, nb_classes), or \
             name them in a file for --map",
            problems.len(),
            problems.len() + self.matched.len(),
            first(&problems, "; "),
        )))
    }
}

/// As many as a message can carry.
fn first(texts: &[String], between: &str) -> String {
    const SHOWN: usize = 6;
    let more = texts.len().saturating_sub(SHOWN);
    let shown = texts[..texts.len() - more].join(between);
    if more == 0 { shown } else { format!("{shown}{between}and {more} more") }
}
