//! How the nets are trained from scratch.

use crate::Version;
use pocketflow::net::Recipe;
use pocketflow::net::options::{Defaults, Training};

/// Version 1: epochs, and those after which the original divides the learning rate by ten.
const V1_EPOCHS: f64 = 100.0;
const V1_BOUNDARIES: [f64; 4] = [30.0, 60.0, 80.0, 90.0];
/// Version 2: epochs, and the factor of every epoch.
const V2_EPOCHS: f64 = 412.0;
const V2_FACTOR: f64 = 0.98;

pub const TRAINING: Defaults = Defaults {
    epochs: " (version 1: 100, version 2: 412), with a learning rate that falls as much faster.",
    lrn_rate: 0.045,
    lrn_rate_falls: ". Version 1 divides it by ten at epochs 30, 60, 80 and 90, version 2 multiplies it by 0.98 every \
                     epoch.",
    batch_size_norm: 96,
    nesterov: false,
    weight_decay: 4e-5,
};

pub fn recipe(training: &Training, version: Version) -> Recipe {
    match version {
        Version::V1 => training.recipe(V1_EPOCHS, training.piecewise(&V1_BOUNDARIES)),
        Version::V2 => training.recipe(V2_EPOCHS, training.exponential(V2_FACTOR)),
    }
}
