//! Everything that a training needs to go on, in one file: weights, optimizer, quantizers, step. A
//! run resumed from it ends in the same bits as one that was never interrupted, because batches
//! depend only on seed and step; so does one resumed from the file before it.

use crate::evaluate::Metrics;
use crate::network::Network;
use crate::optimizer::Optimizer;
use crate::workers::Workers;
use pocketflow::checkpoints::{Checkpoints, Found, KIND, Unusable};
use pocketflow::error::Context;
use pocketflow::tensors::{Stored, TensorFile};
use pocketflow::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Where a training stands, and what it must agree on with the one that goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Of the training, as [`crate::train::Training::phase`].
    pub phase: String,
    /// Name of the network's graph.
    pub graph: String,
    /// Name of the data set.
    pub dataset: String,
    /// Of the run.
    pub seed: u64,
    /// Images in a step, of all workers together.
    pub batch_size: u64,
    /// Steps of the whole training.
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
    /// It is written.
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

/// Gives every worker worker 0's checkpoints, where each of them goes on by its own copy.
///
/// # Errors
/// A file that cannot be read or written; a worker that does not answer.
pub fn share(workers: &dyn Workers, of: &Checkpoints) -> Result<()> {
    for path in of.files() {
        let failed = || format!("cannot share {}", path.display());
        let held = match workers.leads() && path.exists() {
            true => fs::read(path).with_context(failed)?,
            false => Vec::new(),
        };
        let bytes = workers.share(held)?;
        if !workers.leads() && !bytes.is_empty() {
            fs::create_dir_all(path.parent().unwrap_or(Path::new(""))).with_context(failed)?;
            fs::write(path, bytes).with_context(failed)?;
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Engine;
    use crate::optimizer::Rule;
    use pocketflow::ErrorKind;
    use pocketflow::net::Net;
    use pocketflow_testing::SmallNet;

    fn trained(seed: u64) -> (Network, Optimizer) {
        let network = Network::initialised(&Engine::cpu(), &SmallNet.graph().unwrap(), seed).unwrap();
        let optimizer = Optimizer::new(Rule::Adam, 0.0, &network);
        (network, optimizer)
    }

    fn progress(step: u64) -> Progress {
        Progress {
            phase: "phase".into(),
            graph: "small".into(),
            dataset: "labelled".into(),
            seed: 7,
            batch_size: 4,
            total_steps: 12,
            step,
            seconds: 1.5,
            last: Some(Metrics { top1: 0.5, samples: 24, ..Metrics::default() }),
            evaluation_due: true,
        }
    }

    #[test]
    fn what_is_saved_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let to = Checkpoints::of(dir.path(), "phase");
        let (network, optimizer) = trained(1);
        let (mut other, mut its) = trained(2);
        assert_eq!(load(&to, &progress(0), &mut other, &mut its).unwrap(), None, "there is none yet");
        assert_eq!(save(&to, &progress(5), &network, &optimizer).unwrap(), Saved::Yes);
        assert_ne!(other.values().unwrap(), network.values().unwrap());
        let found = load(&to, &progress(0), &mut other, &mut its).unwrap().unwrap();
        assert_eq!(found, Found { state: progress(5), warning: None });
        assert_eq!(other.values().unwrap(), network.values().unwrap());
        assert_eq!(its.state().unwrap(), optimizer.state().unwrap());
    }

    #[test]
    fn a_checkpoint_of_another_training_is_refused_by_what_differs() {
        let dir = tempfile::tempdir().unwrap();
        let to = Checkpoints::of(dir.path(), "phase");
        let (mut network, mut optimizer) = trained(1);
        save(&to, &progress(5), &network, &optimizer).unwrap();
        for (what, expected) in [
            ("net", Progress { graph: "another".into(), ..progress(0) }),
            ("dataset", Progress { dataset: "another".into(), ..progress(0) }),
            ("seed", Progress { seed: 8, ..progress(0) }),
            ("batch_size", Progress { batch_size: 5, ..progress(0) }),
            ("steps in all", Progress { total_steps: 13, ..progress(0) }),
        ] {
            let error = load(&to, &expected, &mut network, &mut optimizer).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{error}");
            assert!(error.to_string().contains(&format!("its {what} is ")), "{error}");
        }
    }

    #[test]
    fn numbers_that_are_not_finite_are_not_saved() {
        let dir = tempfile::tempdir().unwrap();
        let to = Checkpoints::of(dir.path(), "phase");
        let (mut network, optimizer) = trained(1);
        let mut values = network.values().unwrap();
        values.get_mut("fc.bias").unwrap()[1] = f32::NAN;
        network.set_values(&values).unwrap();
        let Saved::NotFinite(what) = save(&to, &progress(5), &network, &optimizer).unwrap() else {
            panic!("it was saved")
        };
        assert!(what.contains("`fc.bias` holds NaN"), "{what}");
        assert!(!to.exist());
    }

    #[test]
    fn a_damaged_newest_gives_way_to_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let to = Checkpoints::of(dir.path(), "phase");
        let (mut network, mut optimizer) = trained(1);
        for step in [3, 4] {
            save(&to, &progress(step), &network, &optimizer).unwrap();
        }
        std::fs::write(to.newest(), b"cut").unwrap();
        let found = load(&to, &progress(0), &mut network, &mut optimizer).unwrap().unwrap();
        assert_eq!(found.state.step, 3);
        assert!(found.warning.is_some());
    }
}
