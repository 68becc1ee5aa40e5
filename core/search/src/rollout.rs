//! Roll-outs: an agent gives bits to the layers one by one, is told the reward of the whole, and
//! learns. The search can be resumed after every roll-out and goes on exactly; an agent that fails
//! ends it with the best allocation so far.

use crate::budget::BitBudget;
use crate::walk::{Walk, state_dims};
use pocketflow::agent::{Agent, AgentLoss, AgentSpace, Transition};
use pocketflow::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Updates of the agent for each step of a roll-out; they cost next to nothing beside a reward.
const UPDATES_A_STEP: usize = 3;

/// Gives the reward of an allocation: bits by layer, in the budget's order. More is better.
pub trait Evaluate {
    /// # Errors
    /// Whatever keeps the reward from being found; it ends the search, which can be resumed from
    /// its last state.
    fn reward(&mut self, bits: &[u32]) -> Result<f64>;
}

/// How to search.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// How many.
    pub rollouts: usize,
    /// Visit the layers in another order each time.
    pub random_layers: bool,
    /// Of the visiting orders and of the agent.
    pub seed: u64,
    /// Allocations that the first roll-outs follow in place of the agent, so that it learns from
    /// what is known to be good.
    pub starts: Vec<Vec<u32>>,
}

/// A roll-out that is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    /// By layer, in the budget's order.
    pub bits: Vec<u32>,
    /// Of the allocation.
    pub reward: f64,
    /// The allocation was met before, and its reward known.
    pub known: bool,
    /// Means over the agent's updates after it; `None` while the buffer fills.
    pub loss: Option<AgentLoss>,
}

/// All that a search is resumed from.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SearchState {
    /// In order.
    pub done: Vec<Rollout>,
    /// What the agent saved after the last of them.
    pub agent: Vec<u8>,
    /// Why the agent was given up; the search is over then.
    pub failure: Option<String>,
}

impl SearchState {
    /// The first roll-out with the highest reward.
    pub fn best(&self) -> Option<&Rollout> {
        self.done.iter().reduce(|best, rollout| if rollout.reward > best.reward { rollout } else { best })
    }
}

/// A search under way.
pub struct Search<'a> {
    budget: &'a BitBudget,
    plan: Plan,
    agent: Box<dyn Agent>,
    state: SearchState,
    /// As the agent was told.
    filling: usize,
    /// Rewards by allocation, as in `state`.
    known: BTreeMap<Vec<u32>, f64>,
}

/// What can go wrong in a roll-out.
enum Trouble {
    Agent(Error),
    Evaluation(Error),
}

impl<'a> Search<'a> {
    /// Prepares the agent.
    ///
    /// # Errors
    /// No roll-outs, a start that the budget does not allow, or an agent that cannot be prepared.
    pub fn new(budget: &'a BitBudget, plan: Plan, mut agent: Box<dyn Agent>) -> Result<Self> {
        check(budget, &plan)?;
        let space = space(budget, &plan);
        agent.prepare(&space)?;
        let state = SearchState { agent: agent.save()?, ..SearchState::default() };
        Ok(Self { budget, plan, agent, state, filling: space.filling, known: BTreeMap::new() })
    }

    /// Goes on after the roll-outs of a state that [`Search::state`] gave, for the same budget and
    /// plan.
    ///
    /// # Errors
    /// As [`Search::new`]; roll-outs that are not of this budget or more than the plan's; a state
    /// of another agent.
    pub fn resume(budget: &'a BitBudget, plan: Plan, mut agent: Box<dyn Agent>, state: SearchState) -> Result<Self> {
        check(budget, &plan)?;
        if state.done.len() > plan.rollouts || state.done.iter().any(|rollout| !budget.allows(&rollout.bits)) {
            return Err(Error::config(
                "the saved search is of another budget or of more roll-outs; search with the settings it began with",
            ));
        }
        let space = space(budget, &plan);
        if state.failure.is_none() {
            agent.prepare(&space)?;
            agent.restore(&state.agent)?;
        }
        let known = state.done.iter().map(|rollout| (rollout.bits.clone(), rollout.reward)).collect();
        Ok(Self { budget, plan, agent, state, filling: space.filling, known })
    }

    /// As after the last roll-out that was done, whatever happened since.
    pub fn state(&self) -> &SearchState {
        &self.state
    }

    /// Every roll-out is done, or the agent failed ([`SearchState::failure`]).
    pub fn is_over(&self) -> bool {
        self.state.done.len() >= self.plan.rollouts || self.state.failure.is_some()
    }

