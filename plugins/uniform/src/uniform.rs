//! The learner: a full-precision parent, bits for its layers (given, or searched for), its
//! quantized child, fine-tuned and packed.

use crate::compare::Comparison;
use crate::options::search::{PLAN_FILE, SearchOptions};
use crate::options::{Options, budget_error, specs};
use crate::schedule::{first_rate, schedule};
use pocketflow::Result;
use pocketflow::graph::Graph;
use pocketflow::job::Job;
use pocketflow::learner::Learner;
use pocketflow::net::Recipe;
use pocketflow::option::OptionSpec;
use pocketflow::plugin::{About, Plugin};
use pocketflow::quant::QuantPlan;
use pocketflow::report::Report;
use pocketflow::report::search::{Candidate, SearchReport};
use pocketflow::settings::Settings;
use pocketflow_search::plan::plan;
use pocketflow_search::search::{Budgets, Tuned, budgets, search, write_plan};
use pocketflow_torch::calibrate::{Preparation, StepRates};
use pocketflow_torch::network::{Network, Weights};
use pocketflow_torch::optimizer::Rule;
use pocketflow_torch::saved;
use pocketflow_torch::train::Training;
use pocketflow_torch::workflow::{Parent, Product, Workflow, evaluate_saved};
use std::path::PathBuf;

const NAME: &str = "uniform";

/// A step changes in an optimizer's step by at most about the learning rate, as a share of itself.
const STEP_RATES: StepRates = StepRates { weights: 1.0, values: 1.0 };

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
        let options = &self.options;
        let work = Workflow::begin(job, NAME)?;
        let graph = saved::graph(job)?;
        let given = plan(&graph, &options.quantization, options.weight_bits, options.bit_plan.as_deref())?;
        let budgets = match options.search.methods.is_empty() {
            true => {
                options.check_plan(&given)?;
                None
            }
            false => {
                let compares = options.epochs > 0.0 && options.search.methods.len() > 1;
                let blame = |error, front| budget_error(&job.settings, &error, front);
                Some(budgets(job, &graph, &options.quantization, &options.search, compares, &blame)?)
            }
        };
        let parent = work.parent(options.epochs > 0.0 || budgets.is_some())?;
        let (plan, searched) = match budgets {
            None => (given, None),
            Some(budgets) => self.searched(&work, &parent, &budgets).map(|(plan, report)| (plan, Some(report)))?,
        };
        let mut network = child(&work, &parent, &plan, options)?;
        let trained = work.fine_tune(&mut network, training(NAME, (&work.recipe, &graph), options))?;

        let before = network.values()?;
        let model = network.to_model(work.meta(&graph, trained.last.map(|metrics| metrics.top1))?)?;
        let mut report = work.finish(&Product {
            model: &model,
            path: &options.quantization.save_path,
            what: "quantized model",
            before: &before,
            parent: &parent,
            images_per_second: trained.images_per_second,
        })?;
        if report.model_bytes > report.full_precision_bytes {
            job.warn(format!(
                "the quantized file takes {} bytes, the same network in full precision {}: {} of them are ranges of buckets; buckets of \
                 more weights (uql_bucket_size, or uql_bucket_type = channel) or none take less",
                report.model_bytes, report.full_precision_bytes, report.bucket_bytes
            ));
        }
        report.search = searched;
        Ok(report)
    }

    fn evaluate(&mut self, job: &Job) -> Result<Report> {
        evaluate_saved(job, NAME, job.model.as_ref().unwrap_or(&self.options.quantization.save_path))
    }
}

impl Uniform {
    /// The plan of the best allocation that a search finds, and what is to be reported of it.
    fn searched(&self, work: &Workflow, parent: &Parent, budgets: &Budgets) -> Result<(QuantPlan, SearchReport)> {
        let options = &self.options;
        let with = (work.job, &work.engine, work.images()?);
        let tuned = Tuned { lrn_rate: first_rate(options.lrn_rate, &work.recipe), candidates: false };
        let mut report = search(with, &parent.model, &options.quantization, &options.search, budgets, tuned)?;
        let comparison = Comparison { work, parent, options };
        let chosen = comparison.choose(&mut report)?;
        let default = || work.job.run_dir.join(PLAN_FILE);
        let path = work.job.settings.get(SearchOptions::plan())?.unwrap_or_else(default);
        keep_plan(work.job, path, &report, &chosen)?;
        Ok((comparison.plan(&report, &chosen), report))
    }
}

/// Writes the bits that were chosen, and says where.
pub fn keep_plan(job: &Job, path: PathBuf, report: &SearchReport, chosen: &Candidate) -> Result<()> {
    let usage = "To be read by --uql_bit_plan, with the buckets and `uql_quantize_all_layers` of that search.";
    write_plan(&path, &job.net_id, report, chosen, usage)?;
    job.note(format!("bits per layer by `{}`, written to {}", chosen.method, path.display()));
    Ok(())
}

/// Returns the parent quantized by a plan, ready to be fine-tuned, or to be used if there is no
/// fine-tuning.
pub fn child(work: &Workflow, parent: &Parent, plan: &QuantPlan, options: &Options) -> Result<Network> {
    let (model, quantization) = (&parent.model, &options.quantization);
    let mut network = Network::new(&work.engine, &model.graph, plan, &model.all_values()?, Weights::FullPrecision)?;
    let statistics = options.epochs == 0.0 && quantization.reestimate;
    let steps = options.learned.then_some(STEP_RATES);
    work.prepare(&mut network, Preparation { range: quantization.range, steps, statistics })?;
    Ok(network)
}

/// Returns the fine-tuning of a network of this graph, without a teacher.
pub fn training<'a>(phase: &'a str, (recipe, graph): (&Recipe, &Graph), options: &Options) -> Training<'a> {
    Training {
        phase,
        epochs: options.epochs,
        // Learned steps take the same: their logarithms are trained, for which Adam at the rate of
        // the weights is right. tests/LOW_BITS.md has what was tried.
        rule: Rule::Adam,
        schedule: schedule(options, recipe, graph),
        weight_decay: recipe.weight_decay,
        teacher: None,
        quant_delay: 0,
        freeze_delay: None,
    }
}
