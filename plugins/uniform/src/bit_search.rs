//! The learner `rl-agent`: the search for bits per layer alone. It leaves the bit plan that
//! `uniform` fine-tunes by, and the parent quantized by it without training.

use crate::options::quantization::QuantizationOptions;
use crate::options::search::{Methods, SearchOptions};
use crate::options::{budget_error, search as search_options};
use crate::schedule::first_rate;
use crate::uniform::keep_plan;
use pocketflow::job::Job;
use pocketflow::learner::Learner;
use pocketflow::option::OptionSpec;
use pocketflow::plugin::{About, Plugin};
use pocketflow::report::Report;
use pocketflow::settings::Settings;
use pocketflow::{Error, Result};
use pocketflow_search::options::Options;
use pocketflow_search::quantization::Quantization;
use pocketflow_search::search::{Tuned, allocation_plan, budgets, search};
use pocketflow_torch::calibrate::Preparation;
use pocketflow_torch::network::{Network, Weights};
use pocketflow_torch::saved;
use pocketflow_torch::workflow::{Product, Workflow, evaluate_saved};

const NAME: &str = "rl-agent";

/// A search for bits per layer.
pub struct BitSearch {
    quantization: Quantization,
    /// Adam's first learning rate in tuning; `None`: the original's.
    lrn_rate: Option<f64>,
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
        let is = |spec: &OptionSpec, key: &str| spec.key == key;
        let search = SearchOptions::specs().into_iter().filter(|spec| !is(spec, &SearchOptions::enabled()));
        let mut specs: Vec<OptionSpec> = QuantizationOptions::specs().into_iter().chain(search).collect();
        for spec in &mut specs {
            if is(spec, &SearchOptions::methods()) {
                spec.default = Some(Methods::All.into());
            } else if is(spec, &SearchOptions::plan()) {
                spec.default = Some("./bit_plan.toml".into());
            }
        }
        specs
    }

    fn configure(settings: &Settings) -> Result<Self> {
        let quantization = QuantizationOptions::read(settings)?;
        Ok(Self {
            lrn_rate: quantization.first_rate(),
            quantization: quantization.quantization(),
            options: search_options::read(settings)?,
        })
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
        let tuned = Tuned { lrn_rate: first_rate(self.lrn_rate, &work.recipe), candidates: true };
        let mut found = search(with, &parent.model, quantization, options, &budgets, tuned)?;
        let best = found.best().cloned().ok_or_else(|| Error::failed("the search found no allocation"))?;
        found.chosen.clone_from(&best.method);
        keep_plan(job, job.settings.get(SearchOptions::plan().needed())?, &found, &best)?;

        let graph = &parent.model.graph;
        let plan = allocation_plan(graph, quantization, options, &found.layers, &best.bits);
        let values = parent.model.all_values()?;
        let mut network = Network::new(&work.engine, graph, &plan, &values, Weights::FullPrecision)?;
        let how = Preparation { range: quantization.range, steps: None, statistics: quantization.reestimate };
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
