//! The trait of a net: a graph and the recipe to train it. Data only; no net trains itself.

pub mod options;
pub mod residual;
mod sound;

use crate::dataset::options::DatasetOptions;
use crate::error::Result;
use crate::graph::Graph;
use crate::option::Value;
use serde::{Deserialize, Serialize};

/// Name and shape of a tensor in a file.
pub type NamedShape = (String, Vec<usize>);

/// A network architecture with its training recipe.
pub trait Net: Send {
    /// The network. Its last node gives the logits.
    ///
    /// # Errors
    /// Settings that make no valid network.
    fn graph(&self) -> Result<Graph>;

    /// How to train it from scratch on `samples` training images. It is checked where it is used
    /// ([`Recipe::check`]).
    fn recipe(&self, samples: u64) -> Recipe;

    /// The options under which the net has weights of these names and shapes, as far as they tell:
    /// for weights that are imported. `weights` are those of convolutions `[out, in / groups, kh,
    /// kw]` and fully connected layers `[out, in]`, in the order of the file, which may be any. A
    /// guess is no harm: what is imported has to fit in the end.
    fn recognise(weights: &[NamedShape]) -> Vec<(String, Value)>
    where
        Self: Sized,
    {
        let _ = weights;
        Vec::new()
    }
}

/// The option that the first fully connected layer among weights tells: its number of classes.
pub fn classes(weights: &[NamedShape]) -> Option<(String, Value)> {
    let (_, shape) = weights.iter().find(|(_, shape)| shape.len() == 2)?;
    Some(DatasetOptions::nb_classes().with(u32::try_from(shape[0]).ok()?))
}

/// A training recipe: loss is softmax cross-entropy plus `weight_decay / 2 · ‖w‖²` over the weights
/// of layers.
/// [`Recipe::new`] makes one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "received::Recipe")]
#[non_exhaustive]
pub struct Recipe {
    /// Passes over the training data; may be a fraction.
    pub epochs: f64,
    /// Momentum of stochastic gradient descent, 0–1; 0 is none.
    pub momentum: f64,
    /// Whether the momentum is Nesterov's.
    pub nesterov: bool,
    /// Factor of the loss on the squares of the weights of layers; 0 is none.
    pub weight_decay: f64,
    /// The learning rate over the training, for the batch size in use.
    pub schedule: Schedule,
    /// The initial learning rate that the net is known to train well with, for the batch size in
    /// use: what a learner scales in a schedule of its own.
    pub lrn_rate: f64,
}

impl Recipe {
    /// Plain gradient descent: no momentum, no weight decay; the initial learning rate is the
    /// schedule's.
    pub fn new(epochs: f64, schedule: Schedule) -> Self {
        let lrn_rate = schedule.rate(0.0, epochs);
        Self { epochs, momentum: 0.0, nesterov: false, weight_decay: 0.0, schedule, lrn_rate }
    }

    /// The same with a momentum, Nesterov's or the plain one.
    #[must_use]
    pub fn momentum(self, momentum: f64, nesterov: bool) -> Self {
        Self { momentum, nesterov, ..self }
    }

    /// The same with a weight decay.
    #[must_use]
    pub fn weight_decay(self, weight_decay: f64) -> Self {
        Self { weight_decay, ..self }
    }

    /// The same with another initial learning rate than the schedule's.
    #[must_use]
    pub fn lrn_rate(self, lrn_rate: f64) -> Self {
        Self { lrn_rate, ..self }
    }
}

/// A recipe as it arrives.
mod received {
    use super::Schedule;
    use serde::Deserialize;

    #[derive(Deserialize)]
    pub struct Recipe {
        epochs: f64,
        momentum: Option<f64>,
        nesterov: Option<bool>,
        weight_decay: Option<f64>,
        schedule: Schedule,
        lrn_rate: Option<f64>,
        fine_tune: Option<FineTune>,
    }

    /// What nets used to say of fine-tuning, which is the learner's to say. The rate is today's
    /// [`lrn_rate`](super::Recipe::lrn_rate).
    #[derive(Deserialize)]
    struct FineTune {
        lrn_rate: f64,
    }

