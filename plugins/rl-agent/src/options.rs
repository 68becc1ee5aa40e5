//! The agent's options, and what they say when read.

use crate::noise::{Exploration, Protocol, Where};
use pocketflow::Result;
use pocketflow::settings::Settings;

const POSITIVE: f64 = 1e-12;

pocketflow::options! {
    /// The options, one by one.
    pub struct Declared {
        /// How far the target networks follow at each update.
        pub tau: f64 = float("ddpg_tau", 0.01, POSITIVE..=1.0),
        /// Discount of what later steps of a roll-out bring.
        pub gamma: f64 = float("ddpg_gamma", 0.9, 0.0..=1.0),
        /// Adam's learning rate, for actor and critic.
        pub rate: f64 = float("ddpg_lrn_rate", 1e-3, POSITIVE..=1.0),
        /// L2 decay of the weights of actor and critic.
        pub weight_decay: f64 = float("ddpg_loss_w_dcy", 0.0, 0.0..=1.0),
        /// Remember every this many-th step of a roll-out, beginning one later in each.
        pub record_step: u64 = int("ddpg_record_step", 1, 1..=1_000_000),
        /// Steps drawn from the buffer for an update.
        pub batch: usize = int("ddpg_batch_size", 64, 1..=65_536),
        /// Steps that the buffer holds, the oldest overwritten; the first quarter of the roll-outs
        /// must fit.
        pub buffer: usize = int("ddpg_buffer_size", 65_536, 1..=1 << 24),
        /// Learn from rewards less their moving average, in units of their spread; else from
        /// rewards as they are.
        pub baseline: bool = switch("ddpg_enbl_bsln_func", true),
        /// What the moving average of rewards keeps a roll-out.
        pub baseline_decay: f64 = float("ddpg_bsln_decy_rate", 0.95, 0.0..=1.0),
        /// Hidden layers of the actor.
        pub actor_depth: usize = int("ddpg_actor_depth", 2, 0..=16),
        /// Units in a hidden layer of the actor.
        pub actor_width: usize = int("ddpg_actor_width", 64, 2..=4096),
        /// Hidden layers of the critic.
        pub critic_depth: usize = int("ddpg_critic_depth", 2, 1..=16),
        /// Units in a hidden layer of the critic.
        pub critic_width: usize = int("ddpg_critic_width", 64, 2..=4096),
        /// `param`: explore with the actor's parameters perturbed, once a roll-out; `action`: with
        /// noise on each action.
        pub noise_on: Where = one_of("ddpg_noise_type", Where::Parameters),
        /// The noise's standard deviation: `tdecy` falls evenly from `ddpg_noise_std_init` to
        /// `ddpg_noise_std_finl` over the roll-outs; `adapt` keeps actions at `ddpg_noise_dst_finl`
        /// from those without noise, with at most the first.
        pub noise_protocol: Protocol = one_of("ddpg_noise_prtl", Protocol::TimeDecay),
        /// First standard deviation of the noise, as a part of the scale of a layer's first weights
        /// (`param`) or of half the range of actions (`action`).
        pub noise_first: f64 = float("ddpg_noise_std_init", 1.0, POSITIVE..=1e3),
        /// Last standard deviation of the noise; `tdecy`.
        pub noise_last: f64 = float("ddpg_noise_std_finl", 1e-5, POSITIVE..=1e3),
        /// Root mean square distance of actions with and without noise, as a part of half their
        /// range; `adapt`.
        pub noise_distance: f64 = float("ddpg_noise_dst_finl", 1e-2, POSITIVE..=1.0),
        /// What the standard deviation is multiplied with or divided by at an update; `adapt`.
        pub noise_ratio: f64 = float("ddpg_noise_adpt_rat", 1.03, 1.0..=10.0),
    }
}

/// The options' values.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    pub tau: f32,
    pub gamma: f32,
    pub rate: f32,
    pub weight_decay: f32,
    pub record_step: u64,
    pub batch: usize,
    pub buffer: usize,
    /// The moving average's decay; `None`: rewards as they are.
    pub baseline: Option<f64>,
    /// Widths of the hidden layers.
    pub actor: Vec<usize>,
    pub critic: Vec<usize>,
    pub exploration: Exploration,
}

impl Options {
    /// # Errors
    /// Values that do not go together.
    pub fn read(settings: &Settings) -> Result<Self> {
        let own = Declared::read(settings)?;
        let exploration = Exploration {
            on: own.noise_on,
            protocol: own.noise_protocol,
            first: own.noise_first,
            last: own.noise_last,
            distance: own.noise_distance,
            ratio: own.noise_ratio,
        };
        match exploration.protocol {
            Protocol::TimeDecay if exploration.last > exploration.first => {
                let (first, key) = (exploration.first, Declared::noise_first().name());
                let problem = format!("noise that decays ends below `{key}` = {first}");
                return Err(settings.invalid(&Declared::noise_last(), &problem));
            }
            Protocol::Adapt if exploration.ratio <= 1.0 => {
                return Err(settings.invalid(&Declared::noise_ratio(), "noise that adapts needs a ratio above 1"));
            }
            _ => {}
        }
        if own.buffer < own.batch {
            let problem = format!("smaller than one batch; `{}` is {}", Declared::batch().name(), own.batch);
            return Err(settings.invalid(&Declared::buffer(), &problem));
        }
        Ok(Self {
            tau: own.tau as f32,
            gamma: own.gamma as f32,
            rate: own.rate as f32,
            weight_decay: own.weight_decay as f32,
            record_step: own.record_step,
            batch: own.batch,
            buffer: own.buffer,
            baseline: own.baseline.then_some(own.baseline_decay),
            actor: vec![own.actor_width; own.actor_depth],
            critic: vec![own.critic_width; own.critic_depth],
            exploration,
        })
    }
}