    /// One roll-out; `None` when the search is over, also if it is because the agent failed just
    /// now.
    ///
    /// # Errors
    /// An evaluation that failed, or gave a reward that is no number; an agent that failed before
    /// there was any reward or start. After an error the search is not to be gone on with, but its
    /// state can be resumed.
    pub fn roll_out(&mut self, evaluate: &mut dyn Evaluate) -> Result<Option<&Rollout>> {
        if self.is_over() {
            return Ok(None);
        }
        let number = self.state.done.len() + 1;
        match self.next(evaluate) {
            Ok(rollout) => self.state.done.push(rollout),
            Err(Trouble::Evaluation(error)) => return Err(error),
            Err(Trouble::Agent(error)) => {
                // Settings were looked at when the agent was prepared: its trouble now costs no
                // more than the rest of the search, if there is anything to go on with.
                if self.state.done.is_empty() && self.plan.starts.is_empty() {
                    return Err(error.context(format!("the agent failed in roll-out {number}")));
                }
                self.state.failure = Some(format!("the agent failed in roll-out {number}: {error}"));
                return Ok(None);
            }
        }
        match self.agent.save() {
            Ok(saved) => self.state.agent = saved,
            Err(error) => {
                self.state.failure = Some(format!("the agent could not be saved after roll-out {number}: {error}"));
            }
        }
        Ok(self.state.done.last())
    }

    fn next(&mut self, evaluate: &mut dyn Evaluate) -> Result<Rollout, Trouble> {
        let index = self.state.done.len();
        let bits = self.allocate(index).map_err(Trouble::Agent)?;
        let (reward, known) = match self.known.get(&bits) {
            Some(reward) => (*reward, true),
            None => (evaluate.reward(&bits).map_err(Trouble::Evaluation)?, false),
        };
        if !reward.is_finite() {
            let problem =
                format!("the reward of roll-out {} is {reward}, not a finite number; bits: {bits:?}", index + 1);
            return Err(Trouble::Evaluation(Error::failed(problem)));
        }
        self.known.insert(bits.clone(), reward);
        let loss = self.learn(index, reward).map_err(Trouble::Agent);
        match loss {
            Ok(loss) => Ok(Rollout { bits, reward, known, loss }),
            Err(trouble) => {
                // The reward was paid for and may be the best.
                self.state.done.push(Rollout { bits, reward, known, loss: None });
                Err(trouble)
            }
        }
    }

    /// Lets the agent, or a start, give bits to every layer.
    fn allocate(&mut self, index: usize) -> Result<Vec<u32>> {
        let (least, most) = self.budget.range();
        let start = self.plan.starts.get(index);
        let mut walk = Walk::new(self.budget, self.budget.order(self.plan.random_layers, self.plan.seed, index));
        self.agent.begin()?;
        let mut state = walk.state();
        while let Some(layer) = walk.layer() {
            let given = match start {
                Some(bits) => walk.give_exactly(bits[layer]),
                None => match self.agent.act(&state)?.as_slice() {
                    [action] if action.is_finite() => {
                        walk.give(least + action.clamp(0.0, (most - least) as f32).round() as u32)
                    }
                    action => return Err(Error::failed(format!("one finite action was wanted, not {action:?}"))),
                },
            };
            // Recorded is what the layer got, as it is that which the reward is for.
            let given = given.unwrap_or(least);
            let next_state = walk.state();
            let action = vec![(given - least) as f32];
            let terminal = walk.layer().is_none();
            self.agent.record(Transition { state, action, next_state: next_state.clone(), terminal })?;
            state = next_state;
        }
        Ok(walk.bits().to_vec())
    }

    fn learn(&mut self, index: usize, reward: f64) -> Result<Option<AgentLoss>> {
        self.agent.finish(reward as f32)?;
        if index + 1 < self.filling {
            return Ok(None);
        }
        let updates = UPDATES_A_STEP * self.budget.layers().len();
        let mut sum = AgentLoss::default();
        for _ in 0..updates {
            let loss = self.agent.learn()?;
            if !(loss.actor.is_finite() && loss.critic.is_finite()) {
                return Err(Error::failed(format!("its losses are {} and {}", loss.actor, loss.critic)));
            }
            sum = AgentLoss { actor: sum.actor + loss.actor, critic: sum.critic + loss.critic };
        }
        Ok(Some(AgentLoss { actor: sum.actor / updates as f32, critic: sum.critic / updates as f32 }))
    }
}

fn check(budget: &BitBudget, plan: &Plan) -> Result<()> {
    if plan.rollouts == 0 {
        return Err(Error::config("no roll-outs: a search needs one"));
    }
    match plan.starts.iter().find(|start| !budget.allows(start)) {
        None => Ok(()),
        Some(start) => {
            let (total, bits) = (budget.total(), start.iter().map(u32::to_string).collect::<Vec<_>>().join(" "));
            Err(Error::failed(format!(
                "the budget of {total} bits does not allow the search to start from bits {bits}"
            )))
        }
    }
}

/// What an agent must know of such a search.
pub fn space(budget: &BitBudget, plan: &Plan) -> AgentSpace {
    let (least, most) = budget.range();
    // Where there is no choice the agent still needs a range; what it asks for is cut.
    let action_max = (most - least).max(1) as f32;
    let space = AgentSpace::new(state_dims(budget), 1, action_max, plan.rollouts, budget.layers().len());
    AgentSpace { seed: plan.seed, ..space }
}

#[cfg(test)]
mod tests;
