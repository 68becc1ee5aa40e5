//! How the net is trained from scratch.

use pocketflow::Result;
use pocketflow::net::{FineTune, Recipe, Schedule};
use pocketflow::option::OptionSpec;
use pocketflow::settings::Settings;

/// Epochs of the full training, and those after which the original divides the learning rate by
/// ten.
const EPOCHS: f64 = 100.0;
const BOUNDARIES: [f64; 4] = [30.0, 60.0, 80.0, 90.0];
/// Epochs of fine-tuning (`uql_quant_epoch`'s default), and those after which its learning rate
/// falls.
const FINE_TUNE_EPOCHS: f64 = 60.0;
const FINE_TUNE_BOUNDARIES: [f64; 2] = [5.0, 20.0];

pub fn options() -> Vec<OptionSpec> {
    vec![
        OptionSpec::float(
            "nb_epochs_rat",
            1.0,
            1e-6..=100.0,
            "Factor on the training epochs (100) and on the boundaries (30, 60, 80, 90).",
        ),
        OptionSpec::float(
            "lrn_rate_init",
            0.1,
            1e-9..=100.0,
            "Initial learning rate, for a batch of `batch_size_norm`; divided by ten at each boundary.",
        ),
        OptionSpec::int("batch_size_norm", 256, 1..=65536, "Batch size that `lrn_rate_init` is meant for."),
        OptionSpec::float("momentum", 0.9, 0.0..=0.999, "Momentum of stochastic gradient descent."),
        OptionSpec::float("loss_w_dcy", 1e-4, 0.0..=1.0, "Weight decay of the layers' weights."),
    ]
}

/// The recipe's settings.
#[derive(Debug, Clone)]
pub struct Training {
    epochs_ratio: f64,
    /// For the batch size in use.
    lrn_rate: f64,
    momentum: f64,
    weight_decay: f64,
}

impl Training {
    pub fn configure(settings: &Settings) -> Result<Self> {
        let batch_size: f64 = settings.get("batch_size")?;
        let batch_size_norm: f64 = settings.get("batch_size_norm")?;
        Ok(Self {
            epochs_ratio: settings.get("nb_epochs_rat")?,
            lrn_rate: settings.get::<f64>("lrn_rate_init")? * batch_size / batch_size_norm,
            momentum: settings.get("momentum")?,
            weight_decay: settings.get("loss_w_dcy")?,
        })
    }

    pub fn recipe(&self) -> Recipe {
        let boundaries = BOUNDARIES.iter().map(|boundary| boundary * self.epochs_ratio).collect();
        Recipe::new(EPOCHS * self.epochs_ratio, Schedule::Piecewise { init: self.lrn_rate, factor: 0.1, boundaries })
            .momentum(self.momentum, false)
            .weight_decay(self.weight_decay)
            .fine_tune(FineTune {
                lrn_rate: self.lrn_rate,
                boundaries: FINE_TUNE_BOUNDARIES.to_vec(),
                epochs: FINE_TUNE_EPOCHS,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_scales_epochs_and_boundaries() {
        let training = Training { epochs_ratio: 0.5, lrn_rate: 0.1, momentum: 0.9, weight_decay: 1e-4 };
        let recipe = training.recipe();
        assert_eq!(recipe.epochs, 50.0);
        let Schedule::Piecewise { boundaries, .. } = &recipe.schedule else { panic!("{:?}", recipe.schedule) };
        assert_eq!(*boundaries, [15.0, 30.0, 40.0, 45.0]);
        assert!((recipe.schedule.rate(46.0, 50.0) - 1e-5).abs() < 1e-12);
    }
}
