//! All that a search is resumed from, in one file: the sensitivities measured, the roll-outs done,
//! what the agent saved. Rewards keep every bit, so a resumed search is the one that was
//! interrupted.

use crate::budget::BitBudget;
use crate::rollout::SearchState;
use pocketflow::checkpoints::{Checkpoints, Found, KIND, Unusable};
use pocketflow::report::search::Sensitivity;
use pocketflow::tensors::{Stored, TensorFile};
use pocketflow::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

const PHASE: &str = "search";
const AGENT: &str = "agent";

/// What has been found so far.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct State {
    /// `search`, to tell it from a training's checkpoint.
    phase: String,
    layers: Vec<String>,
    total_bits: u64,
    /// Complete, or the first rows of it.
    pub sensitivity: Sensitivity,
    /// `None`: the agent has not begun.
    pub search: Option<SearchState>,
    /// Images that the reward of each roll-out was measured on.
    pub images: Vec<u64>,
    /// Accuracies of the best few after the whole tuning.
    pub finals: Vec<(Vec<u32>, f64)>,
    /// Those of the other methods' allocations.
    #[serde(default)]
    pub tuned: Vec<(Vec<u32>, f64)>,
}

/// Where a run's folder keeps them.
pub fn checkpoints(run_dir: &Path) -> Checkpoints {
    Checkpoints::of(run_dir, PHASE)
}

impl State {
    /// A search that has not begun.
    pub fn new(budget: &BitBudget) -> Self {
        let layers = budget.layers().iter().map(|layer| layer.name.clone()).collect();
        Self { phase: PHASE.into(), layers, total_bits: budget.total(), ..Self::default() }
    }

    /// # Errors
    /// A folder that cannot be written.
    pub fn save(&self, to: &Checkpoints) -> Result<()> {
        let mut plain = self.clone();
        let agent = plain.search.as_mut().map(|search| std::mem::take(&mut search.agent)).unwrap_or_default();
        let header =
            serde_json::to_value(plain).map_err(|error| Error::failed(format!("the search's state: {error}")))?;
        let tensors = BTreeMap::from([(AGENT.to_owned(), Stored::Bytes(agent))]);
        to.write(&TensorFile { kind: KIND.into(), header, tensors })
    }

    /// What [`State::save`] wrote last of a search under this budget, or the time before where that
    /// is damaged; `None` where there is nothing.
    ///
    /// # Errors
    /// Files that are all damaged, or one of another search.
    pub fn load(from: &Checkpoints, budget: &BitBudget) -> Result<Option<Found<Self>>> {
        let expected = Self::new(budget);
        from.read(|TensorFile { header, mut tensors, .. }| {
            let mut state: Self =
                serde_json::from_value(header).map_err(|error| Unusable::Damaged(error.to_string()))?;
            let facts = |state: &Self| (state.phase.clone(), state.layers.clone(), state.total_bits);
            if facts(&state) != facts(&expected) {
                let problem = "it is of a search for other layers or under another budget; give the same settings";
                return Err(Unusable::Refused(Error::config(problem)));
            }
            if let (Some(search), Some(Stored::Bytes(agent))) = (&mut state.search, tensors.remove(AGENT)) {
                search.agent = agent;
            }
            Ok(state)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::tests::layer;
    use crate::rollout::Rollout;

    #[test]
    fn every_bit_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let kept = checkpoints(dir.path());
        let budget = BitBudget::new(vec![layer(100, 0), layer(50, 0)], 2, 8, 3.0).unwrap();
        let mut state = State::new(&budget);
        state.sensitivity = Sensitivity { bits: vec![2, 3], loss: vec![vec![0.1 + 0.2, -1e-17]] };
        let done = vec![Rollout { bits: vec![2, 4], reward: 1.0 / 3.0, known: false, loss: None }];
        state.search = Some(SearchState { done, agent: vec![0, 255, 7], failure: None });
        state.finals = vec![(vec![2, 4], f64::from(0.7f32))];
        state.save(&kept).unwrap();
        assert_eq!(State::load(&kept, &budget).unwrap(), Some(Found { state: state.clone(), warning: None }));
        let other = BitBudget::new(vec![layer(100, 0), layer(50, 0)], 2, 8, 2.5).unwrap();
        assert!(State::load(&kept, &other).unwrap_err().to_string().contains("another budget"));
        // The last roll-out is lost with its file, not the search.
        let earlier = state.clone();
        state.finals.clear();
        state.save(&kept).unwrap();
        std::fs::write(kept.newest(), b"").unwrap();
        let found = State::load(&kept, &budget).unwrap().unwrap();
        assert_eq!(found.state, earlier);
        assert!(found.warning.unwrap().contains("search.ckpt"));
    }
}
