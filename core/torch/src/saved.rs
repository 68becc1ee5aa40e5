//! Models that a job reads, and what they must agree on with it: the net, the data set, the
//! normalisation of the input, and, for a parent or a teacher, that they are in full precision.

use pocketflow::dataset::options::DatasetOptions;
use pocketflow::fold::fold_graph;
use pocketflow::graph::Graph;
use pocketflow::job::Job;
use pocketflow::model::Model;
use pocketflow::option::{HostOptions, Key};
use pocketflow::{Error, Result};
use std::path::{Path, PathBuf};

/// A model of the job's net, from a file.
///
/// # Errors
/// No model there, a damaged one, one of another net, or one for other images.
pub fn load(job: &Job, path: &Path) -> Result<Model> {
    let model = Model::load(path)?;
    expect_graph(job, &model, path)?;
    expect_images(job, &model, path)?;
    Ok(model)
}

/// That a model is of the job's net: of its graph, or of what a learner made of it.
fn expect_graph(job: &Job, model: &Model, path: &Path) -> Result<()> {
    let graph = job.net.graph()?;
    match model.meta.changed_graph && model.meta.net == job.net_id && model.graph.name == graph.name {
        true => Ok(()),
        false => model.expect_graph(&graph, path),
    }
}

/// Returns the graph that a compressed network of this job has: that of the parent where there is
/// one, as a learner may have changed it, else the net's.
///
/// # Errors
/// As [`full_precision`].
pub fn graph(job: &Job) -> Result<Graph> {
    match job.settings.get(HostOptions::save_path())?.exists() {
        true => Ok(full_precision(job, HostOptions::save_path())?.graph),
        false => Ok(job.net.graph()?),
    }
}

/// A model in full precision, from the file that the setting `key` names: a parent, or a teacher. A
/// quantized model has lost what these are for.
///
/// # Errors
/// As [`load`]; a quantized model.
pub fn full_precision(job: &Job, key: Key<PathBuf>) -> Result<Model> {
    let model = load(job, &job.settings.get(key)?)?;
    expect_full_precision(job, key, &model)?;
    Ok(model)
}

/// The model in full precision at the setting `key` for a comparison with the job's network, which
/// may be the same with its batch normalisations folded.
///
/// # Errors
/// As [`full_precision`].
pub fn compared(job: &Job, key: Key<PathBuf>) -> Result<Model> {
    let path = job.settings.get(key)?;
    let model = Model::load(&path)?;
    if !is_folded_of(&job.net.graph()?, &model.graph) {
        expect_graph(job, &model, &path)?;
    }
    expect_images(job, &model, &path)?;
    expect_full_precision(job, key, &model)?;
    Ok(model)
}

/// Whether a graph is another with its batch normalisations folded.
pub(crate) fn is_folded_of(folded: &Graph, graph: &Graph) -> bool {
    fold_graph(graph).is_ok_and(|folding| folding.graph == *folded)
}

fn expect_full_precision(job: &Job, key: Key<PathBuf>, model: &Model) -> Result<()> {
    let Some(how) = model.quantization() else { return Ok(()) };
    let learner = &model.meta.learner;
    Err(job.settings.invalid(
        &key,
        &format!(
            "the model there is quantized ({how}, by learner `{learner}`), and one in full precision is needed: give the path of \
             a model that was not quantized, or of a file that is not there yet, which is then trained"
        ),
    ))
}

/// That a model is for the job's images: the same data set, classes and normalisation.
fn expect_images(job: &Job, model: &Model, path: &Path) -> Result<()> {
    let (meta, info) = (&model.meta, job.dataset.info());
    // Classes of the same names in the same order are the same, wherever their images come from.
    let same_classes = info.classes_by_name && !info.stand_in && !meta.stand_in && meta.labels == info.labels;
    if (meta.stand_in, &meta.dataset) != (info.stand_in, &info.name) && !same_classes {
        let text = format!("{} was trained on `{}`, this run uses `{}`", path.display(), meta.dataset, info.name);
        return Err(Error::config(format!("{text}: give another path, or move the file away to train anew")));
    }
    let (classes, own) = (model.classes()?, info.labels.len());
    if classes != own {
        return Err(Error::config(format!(
            "{} tells {classes} classes apart, the data set `{}` has {own}: set {}, or give another model",
            path.display(),
            info.name,
            DatasetOptions::nb_classes().name()
        )));
    }
    if info.classes_by_name && !same_classes && !meta.labels.is_empty() {
        let differing = meta.labels.iter().zip(&info.labels).find(|(theirs, ours)| theirs != ours);
        let (theirs, ours) = differing.unwrap_or((&meta.dataset, &info.name));
        return Err(Error::config(format!(
            "{} tells other classes apart than the data set `{}` has: `{theirs}` where it has `{ours}`; name the folders of \
             the classes as they were, or give another model",
            path.display(),
            info.name
        )));
    }
    let same = |ours: &[f32], theirs: &[f32]| {
        ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(x, y)| (x - y).abs() <= 1e-3 * (1.0 + y.abs()))
    };
    let fits = same(&meta.mean, &info.mean) && same(&meta.std, &info.std);
    if !fits && !meta.mean.is_empty() {
        return Err(Error::config(format!(
            "{} takes its input with mean {:?} and std {:?}, this run with {:?} and {:?}: give {}",
            path.display(),
            meta.mean,
            meta.std,
            info.mean,
            info.std,
            HostOptions::normalised_by(&meta.mean, &meta.std)
        )));
    }
    Ok(())
}
