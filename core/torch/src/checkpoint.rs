//! Everything that a training needs to go on, in one file: weights, optimizer, ranges, step. A run resumed from it ends in the same
//! bits as one that was never interrupted, because batches depend only on seed and step.

use crate::network::Network;
use crate::optimizer::Optimizer;
use pocketflow::tensors::{Stored, TensorFile};
use pocketflow::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const KIND: &str = "checkpoint";

/// Where a training stands, and what it must agree on with the one that goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    pub phase: String,
    pub graph: String,
    pub dataset: String,
    pub seed: u64,
    pub batch_size: u64,
    pub total_steps: u64,
    /// Steps done.
    pub step: u64,
    /// Seconds of training so far.
    pub seconds: f64,
}

/// The checkpoint file of a phase in a run's folder.
pub fn path(run_dir: &Path, phase: &str) -> PathBuf {
    run_dir.join("checkpoints").join(format!("{phase}.ckpt"))
}

/// What became of a checkpoint.
#[derive(Debug, PartialEq, Eq)]
pub enum Saved {
    Yes,
    /// Not written, because a value is no finite number (which); the previous checkpoint is the last good one.
    NotFinite(String),
}

/// Writes a checkpoint; the previous one stays until this one is complete.
///
/// # Errors
/// A folder that cannot be written.
pub fn save(path: &Path, progress: &Progress, network: &Network, optimizer: &Optimizer) -> Result<Saved> {
    let groups = [("param", network.values()?), ("range", network.range_state()?), ("optimizer", optimizer.state()?)];
    let mut tensors = BTreeMap::new();
    for (group, values) in groups {
        for (name, values) in values {
            if let Some(bad) = values.iter().find(|value| !value.is_finite()) {
                return Ok(Saved::NotFinite(format!("`{name}` holds {bad}")));
            }
            tensors.insert(format!("{group}/{name}"), Stored::Full { shape: vec![values.len()], values });
        }
    }
    let header = serde_json::to_value(progress).map_err(|error| Error::failed(error.to_string()))?;
    TensorFile { kind: KIND.into(), header, tensors }.write(path)?;
    Ok(Saved::Yes)
}

/// Takes a checkpoint over and says where the training stands.
///
/// # Errors
/// A file that is damaged, or of another training than `expected` (whose `step` and `seconds` do not count).
pub fn load(path: &Path, expected: &Progress, network: &mut Network, optimizer: &mut Optimizer) -> Result<Progress> {
    let file = TensorFile::read(path)?;
    let refuse = |problem: String| Error::config(problem).context(format!("cannot resume from {}", path.display()));
    if file.kind != KIND {
        return Err(refuse(format!("it is a {}, not a checkpoint", file.kind)));
    }
    let found: Progress = serde_json::from_value(file.header).map_err(|error| refuse(error.to_string()))?;
    let facts = |progress: &Progress| {
        [
            ("phase", progress.phase.clone()),
            ("net", progress.graph.clone()),
            ("dataset", progress.dataset.clone()),
            ("seed", progress.seed.to_string()),
            ("batch_size", progress.batch_size.to_string()),
            ("steps in all", progress.total_steps.to_string()),
        ]
    };
    for ((what, theirs), (_, ours)) in facts(&found).into_iter().zip(facts(expected)) {
        if theirs != ours {
            return Err(refuse(format!("its {what} is {theirs}, this run's is {ours}; give the same settings")));
        }
    }
    let mut groups: BTreeMap<String, BTreeMap<String, Vec<f32>>> = BTreeMap::new();
    for (name, stored) in file.tensors {
        let (group, name) = name.split_once('/').unwrap_or(("", &name));
        groups.entry(group.to_owned()).or_default().insert(name.to_owned(), stored.values()?);
    }
    let empty = BTreeMap::new();
    let group = |name: &str| groups.get(name).unwrap_or(&empty);
    let taken = network
        .set_values(group("param"))
        .and_then(|()| network.set_range_state(group("range")))
        .and_then(|()| optimizer.set_state(group("optimizer"), found.step as i64));
    taken.map_err(|error| error.context(format!("cannot resume from {}", path.display())))?;
    Ok(found)
}
