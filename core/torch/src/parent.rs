//! The full-precision networks that a compressed one comes from: its parent, and the teacher of
//! distillation. Trained first where there is none.

use crate::engine::Engine;
use crate::evaluate::{Metrics, evaluate};
use crate::images::ImageSet;
use crate::loss::Distillation;
use crate::network::Network;
use crate::saved;
use crate::train::splits;
use pocketflow::Result;
use pocketflow::job::Job;
use pocketflow::model::Model;
use pocketflow::option::HostOptions;

/// Returns the full-precision model at `save_path`; trained first if there is none, by the learner
/// that the setting `parent_learner` names.
///
/// # Errors
/// A file there that is no model of this job's net; that training's.
pub fn parent(job: &Job) -> Result<Model> {
    let path = job.settings.get(HostOptions::save_path())?;
    if !path.exists() {
        let learner = job.settings.get(HostOptions::parent_learner())?;
        job.note(format!("no full-precision model at {}: {learner} trains it first", path.display()));
        // The wishes to start warm and to distil are the compressed network's: its parent begins
        // from nothing.
        let own = [
            (HostOptions::save_path().name().to_owned(), path.display().to_string()),
            HostOptions::enbl_warm_start().flag(false),
            HostOptions::enbl_dst().flag(false),
        ];
        job.host.run_learner(&learner, &own)?;
    }
    saved::full_precision(job, HostOptions::save_path())
}

/// Returns a parent that training can begin from: batch normalisations that were folded into its
/// weights are given statistics, and it computes what it did ([`Network::adopt_statistics`]).
///
/// # Errors
/// The data set's.
pub fn trainable(engine: &Engine, job: &Job, parent: Model, images: &ImageSet) -> Result<Model> {
    let mut network = Network::from_model(engine, &parent)?;
    match adopt(job, &mut network, images)? {
        0 => Ok(parent),
        _ => network.to_model(parent.meta),
    }
}

/// As [`trainable`], for a network that goes on from a saved one; returns how many normalisations
/// these are.
///
/// # Errors
/// The data set's.
pub fn adopt(job: &Job, network: &mut Network, images: &ImageSet) -> Result<usize> {
    let adopted = network.adopt_statistics(images.tensors(job))?;
    if adopted > 0 {
        job.note(format!(
            "{adopted} batch normalisations of the model were folded into its weights: they are given the statistics of training \
             images, and it computes what it did"
        ));
    }
    Ok(adopted)
}

/// Returns, where the settings ask for distillation, the network to learn from and how much it
/// counts. Where no model is there the parent is saved there: the same training from the same seed would
/// give the same network.
///
/// # Errors
/// As [`parent`].
pub fn teacher(engine: &Engine, job: &Job) -> Result<Option<(Network, Distillation)>> {
    let settings = &job.settings;
    if !settings.get(HostOptions::enbl_dst())? {
        return Ok(None);
    }
    let (weight, temperature) = (settings.get(HostOptions::loss_w_dst())?, settings.get(HostOptions::tempr_dst())?);
    let path = settings.get(HostOptions::save_path_dst())?;
    if !path.exists() {
        parent(job)?.save(&path)?;
        job.note(format!("no teacher at {}: the parent teaches, and is saved there, too", path.display()));
    }
    let network = Network::from_model(engine, &saved::full_precision(job, HostOptions::save_path_dst())?)?;
    Ok(Some((network, Distillation { weight, temperature })))
}

/// Returns the parent's figures on the evaluation split, where the parent is there; that it is not,
/// or why it cannot be compared with, is noted.
///
/// # Errors
/// The data set's.
pub fn metrics(engine: &Engine, job: &Job) -> Result<Option<Metrics>> {
    let key = HostOptions::save_path();
    let path = job.settings.get(key)?;
    if !path.exists() {
        let (at, key) = (path.display(), key.name());
        job.note(format!("no comparison with full precision: there is no model at {at} ({key})"));
        return Ok(None);
    }
    match saved::compared(job, key) {
        Ok(parent) => evaluate(&Network::from_model(engine, &parent)?, job, splits(job)?.1).map(Some),
        Err(error) => {
            job.warn(format!("no comparison with full precision: {error}"));
            Ok(None)
        }
    }
}
