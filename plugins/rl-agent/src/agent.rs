//! The plugin: the agent's trait over [`Ddpg`], with checks of everything that comes in.

use crate::ddpg::Ddpg;
use crate::options::{Declared, Options};
use crate::replay::Memory;
use crate::state::{self, Search};
use pocketflow::agent::{Agent, AgentLoss, AgentSpace, Transition};
use pocketflow::option::OptionSpec;
use pocketflow::plugin::{About, Plugin};
use pocketflow::settings::Settings;
use pocketflow::{Error, Result};

/// How far an action may lie out of its range by rounding, as a part of it.
const SLACK: f32 = 1e-4;

/// Deep deterministic policy gradient for short roll-outs that end with one reward.
///
/// The roll-outs that only fill its memory ([`AgentSpace::filling`]) act at random; then the policy
/// acts, with noise. The agent learns when told to, also early.
pub struct RlAgent {
    options: Options,
    /// Kept to say where an option came from that turns out wrong.
    settings: Settings,
    search: Option<Search>,
}

impl Plugin for RlAgent {
    const ABOUT: About = About {
        aliases: &["ddpg"],
        line: "Deep deterministic policy gradient: chooses bits per layer under a budget",
        datasets: &[],
    };

    fn options() -> Vec<OptionSpec> {
        Declared::specs()
    }

    fn configure(settings: &Settings) -> Result<Self> {
        Ok(Self { options: Options::read(settings)?, settings: settings.clone(), search: None })
    }
}

fn prepared(search: &mut Option<Search>) -> Result<&mut Search> {
    search.as_mut().ok_or_else(|| Error::failed("the agent was not prepared for a search"))
}

/// Of the right length, and nothing but numbers.
fn checked(what: &str, values: &[f32], dims: usize) -> Result<()> {
    if values.len() != dims {
        return Err(Error::failed(format!(
            "{what} of {} values where the agent was prepared for {dims}",
            values.len()
        )));
    }
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(index) => {
            let value = values[index];
            Err(Error::failed(format!("{what} whose value {index} (from 0) of {dims} is {value}, not a finite number")))
        }
    }
}

/// From `0..=max` to the policy's units, −1 to 1, and back.
fn to_policy(action: &[f32], max: f32) -> Vec<f32> {
    action.iter().map(|value| (2.0 * value / max - 1.0).clamp(-1.0, 1.0)).collect()
}

fn from_policy(action: Vec<f32>, max: f32) -> Vec<f32> {
    action.into_iter().map(|value| ((value + 1.0) / 2.0 * max).clamp(0.0, max)).collect()
}

impl Search {
    /// The roll-out under way, or the last, is one of the random ones.
    fn is_random(&self) -> bool {
        self.begun as usize <= self.space.filling
    }

    /// Of the roll-outs that are not random, how far the one under way is: 0 for the first, 1 for
    /// the last.
    fn progress(&self) -> f64 {
        let first = self.space.filling + 1;
        let steps = self.space.rollouts.saturating_sub(first).max(1);
        (self.begun as usize).saturating_sub(first) as f64 / steps as f64
    }
}

impl RlAgent {
    /// What the random roll-outs see must be there to learn from, all that is remembered of it.
    fn can_learn(&self, space: &AgentSpace) -> Result<()> {
        let random = space.filling;
        let steps = remembered(random, space.steps, self.options.record_step);
        if steps > self.options.buffer as u64 {
            let problem = format!(
                "the {steps} steps of the first {random} roll-outs of {} do not fit; give at least {steps}",
                space.rollouts
            );
            return Err(self.settings.invalid(&Declared::buffer(), &problem));
        }
        if remembered(random.max(1), space.steps, self.options.record_step) == 0 {
            let problem = format!(
                "no step of the first {random} roll-outs, of {} steps each, would be remembered to learn from",
                space.steps
            );
            return Err(self.settings.invalid(&Declared::record_step(), &problem));
        }
        Ok(())
    }
}

/// Steps of the first so many roll-outs that are remembered, where every `every`th is.
fn remembered(rollouts: usize, steps: usize, every: u64) -> u64 {
    let first = (1..=rollouts as u64).map(|begun| (begun..begun.saturating_add(steps as u64), every));
    first.map(|(numbers, every)| (numbers.end - 1) / every - (numbers.start - 1) / every).sum()
}

