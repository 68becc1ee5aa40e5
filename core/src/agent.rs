//! The trait of an agent: it chooses actions, is told the outcome, and learns. Learners ask the
//! host for one by name.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// One step of a roll-out. States and actions are vectors whose lengths the environment fixes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    /// What the agent saw: [`AgentSpace::state_dims`] numbers.
    pub state: Vec<f32>,
    /// What was done then: [`AgentSpace::action_dims`] numbers from 0 to
    /// [`AgentSpace::action_max`].
    pub action: Vec<f32>,
    /// What the agent saw next; as long as `state`.
    pub next_state: Vec<f32>,
    /// The roll-out ends here.
    pub terminal: bool,
}

/// The losses of one update, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentLoss {
    /// Of the network that chooses actions.
    pub actor: f32,
    /// Of the network that judges actions.
    pub critic: f32,
}

/// What an agent must know of its environment before the first roll-out. [`AgentSpace::new`] makes
/// one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "received::AgentSpace")]
pub struct AgentSpace {
    /// Numbers in a state.
    pub state_dims: usize,
    /// Numbers in an action.
    pub action_dims: usize,
    /// Actions lie in `0..=action_max`.
    pub action_max: f32,
    /// Roll-outs of the whole search.
    pub rollouts: usize,
    /// Actions in each roll-out.
    pub steps: usize,
    /// Seed of the agent's random numbers.
    pub seed: u64,
    /// So many roll-outs, the first ones, only fill the agent's memory: it is not told to learn
    /// before the last of them is done, and may act at random in them.
    pub filling: usize,
}

/// A space as it arrives.
mod received {
    use serde::Deserialize;

    #[derive(Deserialize)]
    pub struct AgentSpace {
        state_dims: usize,
        action_dims: usize,
        action_max: f32,
        rollouts: usize,
        steps: usize,
        #[serde(default)]
        seed: Option<u64>,
        #[serde(default)]
        filling: Option<usize>,
    }

    impl From<AgentSpace> for super::AgentSpace {
        fn from(received: AgentSpace) -> Self {
            let AgentSpace { state_dims, action_dims, action_max, rollouts, steps, seed, filling } = received;
            let plain = Self::new(state_dims, action_dims, action_max, rollouts, steps);
            Self { seed: seed.unwrap_or(plain.seed), filling: filling.unwrap_or(plain.filling), ..plain }
        }
    }
}

impl AgentSpace {
    /// Of a search's roll-outs, one in this many only fills the agent's memory (spec §5).
    const FILLING_PART: usize = 4;
    /// Values of a state or an action, roll-outs, actions of a roll-out: beyond this it is a
    /// mistake.
    const MOST: usize = 1 << 24;

    /// A search of so many roll-outs of so many steps, with states and actions of so many values,
    /// each action within `0..=action_max`; the seed is 0 and the first quarter of the roll-outs
    /// fills the agent's memory until these fields say otherwise.
    pub fn new(state_dims: usize, action_dims: usize, action_max: f32, rollouts: usize, steps: usize) -> Self {
        let filling = rollouts / Self::FILLING_PART;
        Self { state_dims, action_dims, action_max, rollouts, steps, seed: 0, filling }
    }

    /// That an agent can work in it: states, actions, roll-outs and steps that there are, no more
    /// roll-outs that fill its memory than roll-outs, and a largest action that is above 0 and
    /// finite.
    ///
    /// # Errors
    /// Names the field and its value.
    pub fn check(&self) -> Result<()> {
        let wrong = |problem: String| {
            Error::failed(format!(
                "the space of a search with an agent makes no sense: {problem}; its learner is wrong"
            ))
        };
        let sizes = [
            ("state_dims", self.state_dims),
            ("action_dims", self.action_dims),
            ("rollouts", self.rollouts),
            ("steps", self.steps),
        ];
        if let Some((field, size)) = sizes.into_iter().find(|(_, size)| !(1..=Self::MOST).contains(size)) {
            return Err(wrong(format!("`{field}` is {size}; 1 to {} are possible", Self::MOST)));
        }
        if self.filling > self.rollouts {
            return Err(wrong(format!("`filling` is {}, of {} roll-outs", self.filling, self.rollouts)));
        }
        match self.action_max {
            most if most.is_finite() && most > 0.0 => Ok(()),
            other => Err(wrong(format!("`action_max` is {other}; it must be above 0 and finite"))),
        }
    }
}

/// A reinforcement-learning agent for short roll-outs with one reward at the end.
pub trait Agent: Send {
    /// Starts a search; also called on an agent of its own before anything is measured, to hear of
    /// settings that do not go with the search.
    ///
    /// # Errors
    /// A space or settings the agent cannot work with.
    fn prepare(&mut self, space: &AgentSpace) -> Result<()>;

    /// Starts a roll-out.
    ///
    /// # Errors
    /// The agent was not prepared.
    fn begin(&mut self) -> Result<()>;

    /// The action in `state`, with exploration.
    ///
    /// # Errors
    /// A state of the wrong length, or values that are no numbers.
    fn act(&mut self, state: &[f32]) -> Result<Vec<f32>>;

    /// Remembers a step.
    ///
    /// # Errors
    /// As [`Agent::act`].
    fn record(&mut self, transition: Transition) -> Result<()>;

    /// Ends the roll-out with its reward.
    ///
    /// # Errors
    /// As [`Agent::act`].
    fn finish(&mut self, reward: f32) -> Result<()>;

    /// One update from what was remembered.
    ///
    /// # Errors
    /// Divergence.
    fn learn(&mut self) -> Result<AgentLoss>;

    /// Everything needed to go on, as bytes.
    ///
    /// # Errors
    /// The agent was not prepared.
    fn save(&self) -> Result<Vec<u8>>;

    /// Goes on from what [`Agent::save`] gave.
    ///
    /// # Errors
    /// Bytes of another agent or another space.
    fn restore(&mut self, saved: &[u8]) -> Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_space_is_checked_field_by_field() {
        let space = || AgentSpace::new(28, 1, 6.0, 200, 20);
        space().check().unwrap();
        let said = |space: AgentSpace| space.check().unwrap_err().to_string();
        for size in [0, usize::MAX] {
            assert!(said(AgentSpace { state_dims: size, ..space() }).contains(&format!("`state_dims` is {size}")));
            assert!(said(AgentSpace { action_dims: size, ..space() }).contains("`action_dims`"));
            assert!(said(AgentSpace { rollouts: size, ..space() }).contains("`rollouts`"));
            assert!(said(AgentSpace { steps: size, ..space() }).contains("`steps`"));
        }
        AgentSpace { filling: 200, ..space() }.check().unwrap();
        assert!(said(AgentSpace { filling: 201, ..space() }).contains("`filling` is 201, of 200"));
        for most in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            assert!(said(AgentSpace { action_max: most, ..space() }).contains(&format!("`action_max` is {most}")));
        }
    }
}
