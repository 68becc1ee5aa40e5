//! The one way from a full-precision parent to a compressed network that is saved and reported:
//! parent (trained if there is none), its figures, the compressed network, prepared on images,
//! fine-tuned, saved, read back, evaluated. A learner says what is its own: the network that it
//! makes of the parent, and how that is trained.

use crate::calibrate::{self, Preparation};
use crate::engine::Engine;
use crate::evaluate::{Metrics, evaluate};
use crate::images::ImageSet;
use crate::network::Network;
use crate::train::{Trained, Training, splits, train};
use crate::{outcome, parent};
use pocketflow::Result;
use pocketflow::dataset::Split;
use pocketflow::graph::Graph;
use pocketflow::job::Job;
use pocketflow::model::{Model, ModelMeta};
use pocketflow::net::Recipe;
use pocketflow::report::Report;
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

/// A job under way.
pub struct Workflow<'a> {
    /// What the host asked for.
    pub job: &'a Job,
    /// What it computes with.
    pub engine: Engine,
    /// The images that figures are of.
    pub evaluated: Split,
    /// The net's recipe for the images that are trained on.
    pub recipe: Recipe,
    learner: &'static str,
    started: Instant,
    images: OnceCell<ImageSet>,
}

/// The network that a compressed one comes from.
pub struct Parent {
    /// Ready to be trained, where the learner trains.
    pub model: Model,
    /// Of the model as it was found.
    pub metrics: Metrics,
}

/// A model that a learner saves and reports.
pub struct Product<'a> {
    /// Saved as it is.
    pub model: &'a Model,
    /// Where it is saved.
    pub path: &'a Path,
    /// What it is, for the note that says where: `quantized model`.
    pub what: &'a str,
    /// The weights that it was quantized from.
    pub before: &'a BTreeMap<String, Vec<f32>>,
    /// What it is compared with.
    pub parent: &'a Parent,
    /// Of training; 0 where nothing was trained.
    pub images_per_second: f64,
}

impl<'a> Workflow<'a> {
    /// Begins a job of the learner of that name.
    ///
    /// # Errors
    /// Settings that the engine or the data set cannot take.
    pub fn begin(job: &'a Job, learner: &'static str) -> Result<Self> {
        let started = Instant::now();
        let engine = Engine::new(job)?;
        let (trained, evaluated) = splits(job)?;
        let recipe = job.net.recipe(job.dataset.info().samples(trained));
        Ok(Self { job, engine, evaluated, recipe, learner, started, images: OnceCell::new() })
    }

    /// Returns the images that networks are prepared on, read when they are first asked for.
    ///
    /// # Errors
    /// As [`ImageSet::calibration`].
    pub fn images(&self) -> Result<&ImageSet> {
        if let Some(images) = self.images.get() {
            return Ok(images);
        }
        let images = ImageSet::calibration(&self.engine, self.job)?;
        Ok(self.images.get_or_init(|| images))
    }

    /// Returns the parent and its figures; made ready for training, if `trains`.
    ///
    /// # Errors
    /// As [`parent::parent`]; the data set's.
    pub fn parent(&self, trains: bool) -> Result<Parent> {
        let model = parent::parent(self.job)?;
        let metrics = self.figures(&model)?;
        tracing::info!("full precision: top-1 {:.2} %", 100.0 * metrics.top1);
        let model = match trains {
            true => parent::trainable(&self.engine, self.job, model, self.images()?)?,
            false => model,
        };
        Ok(Parent { model, metrics })
    }

    fn figures(&self, model: &Model) -> Result<Metrics> {
        evaluate(&Network::from_model(&self.engine, model)?, self.job, self.evaluated)
    }

    /// Prepares a compressed network on images ([`calibrate::prepare`]) and logs its accuracy.
    ///
    /// # Errors
    /// libtorch's and the data set's; the host's wish to stop.
    pub fn prepare(&self, network: &mut Network, how: Preparation) -> Result<()> {
        calibrate::prepare(network, self.job, self.images()?, how)?;
        let metrics = evaluate(network, self.job, self.evaluated)?;
        tracing::info!("quantized, before fine-tuning: top-1 {:.2} %", 100.0 * metrics.top1);
        Ok(())
    }

    /// Fine-tunes a network, from a teacher where the settings ask for one.
    ///
    /// # Errors
    /// As [`train`]; as [`parent::teacher`].
    pub fn fine_tune(&self, network: &mut Network, training: Training) -> Result<Trained> {
        let teacher = parent::teacher(&self.engine, self.job)?;
        let teacher = teacher.as_ref().map(|(teacher, with)| (teacher, *with));
        train(network, self.job, &Training { teacher, ..training })
    }

    /// Returns where a model of this job comes from, whose graph is `graph`.
    ///
    /// # Errors
    /// A net that gives no graph.
    pub fn meta(&self, graph: &Graph, top1: Option<f64>) -> Result<ModelMeta> {
        outcome::meta(self.job, self.learner, graph, top1)
    }

    /// Returns how long the job has taken by now, in seconds.
    pub fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Saves a model, reads it back, and reports the figures of the file: these are what counts.
    ///
    /// # Errors
    /// A file that cannot be written; the data set's.
    pub fn finish(&self, product: &Product) -> Result<Report> {
        let Product { path, what, before, parent, images_per_second, .. } = product;
        product.model.save(path)?;
        let model = Model::load(path)?;
        let metrics = self.figures(&model)?;
        self.job.note(format!("{what} saved to {}", path.display()));
        let mut report = outcome::report(self.job, self.learner, &model, path, Some(before), metrics)?;
        compare(&mut report, Some(parent.metrics));
        (report.wall_seconds, report.images_per_second) = (self.seconds(), *images_per_second);
        Ok(report)
    }
}

/// Evaluates a saved model of a learner, and its parent where that is there.
///
/// # Errors
/// As [`outcome::evaluated`].
pub fn evaluate_saved(job: &Job, learner: &str, path: &Path) -> Result<Report> {
    let engine = Engine::new(job)?;
    let mut report = outcome::evaluated(&engine, job, learner, path)?;
    compare(&mut report, parent::metrics(&engine, job)?);
    Ok(report)
}

fn compare(report: &mut Report, parent: Option<Metrics>) {
    report.top1_full_precision = parent.map(|metrics| metrics.top1);
    report.top5_full_precision = parent.map(|metrics| metrics.top5);
}