    impl From<Recipe> for super::Recipe {
        fn from(received: Recipe) -> Self {
            let Recipe { epochs, momentum, nesterov, weight_decay, schedule, lrn_rate, fine_tune } = received;
            let plain = Self::new(epochs, schedule);
            let older = fine_tune.map(|older| older.lrn_rate);
            Self {
                momentum: momentum.unwrap_or(plain.momentum),
                nesterov: nesterov.unwrap_or(plain.nesterov),
                weight_decay: weight_decay.unwrap_or(plain.weight_decay),
                lrn_rate: lrn_rate.or(older).unwrap_or(plain.lrn_rate),
                ..plain
            }
        }
    }
}

/// Learning rate over training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Schedule {
    /// `init`, multiplied by `factor` at each boundary (in epochs).
    Piecewise {
        /// Learning rate of the first epoch.
        init: f64,
        /// What it is multiplied by at each boundary.
        factor: f64,
        /// Epochs after which that happens, ascending.
        boundaries: Vec<f64>,
    },
    /// `init`, multiplied by `factor` every epoch.
    Exponential {
        /// Learning rate of the first epoch.
        init: f64,
        /// What it is multiplied by after each epoch.
        factor: f64,
    },
    /// Linear from `peak / 25` to `peak` over the first `warm_up` (a fraction of the training),
    /// then linear to zero (after Smith & Topin 2017, arXiv 1708.07120).
    OneCycle {
        /// The largest learning rate.
        peak: f64,
        /// Fraction of the training, 0–1.
        warm_up: f64,
    },
    /// Half a cosine from `init` to zero.
    Cosine {
        /// Learning rate of the first step.
        init: f64,
    },
}

impl Schedule {
    /// The learning rate at `epoch` (may be a fraction) of a training of `epochs`.
    pub fn rate(&self, epoch: f64, epochs: f64) -> f64 {
        let progress = (epoch / epochs).clamp(0.0, 1.0);
        match self {
            Self::Piecewise { init, factor, boundaries } => {
                let passed = boundaries.iter().filter(|boundary| epoch >= **boundary).count();
                init * factor.powi(passed as i32)
            }
            Self::Exponential { init, factor } => init * factor.powf(epoch.floor()),
            Self::OneCycle { peak, warm_up } if progress < *warm_up => peak * (1.0 + 24.0 * progress / warm_up) / 25.0,
            Self::OneCycle { peak, warm_up } => peak * (1.0 - progress) / (1.0 - warm_up),
            Self::Cosine { init } => init * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
        }
    }

    /// The schedule with all its rates multiplied.
    #[must_use]
    pub fn scaled(self, by: f64) -> Self {
        match self {
            Self::Piecewise { init, factor, boundaries } => Self::Piecewise { init: init * by, factor, boundaries },
            Self::Exponential { init, factor } => Self::Exponential { init: init * by, factor },
            Self::OneCycle { peak, warm_up } => Self::OneCycle { peak: peak * by, warm_up },
            Self::Cosine { init } => Self::Cosine { init: init * by },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules() {
        let piecewise = Schedule::Piecewise { init: 0.1, factor: 0.1, boundaries: vec![100.0, 150.0] };
        assert_eq!(piecewise.rate(99.9, 250.0), 0.1);
        assert!((piecewise.rate(150.0, 250.0) - 0.001).abs() < 1e-12);
        let cycle = Schedule::OneCycle { peak: 0.4, warm_up: 0.3 };
        assert!((cycle.rate(0.0, 10.0) - 0.016).abs() < 1e-12);
        assert!((cycle.rate(3.0, 10.0) - 0.4).abs() < 1e-12);
        assert_eq!(cycle.rate(10.0, 10.0), 0.0);
        let exponential = Schedule::Exponential { init: 1.0, factor: 0.98 };
        assert!((exponential.rate(2.5, 9.0) - 0.9604).abs() < 1e-12);
        assert!((Schedule::Cosine { init: 2.0 }.rate(5.0, 10.0) - 1.0).abs() < 1e-12);
        for schedule in [piecewise, cycle, exponential, Schedule::Cosine { init: 2.0 }] {
            assert_eq!(schedule.clone().scaled(0.5).rate(1.25, 10.0), schedule.rate(1.25, 10.0) * 0.5);
        }
    }
}
