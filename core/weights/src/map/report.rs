//! What an import matched and what not, for people and as data.

use pocketflow::{Error, Result};
use serde::Serialize;

/// A parameter that got a tensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Matched {
    /// The graph's name of the parameter.
    pub ours: String,
    /// The file's name of the tensor.
    pub theirs: String,
    /// Of the parameter.
    pub shape: Vec<usize>,
    /// The tensor's own shape, where it had further dimensions of 1 or lacked them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reshaped: Option<Vec<usize>>,
}

/// A parameter that no tensor is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Wanted {
    /// The graph's name of the parameter.
    pub ours: String,
    /// Of the parameter.
    pub shape: Vec<usize>,
}

/// A tensor that its parameter cannot take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Misfit {
    /// The graph's name of the parameter.
    pub ours: String,
    /// The file's name of the tensor.
    pub theirs: String,
    /// Why the tensor does not fit, in words.
    pub problem: String,
}

/// A tensor that no parameter is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unused {
    /// The file's name of the tensor.
    pub theirs: String,
    /// Of the tensor.
    pub shape: Vec<usize>,
}

/// A bias that the graph's layer does not have, subtracted from the mean of the batch normalisation
/// behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Absorbed {
    /// The file's name of the bias.
    pub theirs: String,
    /// The running mean.
    pub into: String,
}

/// What became of every tensor of a file and every parameter of a graph.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ImportReport {
    /// Parameters that have their tensor.
    pub matched: Vec<Matched>,
    /// Parameters without a tensor.
    pub missing: Vec<Wanted>,
    /// Parameters whose tensor does not fit.
    pub misfits: Vec<Misfit>,
    /// Tensors without a parameter.
    pub unused: Vec<Unused>,
    /// Tensors without a parameter that the file's network computes with: to leave them out would
    /// make another network.
    pub lacking: Vec<Unused>,
    /// What the file tells of its network and is otherwise in the net, a sentence each.
    pub differences: Vec<String>,
    /// Biases that became part of a running mean.
    pub absorbed: Vec<Absorbed>,
    /// Left out on purpose: counters of training, and what the map says.
    pub ignored: Vec<String>,
    /// The file knows one class less, and the background was put before them.
    pub background_added: bool,
    /// Batch normalisations that the file has folded into their layers, and that do nothing here
    /// but add the bias.
    pub folded: Vec<String>,
}

impl ImportReport {
    /// Every parameter has its tensor.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.misfits.is_empty()
    }

    /// # Errors
    /// Parameters without a tensor; the message lists the first of them, and of the tensors that
    /// are over. Tensors that the net has no place for and the file's network computes with; a net
    /// that the file says is another.
    pub fn check(&self) -> Result<()> {
        if self.is_complete() {
            return self.check_network();
        }
        let mut problems: Vec<String> = self
            .misfits
            .iter()
            .map(|misfit| format!("`{}` for `{}` {}", misfit.theirs, misfit.ours, misfit.problem))
            .collect();
        problems.extend(self.missing.iter().map(|wanted| format!("nothing for `{}` {:?}", wanted.ours, wanted.shape)));
        let unused: Vec<String> = (self.lacking.iter().chain(&self.unused))
            .map(|unused| format!("`{}` {:?}", unused.theirs, unused.shape))
            .collect();
        let unused = match unused.is_empty() {
            true => String::new(),
            false => format!("; unused in the file: {}", first(&unused, ", ")),
        };
        let by_order = match self.matched.is_empty() && self.misfits.is_empty() {
            true => "; where names say nothing, --match=order goes by order and shapes",
            false => "",
        };
        Err(Error::config(format!(
            "{} of {} parameters get no weights: {}{unused}. Check the net's options (size, version, shortcuts, nb_classes), or \
             name them in a file for --map{by_order}",
            problems.len(),
            problems.len() + self.matched.len(),
            first(&problems, "; "),
        )))
    }
}

impl ImportReport {
    /// That the weights, which fit, make the network that they are from.
    fn check_network(&self) -> Result<()> {
        if !self.lacking.is_empty() {
            let names: Vec<String> =
                self.lacking.iter().map(|tensor| format!("`{}` {:?}", tensor.theirs, tensor.shape)).collect();
            return Err(Error::config(format!(
                "the file's network computes with tensors that the net has no place for: {}. Without them it would be \
                 another network. Check the net and its options; what may be left out all the same gets an empty name \
                 in a file for --map: \"NAME\" = \"\"",
                first(&names, ", ")
            )));
        }
        if !self.differences.is_empty() {
            return Err(Error::config(format!(
                "the weights fit, but the file says that its network is another: {}. Check the net and its options \
                 (version, style, size, image_size)",
                first(&self.differences, "; ")
            )));
        }
        Ok(())
    }
}

/// As many as a message can carry.
fn first(texts: &[String], between: &str) -> String {
    const SHOWN: usize = 6;
    let more = texts.len().saturating_sub(SHOWN);
    let shown = texts[..texts.len() - more].join(between);
    if more == 0 { shown } else { format!("{shown}{between}and {more} more") }
}
