//! The trait of an agent: it chooses actions, is told the outcome, and learns. Learners ask the
//! host for one by name.

use crate::error::Result;
use serde::{Deserialize, Serialize};

/// One step of a roll-out. States and actions are vectors whose lengths the environment fixes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    pub state: Vec<f32>,
    pub action: Vec<f32>,
    pub next_state: Vec<f32>,
    /// The roll-out ends here.
    pub terminal: bool,
}

/// The losses of one update, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct AgentLoss {
    pub actor: f32,
    pub critic: f32,
}

/// What an agent must know of its environment before the first roll-out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentSpace {
    pub state_dims: usize,
    pub action_dims: usize,
    /// Actions lie in `0..=action_max`.
    pub action_max: f32,
    pub rollouts: usize,
    /// Actions in each roll-out.
    pub steps: usize,
    pub seed: u64,
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
