//! The workflow: a full-precision parent (trained first if there is none), bits for its layers
//! (given, or searched for), its quantized child, fine-tuning, the packed model.

use crate::NAME;
use crate::compare::Comparison;
use crate::options::{Options, specs};
use pocketflow::Result;
use pocketflow::clip::WeightRange;
use pocketflow::graph::Graph;
use pocketflow::job::Job;
use pocketflow::learner::Learner;
use pocketflow::model::Model;
use pocketflow::net::{FineTune, Recipe, Schedule};
use pocketflow::option::OptionSpec;
use pocketflow::plugin::{About, Plugin};
use pocketflow::quant::QuantPlan;
use pocketflow::report::Report;
use pocketflow::report::search::SearchReport;
use pocketflow::settings::Settings;
use pocketflow_search::bench::POOL;
use pocketflow_search::plan::plan;
use pocketflow_search::search::{Budgets, budgets, search, write_plan};
use pocketflow_torch::calibrate::{CALIBRATION_IMAGES, calibrate, observe, reestimate};
use pocketflow_torch::evaluate::evaluate;
use pocketflow_torch::network::{Network, Weights};
use pocketflow_torch::optimizer::Rule;
use pocketflow_torch::train::{Training, splits, train};
use pocketflow_torch::{device, outcome, parent};
use std::time::Instant;

/// Uniform quantization with fine-tuning.
pub struct Uniform {
    options: Options,
}

impl Plugin for Uniform {
    const ABOUT: About = About {
        aliases: &["uniform-quant"],
        line: "Uniform quantization of weights and activations, 1 to 32 bits, with buckets and fine-tuning",
        datasets: &[],
    };

    fn options() -> Vec<OptionSpec> {
        specs()
    }

    fn configure(settings: &Settings) -> Result<Self> {
        Ok(Self { options: Options::read(settings)? })
    }
}

impl Learner for Uniform {
    fn train(&mut self, job: &Job) -> Result<Report> {
        let start = Instant::now();
        let options = &self.options;
        device::prepare(&job.settings)?;
        let graph = job.net.graph()?;
        let given = plan(&graph, &options.quantization, options.weight_bits, options.bit_plan.as_deref())?;
        let budgets = match options.search.methods.is_empty() {
            true => None,
            false => {
                let compares = options.epochs > 0.0 && options.search.methods.len() > 1;
                Some(budgets(job, &graph, &options.quantization, &options.search, compares)?)
            }
        };
        let (split, evaluation) = splits(job)?;
        let recipe = job.net.recipe(job.dataset.info().samples(split));

        let parent = parent::parent(job)?;
        let full_precision = evaluate(&Network::from_model(&parent)?, job, evaluation)?;
        tracing::info!("full precision: top-1 {:.2} %", 100.0 * full_precision.top1);
        let trains = options.epochs > 0.0 || budgets.is_some();
        let parent = if trains { parent::trainable(job, parent)? } else { parent };
        let (plan, searched) = match budgets {
            None => (given, None),
            Some(budgets) => {
                self.searched(job, &graph, &parent, &budgets, &recipe).map(|(plan, report)| (plan, Some(report)))?
            }
        };

        let mut network = child(job, &graph, &parent, &plan, options)?;
        tracing::info!(
            "quantized, before fine-tuning: top-1 {:.2} %",
            100.0 * evaluate(&network, job, evaluation)?.top1
        );
        let teacher = parent::teacher(job)?;
        let training = Training {
            teacher: teacher.as_ref().map(|(teacher, with)| (teacher, *with)),
            ..training(NAME, &recipe, options)
        };
        let trained = train(&mut network, job, &training)?;

        let path = &options.quantization.save_path;
        let before = network.values()?;
        network.to_model(outcome::meta(job, NAME, trained.last.map(|metrics| metrics.top1)))?.save(path)?;
        // What counts is the file: it is read back, and its figures are the report's.
        let model = Model::load(path)?;
        let metrics = evaluate(&Network::from_model(&model)?, job, evaluation)?;
        job.note(format!("quantized model saved to {}", path.display()));
        let mut report = outcome::report(job, NAME, &model, path, Some(&before), metrics)?;
        if report.model_bytes > report.full_precision_bytes {
            job.warn(format!(
                "the quantized file takes {} bytes, the same network in full precision {}: {} of them are ranges of buckets; buckets of \
                 more weights (uql_bucket_size, or uql_bucket_type = channel) or none take less",
                report.model_bytes, report.full_precision_bytes, report.bucket_bytes
            ));
        }
        report.top1_full_precision = Some(full_precision.top1);
        report.top5_full_precision = Some(full_precision.top5);
        (report.wall_seconds, report.images_per_second) = (start.elapsed().as_secs_f64(), trained.images_per_second);
        report.search = searched;
        Ok(report)
    }

    fn evaluate(&mut self, job: &Job) -> Result<Report> {
        let path = job.model.as_ref().unwrap_or(&self.options.quantization.save_path);
        let mut report = outcome::evaluated(job, NAME, path)?;
        if let Some(metrics) = parent::metrics(job)? {
            (report.top1_full_precision, report.top5_full_precision) = (Some(metrics.top1), Some(metrics.top5));
        }
        Ok(report)
    }
}

impl Uniform {
    /// The plan of the best allocation that a search finds, and what is to be reported of it.
    fn searched(
        &self,
        job: &Job,
        graph: &Graph,
        parent: &Model,
        budgets: &Budgets,
        recipe: &Recipe,
    ) -> Result<(QuantPlan, SearchReport)> {
        let options = &self.options;
        let mut report = search(job, parent, &options.quantization, &options.search, budgets, false)?;
        let comparison = Comparison { job, graph, parent, options, recipe };
        let chosen = comparison.choose(&mut report)?;
        let path = write_plan(job, &options.search, &report, &chosen)?;
        job.note(format!("bits per layer by `{}`, written to {}", chosen.method, path.display()));
        Ok((comparison.plan(&report, &chosen), report))
    }
}

/// The parent quantized by a plan, ready to be fine-tuned, or to be used if there is no
/// fine-tuning.
pub fn child(job: &Job, graph: &Graph, parent: &Model, plan: &QuantPlan, options: &Options) -> Result<Network> {
    let mut network = Network::new(graph, plan, &parent.all_values()?, Weights::FullPrecision)?;
    let clips = options.quantization.range == WeightRange::Mse;
    let reestimates = options.epochs == 0.0 && options.quantization.reestimate;
    if clips || reestimates {
        observe(&mut network, job, POOL as u64)?;
    }
    if clips {
        network.clip_weights()?;
    }
    calibrate(&network, job, CALIBRATION_IMAGES)?;
    if reestimates {
        reestimate(&mut network, job, POOL as u64)?;
    }
    Ok(network)
}

/// The fine-tuning, without a teacher.
pub fn training<'a>(phase: &'a str, recipe: &Recipe, options: &Options) -> Training<'a> {
    Training {
        phase,
        epochs: options.epochs,
        rule: Rule::Adam,
        schedule: schedule(&recipe.fine_tune, options),
        weight_decay: recipe.weight_decay,
        teacher: None,
        quant_delay: 0,
        freeze_delay: None,
    }
}

fn schedule(tune: &FineTune, options: &Options) -> Schedule {
    match options.quantization.lrn_rate {
        Some(init) => Schedule::Cosine { init },
        None => {
            let boundaries = tune.boundaries.iter().map(|boundary| boundary * options.epochs / tune.epochs).collect();
            Schedule::Piecewise { init: tune.lrn_rate * 1e-3, factor: 0.1, boundaries }
        }
    }
}