impl Agent for RlAgent {
    fn prepare(&mut self, space: &AgentSpace) -> Result<()> {
        let problem = match space {
            AgentSpace { state_dims: 0, .. } => "states of no values",
            AgentSpace { action_dims: 0, .. } => "actions of no values",
            AgentSpace { rollouts: 0, .. } => "no roll-outs",
            AgentSpace { steps: 0, .. } => "roll-outs of no steps",
            space if !(space.action_max > 0.0 && space.action_max.is_finite()) => "actions that can only be one",
            space if space.filling > space.rollouts => "more roll-outs that fill its memory than roll-outs",
            _ => {
                self.can_learn(space)?;
                let ddpg = Ddpg::new(space.state_dims, space.action_dims, space.seed, &self.options);
                self.search = Some(Search { space: space.clone(), ddpg, begun: 0, pending: None });
                return Ok(());
            }
        };
        Err(Error::failed(format!("the agent cannot search with {problem}: {space:?}")))
    }

    /// A roll-out that was begun and not finished is forgotten.
    fn begin(&mut self) -> Result<()> {
        let search = prepared(&mut self.search)?;
        search.begun = search.begun.saturating_add(1);
        search.pending = Some(Vec::new());
        if !search.is_random() {
            let progress = search.progress();
            search.ddpg.explore(progress, &self.options);
        }
        Ok(())
    }

    fn act(&mut self, state: &[f32]) -> Result<Vec<f32>> {
        let search = prepared(&mut self.search)?;
        checked("a state", state, search.space.state_dims)?;
        search.under_way()?;
        let action = match search.is_random() {
            true => search.ddpg.random_action(search.space.action_dims),
            false => search.ddpg.action(state),
        };
        match action.iter().all(|value| value.is_finite()) {
            true => Ok(from_policy(action, search.space.action_max)),
            false => Err(Error::failed("the agent diverged: its action is no number")),
        }
    }

    /// The action is the one that was carried out, which need not be the one the agent asked for.
    fn record(&mut self, transition: Transition) -> Result<()> {
        let search = prepared(&mut self.search)?;
        let AgentSpace { state_dims, action_dims, action_max, .. } = search.space;
        checked("a state", &transition.state, state_dims)?;
        checked("a next state", &transition.next_state, state_dims)?;
        checked("an action", &transition.action, action_dims)?;
        let slack = SLACK * action_max;
        if let Some(action) = transition.action.iter().find(|action| !(-slack..=action_max + slack).contains(action)) {
            return Err(Error::failed(format!("an action of {action}, out of the range 0 to {action_max}")));
        }
        search.under_way()?.push(transition);
        Ok(())
    }

    fn finish(&mut self, reward: f32) -> Result<()> {
        let search = prepared(&mut self.search)?;
        if !reward.is_finite() {
            let number = search.begun;
            return Err(Error::failed(format!("the reward of roll-out {number} is {reward}, not a finite number")));
        }
        search.under_way()?;
        let steps = search.pending.take().unwrap_or_default();
        search.ddpg.rewarded(reward, &self.options);
        let every = self.options.record_step;
        for (step, transition) in (u64::from(search.begun)..).zip(&steps) {
            // Begins one later in each roll-out, or some layers would never be remembered.
            if step % every != 0 {
                continue;
            }
            let action = to_policy(&transition.action, search.space.action_max);
            let Transition { state, next_state, terminal, .. } = transition;
            search.ddpg.remember(Memory { state, action: &action, next_state, reward, terminal: *terminal });
        }
        Ok(())
    }

    fn learn(&mut self) -> Result<AgentLoss> {
        let loss = prepared(&mut self.search)?.ddpg.update(&self.options)?;
        tracing::trace!(actor = loss.actor, critic = loss.critic, "agent updated");
        Ok(loss)
    }

    fn save(&self) -> Result<Vec<u8>> {
        let search =
            self.search.as_ref().ok_or_else(|| Error::failed("the agent was not prepared: nothing to save"))?;
        state::save(search)
    }

    /// Prepares the agent as well if it is not.
    fn restore(&mut self, saved: &[u8]) -> Result<()> {
        let restored = state::restore(saved, &self.options)?;
        if let Some(search) = &self.search
            && search.space != restored.space
        {
            let (own, other) = (&search.space, &restored.space);
            return Err(Error::config(format!("the agent was saved in another search: {other:?}, here {own:?}")));
        }
        self.search = Some(restored);
        Ok(())
    }
}
