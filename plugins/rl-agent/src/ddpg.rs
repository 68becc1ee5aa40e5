//! Deep deterministic policy gradient (Lillicrap et al. 2015, arXiv 1509.02971): everything that is
//! learned, and the update.
//!
//! Here actions are in the policy's units, −1 to 1. Every transition of a roll-out carries the
//! reward of the whole, as rewards come only at the end; the critic learns y = r + γ·Q'(s',
//! μ'(s')), or y = r after the last step, where r is what [`Baseline`] makes of the reward at the
//! time of the update, so that old and new rewards are compared with the same.
//!
//! The actor's output is the action itself, cut to −1 to 1, and its gradient is inverted at the
//! bounds (Hausknecht and Stone 2016, arXiv 1511.04143, §3.3). With the original's tanh an actor
//! that once reached a bound stays there: its gradient is gone.

use crate::adam::Adam;
use crate::baseline::Baseline;
use crate::mlp::{Mlp, Role};
use crate::noise::{self, Where};
use crate::normalise::Normaliser;
use crate::options::{Declared, Options};
use crate::random::Random;
use crate::replay::{Memory, Replay};
use pocketflow::agent::AgentLoss;
use pocketflow::{Error, Result};
use serde::{Deserialize, Serialize};

/// A network, its slowly following copy, and its optimizer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Learned {
    net: Mlp,
    target: Mlp,
    adam: Adam,
}

impl Learned {
    fn new(inputs: usize, hidden: &[usize], outputs: usize, random: &mut Random) -> Self {
        let net = Mlp::new(inputs, hidden, outputs, random);
        Self { target: net.clone(), adam: Adam::new(net.values().len()), net }
    }

    /// One step against the gradient, to which the decay of the weights is added.
    fn step(&mut self, mut gradient: Vec<f32>, options: &Options) {
        for segment in self.net.segments().into_iter().filter(|segment| segment.role == Role::Weight) {
            let weights = &self.net.values()[segment.range.clone()];
            let decayed = gradient[segment.range].iter_mut().zip(weights);
            decayed.for_each(|(gradient, weight)| *gradient += options.weight_decay * weight);
        }
        self.adam.update(self.net.values_mut(), &gradient, options.rate);
    }

    fn follow(&mut self, tau: f32) {
        let pairs = self.target.values_mut().iter_mut().zip(self.net.values());
        pairs.for_each(|(target, value)| *target += tau * (value - *target));
    }

    fn is_finite(&self) -> bool {
        self.net.values().iter().all(|value| value.is_finite())
    }

    fn fits(&self, inputs: usize, hidden: &[usize], outputs: usize) -> bool {
        self.net.fits(inputs, hidden, outputs)
            && self.target.fits(inputs, hidden, outputs)
            && self.adam.fits(self.net.values().len())
    }
}

/// The whole of what an agent knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ddpg {
    actor: Learned,
    critic: Learned,
    /// The actor with its parameters perturbed, for the roll-out under way.
    explorer: Option<Mlp>,
    noise_std: f64,
    states: Normaliser,
    replay: Replay,
    baseline: Baseline,
    random: Random,
    updates: u64,
}

impl Ddpg {
    pub fn new(state_dims: usize, action_dims: usize, seed: u64, options: &Options) -> Self {
        let mut random = Random::new(seed);
        Self {
            actor: Learned::new(state_dims, &options.actor, action_dims, &mut random),
            critic: Learned::new(state_dims + action_dims, &options.critic, 1, &mut random),
            explorer: None,
            noise_std: options.exploration.first,
            states: Normaliser::new(state_dims),
            replay: Replay::new(state_dims, action_dims, options.buffer),
            baseline: Baseline::new(),
            random,
            updates: 0,
        }
    }

    /// Draws the noise for a roll-out at `progress` (0 to 1) of those that are not random.
    pub fn explore(&mut self, progress: f64, options: &Options) {
        if let Some(std) = options.exploration.decayed(progress) {
            self.noise_std = std;
        }
        self.explorer = match options.exploration.on {
            Where::Parameters => Some(noise::perturbed(&self.actor.net, self.noise_std, &mut self.random)),
            Where::Actions => None,
        };
    }

    /// An action that knows nothing.
    pub fn random_action(&mut self, dims: usize) -> Vec<f32> {
        (0..dims).map(|_| self.random.signed()).collect()
    }

    /// The policy's action, with the noise of [`Ddpg::explore`].
    pub fn action(&mut self, state: &[f32]) -> Vec<f32> {
        let mut input = Vec::with_capacity(state.len());
        self.states.apply(state, &mut input);
        if let Some(explorer) = &self.explorer {
            return policy(explorer, input, 1);
        }
        let mut action = policy(&self.actor.net, input, 1);
        noise::disturb(&mut action, self.noise_std, &mut self.random);
        action
    }

    /// Takes in the reward of a roll-out, for the baseline.
    pub fn rewarded(&mut self, reward: f32, options: &Options) {
        if let Some(decay) = options.baseline {
            self.baseline.observe(reward, decay);
        }
    }

    pub fn remember(&mut self, memory: Memory<'_>) {
        self.states.observe(memory.state);
        self.replay.push(memory);
    }

