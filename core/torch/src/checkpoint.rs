//! Everything that a training needs to go on, in one file: weights, optimizer, quantizers, step. A run
//! resumed from it ends in the same bits as one that was never interrupted, because batches depend
//! only on seed and step; so does one resumed from the file before it.

use crate::evaluate::Metrics;
use crate::network::Network;
use crate::optimizer::Optimizer;
use pocketflow::checkpoints::{Checkpoints, Found, KIND, Unusable};
use pocketflow::tensors::{Stored, TensorFile};
use pocketflow::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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
    /// The last evaluation.
    #[serde(default)]
    pub last: Option<Metrics>,
    /// Whether an epoch ended at this step and its evaluation is still to be made.
    #[serde(default)]
    pub evaluation_due: bool,
}

/// What became of a checkpoint.
#[derive(Debug, PartialEq, Eq)]
pub enum Saved {
    Yes,
    /// Not written, because a value is no finite number (which); the previous checkpoint is the
    /// last good one.
    NotFinite(String),
}

/// Writes a checkpoint; the one before it stays.
///
/// # Errors
/// A folder that cannot be written.
pub fn save(to: &Checkpoints, progress: &Progress, network: &Network, optimizer: &Optimizer) -> Result<Saved> {
    let groups = [
        ("param", network.values()?),
        ("range", network.quantizer_state()?),
        ("learned", network.learned()?),
        ("optimizer", optimizer.state()?),
    ];
    let mut tensors = BTreeMap::new();
    for (group, values) in groups {
        for (name, values) in values {
            if let Some(bad) = not_finite(&values) {
                return Ok(Saved::NotFinite(format!("`{name}` holds {bad}")));
            }
            tensors.insert(format!("{group}/{name}"), Stored::Full { shape: vec![values.len()], values });
        }
    }
    let header = serde_json::to_value(progress).map_err(|error| Error::failed(error.to_string()))?;
    to.write(&TensorFile { kind: KIND.into(), header, tensors })?;
    Ok(Saved::Yes)
}

fn not_finite(values: &[f32]) -> Option<f32> {
    values.iter().copied().find(|value| !value.is_finite())
}

/// What a checkpoint holds: `param`, `range`, `learned` and `optimizer`, each with its values by
/// name. `range` is what quantizers keep, whatever it is: ranges came first.
type Groups = BTreeMap<String, BTreeMap<String, Vec<f32>>>;

/// Takes the newest checkpoint over that is whole, and says where the training stands; `None` where
/// there is none.
///
/// # Errors
/// All that there are are damaged; one of another training than `expected` (whose `step` and
/// `seconds` do not count).
pub fn load(
    from: &Checkpoints,
    expected: &Progress,
    network: &mut Network,
    optimizer: &mut Optimizer,
) -> Result<Option<Found<Progress>>> {
    let Some(found) = from.read(|file| parse(file, expected))? else { return Ok(None) };
    let Found { state: (progress, groups), warning } = found;
    let empty = BTreeMap::new();
    let group = |name: &str| groups.get(name).unwrap_or(&empty);
    let taken = network
        .set_values(group("param"))
        .and_then(|()| network.set_quantizer_state(group("range")))
        .and_then(|()| network.set_learned(group("learned")))
        .and_then(|()| optimizer.set_state(group("optimizer"), progress.step as i64));
    taken.map_err(|error| error.context(format!("cannot resume from {}", from.newest().display())))?;
    Ok(Some(Found { state: progress, warning }))
}

fn parse(file: TensorFile, expected: &Progress) -> Result<(Progress, Groups), Unusable> {
    let found: Progress = serde_json::from_value(file.header).map_err(|error| Unusable::Damaged(error.to_string()))?;
    for ((what, theirs), (_, ours)) in facts(&found).into_iter().zip(facts(expected)) {
        if theirs != ours {
            let problem = format!("its {what} is {theirs}, this run's is {ours}; give the same settings");
            return Err(Unusable::Refused(Error::config(problem)));
        }
    }
    let mut groups = Groups::new();
    for (name, stored) in file.tensors {
        let values = stored.values().map_err(|error| Unusable::Damaged(error.to_string()))?;
        if let Some(bad) = not_finite(&values) {
            return Err(Unusable::Damaged(format!("`{name}` holds {bad}")));
        }
        let (group, name) = name.split_once('/').unwrap_or(("", &name));
        groups.entry(group.to_owned()).or_default().insert(name.to_owned(), values);
    }
    Ok((found, groups))
}

/// What must be the same for a training to be the same, by name.
fn facts(progress: &Progress) -> [(&'static str, String); 6] {
    [
        ("phase", progress.phase.clone()),
        ("net", progress.graph.clone()),
        ("dataset", progress.dataset.clone()),
        ("seed", progress.seed.to_string()),
        ("batch_size", progress.batch_size.to_string()),
        ("steps in all", progress.total_steps.to_string()),
    ]
}
