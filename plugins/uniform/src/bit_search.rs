//! The learner `rl-agent`: the search for bits per layer alone. It leaves the bit plan that
//! `uniform` fine-tunes by, and the parent quantized by it without training.

use crate::options::{budget_error, quantization, search as search_options};
use crate::uniform::keep_plan;
use pocketflow::job::Job;
use pocketflow::learner::Learner;
use pocketflow::option::{OptionSpec, Value};
use pocketflow::plugin::{About, Plugin};
use pocketflow::report::Report;
use pocketflow::settings::Settings;
use pocketflow::{Error, Result};
use pocketflow_search::options::Options;
use pocketflow_search::quantization::Quantization;
use pocketflow_search::search::{allocation_plan, budgets, search};
use pocketflow_torch::calibrate::Preparation;
use pocketflow_torch::network::{Network, Weights};
use pocketflow_torch::saved;
use pocketflow_torch::workflow::{Product, Workflow, evaluate_saved};

const NAME: &str = "rl-agent";

/// A search for bits per layer.
pub struct BitSearch {
    quantization: Quantization,
    options: Options,
}

impl Plugin for BitSearch {
    const ABOUT: About = About {
        aliases: &[],
        line: "Searches for bits per layer under a budget, and writes the plan that `uniform` reads",
        datasets: &[],
    };

    fn options() -> Vec<OptionSpec> {
        // The learner is the search: there is nothing to enable.
        let search = search_options::specs().into_iter().filter(|spec| spec.key != search_options::ENABLED);
        let mut specs: Vec<OptionSpec> = quantization::specs().into_iter().chain(search).collect();
        for spec in &mut specs {
            match spec.key.as_str() {
                search_options::METHODS => spec.default = Some(Value::Text("all".into())),
                search_options::PLAN => spec.default = Some(Value::Text("./bit_plan.toml".into())),
                _ => {}
            }
        }
        specs
    }

    fn configure(settings: &Settings) -> Result<Self> {
        Ok(Self { quantization: quantization::read(settings)?, options: search_options::read(settings)? })
    }
}

impl Learner for BitSearch {
    fn train(&mut self, job: &Job) -> Result<Report> {
        let (quantization, options) = (&self.quantization, &self.options);
        let work = Workflow::begin(job, NAME)?;
        let blame = |error, front| budget_error(&job.settings, &error, front);
        let budgets = budgets(job, &saved::graph(job)?, quantization, options, options.global > 0, &blame)?;
        let parent = work.parent(true)?;
        let with = (job, &work.engine, work.images()?);
        let mut found = search(with, &parent.model, quantization, options, &budgets, true)?;
        let best = found.best().cloned().ok_or_else(|| Error::failed("the search found no allocation"))?;
        found.chosen.clone_from(&best.method);
        keep_plan(job, job.settings.get(search_options::PLAN)?, &found, &best)?;

        let graph = &parent.model.graph;
        let plan = allocation_plan(graph, quantization, options, &found.layers, &best.bits);
        let values = parent.model.all_values()?;
        let mut network = Network::new(&work.engine, graph, &plan, &values, Weights::FullPrecision)?;
        let how = Preparation { range: quantization.range, statistics: quantization.reestimate };
        work.prepare(&mut network, how)?;
        let before = network.values()?;
        let model = network.to_model(work.meta(graph, None)?)?;
        let mut report = work.finish(&Product {
            model: &model,
            path: &quantization.save_path,
            what: "quantized model",
            before: &before,
            parent: &parent,
            images_per_second: 0.0,
        })?;
        report.search = Some(found);
        Ok(report)
    }

    fn evaluate(&mut self, job: &Job) -> Result<Report> {
        evaluate_saved(job, NAME, job.model.as_ref().unwrap_or(&self.quantization.save_path))
    }
}
