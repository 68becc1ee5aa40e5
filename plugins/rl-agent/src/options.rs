//! The agent's options, and what they say when read.

use crate::noise::{Exploration, Protocol, Where};
use pocketflow::Result;
use pocketflow::option::OptionSpec;
use pocketflow::settings::Settings;

const POSITIVE: f64 = 1e-12;

pub fn specs() -> Vec<OptionSpec> {
    vec![
        OptionSpec::float("ddpg_tau", 0.01, POSITIVE..=1.0, "How far the target networks follow at each update."),
        OptionSpec::float("ddpg_gamma", 0.9, 0.0..=1.0, "Discount of what later steps of a roll-out bring."),
        OptionSpec::float("ddpg_lrn_rate", 1e-3, POSITIVE..=1.0, "Adam's learning rate, for actor and critic."),
        OptionSpec::float("ddpg_loss_w_dcy", 0.0, 0.0..=1.0, "L2 decay of the weights of actor and critic."),
        OptionSpec::int(
            "ddpg_record_step",
            1,
            1..=1_000_000,
            "Remember every this many-th step of a roll-out, beginning one later in each.",
        ),
        OptionSpec::int("ddpg_batch_size", 64, 1..=65_536, "Steps drawn from the buffer for an update."),
        OptionSpec::int(
            "ddpg_buffer_size",
            65_536,
            1..=1 << 24,
            "Steps that the buffer holds, the oldest overwritten; the first quarter of the roll-outs must fit.",
        ),
        OptionSpec::switch(
            "ddpg_enbl_bsln_func",
            true,
            "Learn from rewards less their moving average, in units of their spread; else from rewards as they are.",
        ),
        OptionSpec::float(
            "ddpg_bsln_decy_rate",
            0.95,
            0.0..=1.0,
            "What the moving average of rewards keeps a roll-out.",
        ),
        OptionSpec::int("ddpg_actor_depth", 2, 0..=16, "Hidden layers of the actor."),
        OptionSpec::int("ddpg_actor_width", 64, 2..=4096, "Units in a hidden layer of the actor."),
        OptionSpec::int("ddpg_critic_depth", 2, 1..=16, "Hidden layers of the critic."),
        OptionSpec::int("ddpg_critic_width", 64, 2..=4096, "Units in a hidden layer of the critic."),
        OptionSpec::choice(
            "ddpg_noise_type",
            "param",
            &["param", "action"],
            "`param`: explore with the actor's parameters perturbed, once a roll-out; `action`: with noise on \
             each action.",
        ),
        OptionSpec::choice(
            "ddpg_noise_prtl",
            "tdecy",
            &["tdecy", "adapt"],
            "The noise's standard deviation: `tdecy` falls evenly from `ddpg_noise_std_init` to \
             `ddpg_noise_std_finl` over the roll-outs; `adapt` keeps actions at `ddpg_noise_dst_finl` from those \
             without noise, with at most the first.",
        ),
        OptionSpec::float(
            "ddpg_noise_std_init",
            1.0,
            POSITIVE..=1e3,
            "First standard deviation of the noise, as a part of the scale of a layer's first weights (`param`) or \
             of half the range of actions (`action`).",
        ),
        OptionSpec::float(
            "ddpg_noise_std_finl",
            1e-5,
            POSITIVE..=1e3,
            "Last standard deviation of the noise; `tdecy`.",
        ),
        OptionSpec::float(
            "ddpg_noise_dst_finl",
            1e-2,
            POSITIVE..=1.0,
            "Root mean square distance of actions with and without noise, as a part of half their range; `adapt`.",
        ),
        OptionSpec::float(
            "ddpg_noise_adpt_rat",
            1.03,
            1.0..=10.0,
            "What the standard deviation is multiplied with or divided by at an update; `adapt`.",
        ),
    ]
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
        let single = |key: &str| settings.get::<f64>(key).map(|value| value as f32);
        let hidden =
            |depth: &str, width: &str| -> Result<Vec<usize>> { Ok(vec![settings.get(width)?; settings.get(depth)?]) };
        let exploration = Exploration {
            on: match settings.get::<String>("ddpg_noise_type")?.as_str() {
                "action" => Where::Actions,
                _ => Where::Parameters,
            },
            protocol: match settings.get::<String>("ddpg_noise_prtl")?.as_str() {
                "adapt" => Protocol::Adapt,
                _ => Protocol::TimeDecay,
            },
            first: settings.get("ddpg_noise_std_init")?,
            last: settings.get("ddpg_noise_std_finl")?,
            distance: settings.get("ddpg_noise_dst_finl")?,
            ratio: settings.get("ddpg_noise_adpt_rat")?,
        };
        match exploration.protocol {
            Protocol::TimeDecay if exploration.last > exploration.first => {
                let problem = format!("noise that decays ends below `ddpg_noise_std_init` = {}", exploration.first);
                return Err(settings.invalid("ddpg_noise_std_finl", &problem));
            }
            Protocol::Adapt if exploration.ratio <= 1.0 => {
                return Err(settings.invalid("ddpg_noise_adpt_rat", "noise that adapts needs a ratio above 1"));
            }
            _ => {}
        }
        let (batch, buffer) = (settings.get("ddpg_batch_size")?, settings.get("ddpg_buffer_size")?);
        if buffer < batch {
            let problem = format!("smaller than one batch; `ddpg_batch_size` is {batch}");
            return Err(settings.invalid("ddpg_buffer_size", &problem));
        }
        let decay: f64 = settings.get("ddpg_bsln_decy_rate")?;
        Ok(Self {
            tau: single("ddpg_tau")?,
            gamma: single("ddpg_gamma")?,
            rate: single("ddpg_lrn_rate")?,
            weight_decay: single("ddpg_loss_w_dcy")?,
            record_step: settings.get("ddpg_record_step")?,
            batch,
            buffer,
            baseline: settings.get::<bool>("ddpg_enbl_bsln_func")?.then_some(decay),
            actor: hidden("ddpg_actor_depth", "ddpg_actor_width")?,
            critic: hidden("ddpg_critic_depth", "ddpg_critic_width")?,
            exploration,
        })
    }
}
