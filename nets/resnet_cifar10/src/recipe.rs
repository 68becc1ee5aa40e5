//! How the net is trained from scratch.

use pocketflow::Result;
use pocketflow::net::{FineTune, Recipe, Schedule};
use pocketflow::option::OptionSpec;
use pocketflow::settings::Settings;

/// Epochs of the full training, and those after which the original divides the learning rate by
/// ten.
const EPOCHS: f64 = 250.0;
const BOUNDARIES: [f64; 3] = [100.0, 150.0, 200.0];
/// Epochs of fine-tuning (`uql_quant_epoch`'s default), and those after which its learning rate
/// falls.
const FINE_TUNE_EPOCHS: f64 = 60.0;
const FINE_TUNE_BOUNDARIES: [f64; 2] = [15.0, 40.0];
/// The one-cycle schedule climbs to this multiple of `lrn_rate_init`, and to less where the
/// training is too short to recover from so hot a start: one time `lrn_rate_init` for every so many
/// steps.
const ONE_CYCLE_PEAK: f64 = 4.0;
const ONE_CYCLE_STEPS: f64 = 1000.0;
const ONE_CYCLE_WARM_UP: f64 = 0.2;

pub fn options() -> Vec<OptionSpec> {
    vec![
        OptionSpec::float(
            "nb_epochs_rat",
            1.0,
            1e-6..=100.0,
            "Factor on the training epochs (250) and on the boundaries.",
        ),
        OptionSpec::float(
            "lrn_rate_init",
            0.1,
            1e-9..=100.0,
            "Initial learning rate, for a batch of `batch_size_norm`.",
        ),
        OptionSpec::int("batch_size_norm", 128, 1..=65536, "Batch size that `lrn_rate_init` is meant for."),
        OptionSpec::float("momentum", 0.9, 0.0..=0.999, "Momentum (Nesterov's) of stochastic gradient descent."),
        OptionSpec::float("loss_w_dcy", 2e-4, 0.0..=1.0, "Weight decay of the layers' weights."),
        OptionSpec::choice(
            "lrn_rate_schedule",
            "onecycle",
            &["onecycle", "piecewise"],
            "`onecycle`: up to four times `lrn_rate_init` (less in a training of under 4,000 steps) in a fifth of the \
             training, then linearly to zero. `piecewise`: the original's, divided by ten at epochs 100, 150 and 200.",
        ),
    ]
}

/// The recipe's settings.
#[derive(Debug, Clone)]
pub struct Training {
    epochs_ratio: f64,
    batch_size: f64,
    /// For the batch size in use.
    lrn_rate: f64,
    momentum: f64,
    weight_decay: f64,
    one_cycle: bool,
}

impl Training {
    pub fn configure(settings: &Settings) -> Result<Self> {
        let batch_size: f64 = settings.get("batch_size")?;
        let batch_size_norm: f64 = settings.get("batch_size_norm")?;
        Ok(Self {
            epochs_ratio: settings.get("nb_epochs_rat")?,
            batch_size,
            lrn_rate: settings.get::<f64>("lrn_rate_init")? * batch_size / batch_size_norm,
            momentum: settings.get("momentum")?,
            weight_decay: settings.get("loss_w_dcy")?,
            one_cycle: settings.get::<String>("lrn_rate_schedule")? == "onecycle",
        })
    }

    /// For a training on `samples` images.
    pub fn recipe(&self, samples: u64) -> Recipe {
        let boundaries = BOUNDARIES.iter().map(|boundary| boundary * self.epochs_ratio).collect();
        let epochs = EPOCHS * self.epochs_ratio;
        let steps = epochs * samples as f64 / self.batch_size;
        let peak = self.lrn_rate * (steps / ONE_CYCLE_STEPS).clamp(1.0, ONE_CYCLE_PEAK);
        let schedule = match self.one_cycle {
            true => Schedule::OneCycle { peak, warm_up: ONE_CYCLE_WARM_UP },
            false => Schedule::Piecewise { init: self.lrn_rate, factor: 0.1, boundaries },
        };
        Recipe::new(epochs, schedule).momentum(self.momentum, true).weight_decay(self.weight_decay).fine_tune(
            FineTune { lrn_rate: self.lrn_rate, boundaries: FINE_TUNE_BOUNDARIES.to_vec(), epochs: FINE_TUNE_EPOCHS },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn training(one_cycle: bool) -> Training {
        let (lrn_rate, momentum, weight_decay) = (0.1, 0.9, 2e-4);
        Training { epochs_ratio: 0.1, batch_size: 128.0, lrn_rate, momentum, weight_decay, one_cycle }
    }

    #[test]
    fn a_short_training_starts_less_hot() {
        let peak = |samples| match training(true).recipe(samples).schedule {
            Schedule::OneCycle { peak, .. } => peak,
            other => panic!("{other:?}"),
        };
        assert_eq!(peak(50_000), 0.4);
        assert_eq!(peak(1_000), 0.1);
    }

    #[test]
    fn the_ratio_scales_epochs_and_boundaries() {
        let recipe = training(false).recipe(50_000);
        assert_eq!(recipe.epochs, 25.0);
        let Schedule::Piecewise { boundaries, .. } = recipe.schedule else { panic!("{:?}", recipe.schedule) };
        assert_eq!(boundaries, [10.0, 15.0, 20.0]);
    }
}