    /// One update of critic, actor and targets from a batch. The losses are those before it,
    /// without the decay.
    ///
    /// # Errors
    /// Nothing was remembered yet; or the networks diverged.
    pub fn update(&mut self, options: &Options) -> Result<AgentLoss> {
        let batch = self.replay.sample(options.batch, &mut self.random);
        if batch.is_empty() {
            return Err(Error::failed("there is nothing to learn from before a roll-out is finished and remembered"));
        }
        let samples = batch.len();
        let (mut states, mut next_states, mut actions) = (Vec::new(), Vec::new(), Vec::new());
        for memory in &batch {
            self.states.apply(memory.state, &mut states);
            self.states.apply(memory.next_state, &mut next_states);
            actions.extend_from_slice(memory.action);
        }
        let next_actions = policy(&self.actor.target, next_states.clone(), samples);
        let mut wanted = self.critic.target.infer(joined(&next_states, &next_actions, samples), samples);
        for (value, memory) in wanted.iter_mut().zip(&batch) {
            let reward = match options.baseline {
                Some(_) => self.baseline.advantage(memory.reward),
                None => memory.reward,
            };
            *value = reward + if memory.terminal { 0.0 } else { options.gamma * *value };
        }

        let critic = self.improve_critic(joined(&states, &actions, samples), &wanted, options);
        let actor = self.improve_actor(states, samples, options);
        self.actor.follow(options.tau);
        self.critic.follow(options.tau);
        self.updates = self.updates.saturating_add(1);
        match critic.is_finite() && actor.is_finite() && self.actor.is_finite() && self.critic.is_finite() {
            true => Ok(AgentLoss { actor, critic }),
            false => Err(Error::failed(format!(
                "the agent diverged at its update {} (losses: actor {actor}, critic {critic}); \
                 a lower `{}` than {} may help",
                self.updates,
                Declared::rate().name(),
                options.rate
            ))),
        }
    }

    /// Mean squared error of the critic.
    fn improve_critic(&mut self, input: Vec<f32>, wanted: &[f32], options: &Options) -> f32 {
        let samples = wanted.len();
        let trace = self.critic.net.forward(input, samples);
        let errors: Vec<f32> = trace.output.iter().zip(wanted).map(|(value, wanted)| value - wanted).collect();
        let loss = errors.iter().map(|error| error * error).sum::<f32>() / samples as f32;
        let slopes = errors.iter().map(|error| 2.0 * error / samples as f32).collect();
        let mut gradient = vec![0.0; self.critic.net.values().len()];
        self.critic.net.backward(&trace, slopes, Some(&mut gradient));
        self.critic.step(gradient, options);
        loss
    }

    /// Less the mean value that the critic gives to the actor's actions. Adapts the noise to the
    /// batch as well.
    fn improve_actor(&mut self, states: Vec<f32>, samples: usize, options: &Options) -> f32 {
        let trace = self.actor.net.forward(states.clone(), samples);
        let actions = trace.output.clone();
        self.adapt_noise(&states, &actions, samples, options);
        let judged = self.critic.net.forward(joined(&states, &actions, samples), samples);
        let loss = -judged.output.iter().sum::<f32>() / samples as f32;
        let slopes = vec![-1.0 / samples as f32; samples];
        let d_input = self.critic.net.backward(&judged, slopes, None);
        let (state_dims, action_dims) = (states.len() / samples, actions.len() / samples);
        let d_actions = d_input.chunks_exact(state_dims + action_dims).flat_map(|row| &row[state_dims..]);
        let d_output = d_actions.zip(&actions).map(|(d, action)| held_back(*d, *action)).collect();
        let mut gradient = vec![0.0; self.actor.net.values().len()];
        self.actor.net.backward(&trace, d_output, Some(&mut gradient));
        self.actor.step(gradient, options);
        loss
    }

    fn adapt_noise(&mut self, states: &[f32], actions: &[f32], samples: usize, options: &Options) {
        if options.exploration.protocol == noise::Protocol::TimeDecay {
            return;
        }
        // As they are carried out: what noise does beyond the bounds moves nothing.
        let actions: Vec<f32> = actions.iter().map(|action| action.clamp(-1.0, 1.0)).collect();
        let moved = match options.exploration.on {
            Where::Parameters => {
                let explorer = noise::perturbed(&self.actor.net, self.noise_std, &mut self.random);
                policy(&explorer, states.to_vec(), samples)
            }
            Where::Actions => {
                let mut moved = actions.clone();
                noise::disturb(&mut moved, self.noise_std, &mut self.random);
                moved
            }
        };
        self.noise_std = options.exploration.adapted(self.noise_std, noise::distance(&moved, &actions));
    }

    /// What was read from saved bytes is whole, and of these dimensions and options.
    pub fn fits(&self, state_dims: usize, action_dims: usize, options: &Options) -> bool {
        let actor = (state_dims, options.actor.as_slice(), action_dims);
        self.actor.fits(actor.0, actor.1, actor.2)
            && self.explorer.as_ref().is_none_or(|explorer| explorer.fits(actor.0, actor.1, actor.2))
            && self.critic.fits(state_dims + action_dims, &options.critic, 1)
            && self.states.fits(state_dims)
            && self.replay.fits(state_dims, action_dims, options.buffer)
    }
}

/// The gradient with respect to an action, smaller the nearer it would take the action to a bound
/// and turned round beyond.
fn held_back(gradient: f32, action: f32) -> f32 {
    gradient * if gradient < 0.0 { (1.0 - action) / 2.0 } else { (1.0 + action) / 2.0 }
}

fn policy(actor: &Mlp, states: Vec<f32>, samples: usize) -> Vec<f32> {
    let mut actions = actor.infer(states, samples);
    actions.iter_mut().for_each(|action| *action = action.clamp(-1.0, 1.0));
    actions
}

/// Rows of states and actions side by side: what the critic reads.
fn joined(states: &[f32], actions: &[f32], samples: usize) -> Vec<f32> {
    let (state_dims, action_dims) = (states.len() / samples, actions.len() / samples);
    let rows = states.chunks_exact(state_dims).zip(actions.chunks_exact(action_dims));
    rows.flat_map(|(state, action)| state.iter().chain(action).copied()).collect()
}
