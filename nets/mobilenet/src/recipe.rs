//! How the nets are trained from scratch.

use crate::Version;
use pocketflow::Result;
use pocketflow::net::{FineTune, Recipe, Schedule};
use pocketflow::option::OptionSpec;
use pocketflow::settings::Settings;

/// Version 1: epochs, and those after which the original divides the learning rate by ten.
const V1_EPOCHS: f64 = 100.0;
const V1_BOUNDARIES: [f64; 4] = [30.0, 60.0, 80.0, 90.0];
/// Version 2: epochs, and the factor of every epoch.
const V2_EPOCHS: f64 = 412.0;
const V2_FACTOR: f64 = 0.98;
/// Epochs of fine-tuning (`uql_quant_epoch`'s default), and those after which its learning rate
/// falls.
const FINE_TUNE_EPOCHS: f64 = 60.0;
const FINE_TUNE_BOUNDARIES: [f64; 2] = [5.0, 30.0];

pub fn options() -> Vec<OptionSpec> {
    vec![
        OptionSpec::float(
            "nb_epochs_rat",
            1.0,
            1e-6..=100.0,
            "Factor on the training epochs (version 1: 100, version 2: 412), with a learning rate that falls as much faster.",
        ),
        OptionSpec::float(
            "lrn_rate_init",
            0.045,
            1e-9..=100.0,
            "Initial learning rate, for a batch of `batch_size_norm`. Version 1 divides it by ten at epochs 30, 60, 80 and 90, \
             version 2 multiplies it by 0.98 every epoch.",
        ),
        OptionSpec::int("batch_size_norm", 96, 1..=65536, "Batch size that `lrn_rate_init` is meant for."),
        OptionSpec::float("momentum", 0.9, 0.0..=0.999, "Momentum of stochastic gradient descent."),
        OptionSpec::float("loss_w_dcy", 4e-5, 0.0..=1.0, "Weight decay of the layers' weights."),
    ]
}

/// The recipe's settings.
#[derive(Debug, Clone)]
pub struct Training {
    version: Version,
    epochs_ratio: f64,
    /// For the batch size in use.
    lrn_rate: f64,
    momentum: f64,
    weight_decay: f64,
}

impl Training {
    pub fn configure(settings: &Settings, version: Version) -> Result<Self> {
        let batch_size: f64 = settings.get("batch_size")?;
        let batch_size_norm: f64 = settings.get("batch_size_norm")?;
        Ok(Self {
            version,
            epochs_ratio: settings.get("nb_epochs_rat")?,
            lrn_rate: settings.get::<f64>("lrn_rate_init")? * batch_size / batch_size_norm,
            momentum: settings.get("momentum")?,
            weight_decay: settings.get("loss_w_dcy")?,
        })
    }

    pub fn recipe(&self) -> Recipe {
        let (init, ratio) = (self.lrn_rate, self.epochs_ratio);
        let (epochs, schedule) = match self.version {
            Version::V1 => {
                let boundaries = V1_BOUNDARIES.iter().map(|boundary| boundary * ratio).collect();
                (V1_EPOCHS, Schedule::Piecewise { init, factor: 0.1, boundaries })
            }
            // A tenth of the epochs: ten times 0.98 in each, so that the training ends at the same
            // rate.
            Version::V2 => (V2_EPOCHS, Schedule::Exponential { init, factor: V2_FACTOR.powf(1.0 / ratio) }),
        };
        Recipe::new(epochs * ratio, schedule).momentum(self.momentum, false).weight_decay(self.weight_decay).fine_tune(
            FineTune { lrn_rate: self.lrn_rate, boundaries: FINE_TUNE_BOUNDARIES.to_vec(), epochs: FINE_TUNE_EPOCHS },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(version: Version, epochs_ratio: f64) -> Recipe {
        Training { version, epochs_ratio, lrn_rate: 0.045, momentum: 0.9, weight_decay: 4e-5 }.recipe()
    }

    #[test]
    fn the_ratio_scales_epochs_and_boundaries() {
        let short = recipe(Version::V1, 0.2);
        assert_eq!(short.epochs, 20.0);
        let Schedule::Piecewise { boundaries, .. } = short.schedule else { panic!("{:?}", short.schedule) };
        assert_eq!(boundaries, [6.0, 12.0, 16.0, 18.0]);
    }

    #[test]
    fn a_shorter_exponential_ends_at_the_same_rate() {
        let (full, short) = (recipe(Version::V2, 1.0), recipe(Version::V2, 0.25));
        assert_eq!((full.epochs, short.epochs), (412.0, 103.0));
        assert!((full.schedule.rate(1.0, 412.0) - 0.045 * 0.98).abs() < 1e-12);
        assert!((full.schedule.rate(400.0, 412.0) / short.schedule.rate(100.0, 103.0) - 1.0).abs() < 1e-9);
        assert!(recipe(Version::V2, 0.0).schedule.rate(0.0, 0.0).is_finite());
    }
}
