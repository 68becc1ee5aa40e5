//! The options that nets share, and the recipe that they make, declared in one place so that their
//! names and meaning cannot drift apart.

use super::{Recipe, Schedule};
use crate::dataset::options::DatasetOptions;
use crate::error::Result;
use crate::option::HostOptions;
use crate::settings::Settings;

crate::options! {
    /// The images that a net takes; `size` is its own. Data sets whose images have no size of their
    /// own give what the net takes.
    pub struct ImageOptions(size: i64) {
        /// Height and width of the images in pixels.
        pub image_size: u32 = int("image_size", size, 8..=1024),
        /// Colours of the images: 3, red, green and blue; 1, grey.
        pub image_channels: u32 = int("image_channels", 3, 1..=3),
    }
}

impl ImageOptions {
    /// The channels of the images.
    ///
    /// # Errors
    /// A number that is neither 1 nor 3.
    pub fn channels(settings: &Settings) -> Result<usize> {
        match settings.get(Self::image_channels().optional())? {
            None | Some(3) => Ok(3),
            Some(1) => Ok(1),
            Some(_) => Err(settings.invalid(&Self::image_channels(), "images have 1 channel, grey, or 3, colours")),
        }
    }
}

/// What differs from net to net in the training from scratch.
#[derive(Debug)]
pub struct Defaults {
    /// How the help goes on after "Factor on the training epochs".
    pub epochs: &'static str,
    /// Default of `lrn_rate_init`, for a batch of `batch_size_norm` images.
    pub lrn_rate: f64,
    /// How the help goes on after "Initial learning rate, for a batch of `batch_size_norm`".
    pub lrn_rate_falls: &'static str,
    /// Default of `batch_size_norm`.
    pub batch_size_norm: i64,
    /// Whether the momentum is Nesterov's.
    pub nesterov: bool,
    /// Default of `loss_w_dcy`.
    pub weight_decay: f64,
}

crate::options! {
    /// The options of training from scratch.
    pub struct TrainingOptions(own: &Defaults) {
        /// Factor on the training epochs.
        pub epochs_ratio: f64 = float("nb_epochs_rat", 1.0, 1e-6..=100.0)
            .doc(format!("Factor on the training epochs{}", own.epochs)),
        /// Initial learning rate, for a batch of `batch_size_norm`.
        pub lrn_rate_init: f64 = float("lrn_rate_init", own.lrn_rate, 1e-9..=100.0)
            .doc(format!("Initial learning rate, for a batch of `batch_size_norm`{}", own.lrn_rate_falls)),
        /// Batch size that `lrn_rate_init` is meant for.
        pub batch_size_norm: f64 = int("batch_size_norm", own.batch_size_norm, 1..=65_536),
        /// Momentum of stochastic gradient descent.
        pub momentum: f64 = float("momentum", 0.9, 0.0..=0.999)
            .doc(match own.nesterov {
                true => "Momentum (Nesterov's) of stochastic gradient descent.",
                false => "Momentum of stochastic gradient descent.",
            }),
        /// Weight decay of the layers' weights.
        pub weight_decay: f64 = float("loss_w_dcy", own.weight_decay, 0.0..=1.0),
    }
}

/// A training from scratch under its settings.
#[derive(Debug, Clone)]
pub struct Training {
    own: &'static Defaults,
    options: TrainingOptions,
    /// Images that go into a step, of all workers together.
    pub batch_size: f64,
}

impl Training {
    /// Reads the options, and the batch size of the data set.
    ///
    /// # Errors
    /// A setting is missing or holds another type.
    pub fn read(settings: &Settings, own: &'static Defaults) -> Result<Self> {
        // Of all workers: as many images go into a step.
        let workers = settings.entry(HostOptions::n().name()).map_or(Ok(1), |_| settings.get(HostOptions::n()))?;
        let batch_size = settings.get(DatasetOptions::batch_size())? as f64 * f64::from(workers);
        Ok(Self { own, options: TrainingOptions::read(settings)?, batch_size })
    }

    /// Epochs, or a boundary in epochs, as the factor on them makes it.
    pub fn scaled(&self, epochs: f64) -> f64 {
        epochs * self.options.epochs_ratio
    }

    /// The initial learning rate for the batch size in use.
    pub fn lrn_rate(&self) -> f64 {
        self.options.lrn_rate_init * self.batch_size / self.options.batch_size_norm
    }

    /// The learning rate divided by ten at each of these epochs of the full training.
    pub fn piecewise(&self, boundaries: &[f64]) -> Schedule {
        let boundaries = boundaries.iter().map(|boundary| self.scaled(*boundary)).collect();
        Schedule::Piecewise { init: self.lrn_rate(), factor: 0.1, boundaries }
    }

    /// The learning rate multiplied by `factor` after every epoch of the full training. A tenth of
    /// the epochs: ten times the factor in each, so that the training ends at the same rate.
    pub fn exponential(&self, factor: f64) -> Schedule {
        Schedule::Exponential { init: self.lrn_rate(), factor: factor.powf(1.0 / self.options.epochs_ratio) }
    }

    /// The recipe of a full training of `epochs`.
    pub fn recipe(&self, epochs: f64, schedule: Schedule) -> Recipe {
        Recipe::new(self.scaled(epochs), schedule)
            .momentum(self.options.momentum, self.own.nesterov)
            .weight_decay(self.options.weight_decay)
            .lrn_rate(self.lrn_rate())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Defaults = Defaults {
        epochs: " (100).",
        lrn_rate: 0.1,
        lrn_rate_falls: ".",
        batch_size_norm: 256,
        nesterov: false,
        weight_decay: 1e-4,
    };

    fn training(epochs_ratio: f64) -> Training {
        let mut settings = Settings::defaults([("net", TrainingOptions::specs(&OWN))]);
        settings.derive(&DatasetOptions::batch_size(), 64_usize, "test");
        settings.derive(&TrainingOptions::epochs_ratio(), epochs_ratio, "test");
        Training::read(&settings, &OWN).unwrap()
    }

    #[test]
    fn the_ratio_scales_epochs_and_boundaries() {
        let training = training(0.5);
        let recipe = training.recipe(100.0, training.piecewise(&[30.0, 60.0]));
        assert_eq!((recipe.epochs, recipe.lrn_rate), (50.0, 0.025));
        assert_eq!(recipe.schedule, Schedule::Piecewise { init: 0.025, factor: 0.1, boundaries: vec![15.0, 30.0] });
        assert!((recipe.schedule.rate(31.0, 50.0) - 2.5e-4).abs() < 1e-12);
    }

    #[test]
    fn a_shorter_exponential_ends_at_the_same_rate() {
        let schedule = |ratio| training(ratio).exponential(0.98);
        let (full, short) = (schedule(1.0), schedule(0.25));
        assert!((full.rate(1.0, 412.0) - 0.025 * 0.98).abs() < 1e-12);
        assert!((full.rate(400.0, 412.0) / short.rate(100.0, 103.0) - 1.0).abs() < 1e-9);
        assert!(schedule(0.0).rate(0.0, 0.0).is_finite());
    }
}
