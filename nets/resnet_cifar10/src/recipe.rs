//! How the net is trained from scratch.

use pocketflow::Result;
use pocketflow::net::options::{self, Defaults};
use pocketflow::net::{Recipe, Schedule};
use pocketflow::settings::Settings;

/// Epochs of the full training, and those after which the original divides the learning rate by
/// ten.
const EPOCHS: f64 = 250.0;
const BOUNDARIES: [f64; 3] = [100.0, 150.0, 200.0];
/// The one-cycle schedule climbs to this multiple of `lrn_rate_init`, and to less where the
/// training is too short to recover from so hot a start: one time `lrn_rate_init` for every so many
/// steps.
const ONE_CYCLE_PEAK: f64 = 4.0;
const ONE_CYCLE_STEPS: f64 = 1000.0;
const ONE_CYCLE_WARM_UP: f64 = 0.2;

pub const TRAINING: Defaults = Defaults {
    epochs: " (250) and on the boundaries.",
    lrn_rate: 0.1,
    lrn_rate_falls: ".",
    batch_size_norm: 128,
    nesterov: true,
    weight_decay: 2e-4,
};

pocketflow::choice! {
    /// How the learning rate goes over the training.
    pub enum Pace {
        OneCycle = "onecycle",
        Piecewise = "piecewise",
    }
}

pocketflow::options! {
    /// The option that this net has beside those of every training.
    pub struct ScheduleOptions {
        /// `onecycle`: up to four times `lrn_rate_init` (less in a training of under 4,000 steps)
        /// in a fifth of the training, then linearly to zero. `piecewise`: the original's, divided
        /// by ten at epochs 100, 150 and 200.
        pub pace: Pace = one_of("lrn_rate_schedule", Pace::OneCycle),
    }
}

/// The recipe's settings.
pub struct Training {
    training: options::Training,
    pace: Pace,
}

impl Training {
    pub fn read(settings: &Settings) -> Result<Self> {
        let training = options::Training::read(settings, &TRAINING)?;
        Ok(Self { training, pace: settings.get(ScheduleOptions::pace())? })
    }

    /// For a training on `samples` images.
    pub fn recipe(&self, samples: u64) -> Recipe {
        let steps = self.training.scaled(EPOCHS) * samples as f64 / self.training.batch_size;
        let peak = self.training.lrn_rate() * (steps / ONE_CYCLE_STEPS).clamp(1.0, ONE_CYCLE_PEAK);
        let schedule = match self.pace {
            Pace::OneCycle => Schedule::OneCycle { peak, warm_up: ONE_CYCLE_WARM_UP },
            Pace::Piecewise => self.training.piecewise(&BOUNDARIES),
        };
        self.training.recipe(EPOCHS, schedule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pocketflow::dataset::options::DatasetOptions;
    use pocketflow::net::options::TrainingOptions;

    fn recipe(pace: Pace, samples: u64) -> Recipe {
        let specs = [TrainingOptions::specs(&TRAINING), ScheduleOptions::specs()].concat();
        let mut settings = Settings::defaults([("net", specs)]);
        settings.derive(&DatasetOptions::batch_size(), 128_u32, "test");
        settings.derive(&TrainingOptions::epochs_ratio(), 0.1, "test");
        settings.derive(&ScheduleOptions::pace(), pace, "test");
        Training::read(&settings).unwrap().recipe(samples)
    }

    #[test]
    fn a_short_training_starts_less_hot() {
        let peak = |samples| match recipe(Pace::OneCycle, samples).schedule {
            Schedule::OneCycle { peak, .. } => peak,
            other => panic!("{other:?}"),
        };
        assert_eq!(peak(50_000), 0.4);
        assert_eq!(peak(1_000), 0.1);
    }

    #[test]
    fn the_originals_falls_at_its_boundaries() {
        let recipe = recipe(Pace::Piecewise, 50_000);
        assert_eq!((recipe.epochs, recipe.nesterov), (25.0, true));
        let Schedule::Piecewise { boundaries, .. } = recipe.schedule else { panic!("{:?}", recipe.schedule) };
        assert_eq!(boundaries, [10.0, 15.0, 20.0]);
    }
}
