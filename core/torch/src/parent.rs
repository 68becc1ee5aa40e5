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
/// counts. Where no model is there the parent is saved there: the same training from the same seed
/// would give the same network.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome;
    use pocketflow::quant::{Buckets, QuantPlan};
    use pocketflow::report::Report;
    use pocketflow_testing::{TestHost, job};
    use std::path::Path;
    use std::sync::{Arc, Mutex};

    const AT: &str = "parent.ckpt";

    fn model(dir: &Path) -> Model {
        let job = job(dir, Arc::default(), &[]);
        let graph = job.net.graph().unwrap();
        let meta = outcome::meta(&job, "a-parent", &graph, None).unwrap();
        Network::initialised(&Engine::cpu(), &graph, 3).unwrap().to_model(meta).unwrap()
    }

    #[test]
    fn a_missing_parent_is_trained_once_by_the_learner_of_the_settings() {
        let dir = tempfile::tempdir().unwrap();
        let (made, path) = (model(dir.path()), dir.path().join(AT));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let host = Arc::new(TestHost::with_learner({
            let (asked, made, path) = (Arc::clone(&asked), made.clone(), path.clone());
            move |learner, replaced| {
                asked.lock().unwrap().push((learner.to_owned(), replaced.to_vec()));
                made.save(&path)?;
                Ok(Report::default())
            }
        }));
        let job = job(dir.path(), host.clone(), &[("enbl_warm_start", true.into()), ("enbl_dst", true.into())]);
        assert_eq!(parent(&job).unwrap(), made);
        assert_eq!(parent(&job).unwrap(), made);
        let text = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let path = path.display().to_string();
        let replaced = vec![text("save_path", &path), text("enbl_warm_start", "false"), text("enbl_dst", "false")];
        assert_eq!(*asked.lock().unwrap(), [("a-parent".to_owned(), replaced)]);
        assert!(host.notes()[0].contains("a-parent trains it first"), "{:?}", host.notes());
    }

    #[test]
    fn what_keeps_the_parent_from_being_trained_is_the_error() {
        let dir = tempfile::tempdir().unwrap();
        let error = parent(&job(dir.path(), Arc::default(), &[])).unwrap_err().to_string();
        assert!(error.contains("a-parent is not here"), "{error}");
    }

    #[test]
    fn a_quantized_model_is_no_parent() {
        let dir = tempfile::tempdir().unwrap();
        let Model { graph, meta, .. } = model(dir.path());
        let values = model(dir.path()).all_values().unwrap();
        let plan = QuantPlan::uniform(&graph, 4, 32, Buckets::Layer, true);
        Model::new(graph, plan, meta, values).unwrap().save(&dir.path().join(AT)).unwrap();
        let error = parent(&job(dir.path(), Arc::default(), &[])).unwrap_err().to_string();
        assert!(error.contains("`save_path` = ") && error.contains("is quantized"), "{error}");
    }

    #[test]
    fn the_parent_teaches_where_there_is_no_teacher() {
        let dir = tempfile::tempdir().unwrap();
        let made = model(dir.path());
        made.save(&dir.path().join(AT)).unwrap();
        let taught = |changes: &[_]| teacher(&Engine::cpu(), &job(dir.path(), Arc::default(), changes)).unwrap();
        assert!(taught(&[]).is_none());
        let (network, with) =
            taught(&[("enbl_dst", true.into()), ("loss_w_dst", 2.0.into()), ("tempr_dst", 3.0.into())]).unwrap();
        assert_eq!((with.weight, with.temperature), (2.0, 3.0));
        assert_eq!(network.values().unwrap(), made.all_values().unwrap());
        assert_eq!(Model::load(&dir.path().join("teacher.ckpt")).unwrap(), made);
    }

    #[test]
    fn a_comparison_without_a_parent_is_none_and_noted() {
        let dir = tempfile::tempdir().unwrap();
        let host = Arc::new(TestHost::default());
        let job = job(dir.path(), host.clone(), &[]);
        assert_eq!(metrics(&Engine::cpu(), &job).unwrap(), None);
        assert!(host.notes()[0].contains("(save_path)"), "{:?}", host.notes());
        model(dir.path()).save(&dir.path().join(AT)).unwrap();
        assert_eq!(metrics(&Engine::cpu(), &job).unwrap().map(|metrics| metrics.samples), Some(24));
    }
}
