//! The learner: the search for bits per layer alone. It leaves the bit plan that `uniform`
//! fine-tunes by, and the parent quantized by it without training.

use crate::NAME;
use pocketflow::job::Job;
use pocketflow::learner::Learner;
use pocketflow::model::Model;
use pocketflow::option::OptionSpec;
use pocketflow::plugin::{About, Plugin};
use pocketflow::report::Report;
use pocketflow::settings::Settings;
use pocketflow::{Error, Result};
use pocketflow_search::bench::Bench;
use pocketflow_search::options::Options;
use pocketflow_search::quantization::Quantization;
use pocketflow_search::search::{budgets, search, write_plan};
use pocketflow_search::{options, quantization};
use pocketflow_torch::evaluate::evaluate;
use pocketflow_torch::network::{Network, Statistics};
use pocketflow_torch::train::splits;
use pocketflow_torch::{device, outcome, parent};
use std::time::Instant;

/// The option that says where the plan goes; here it has a default.
const PLAN: &str = "uql_save_bit_plan";

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
        let search = options::specs().into_iter().filter(|spec| spec.key != options::ENABLED);
        let mut specs: Vec<OptionSpec> = quantization::specs().into_iter().chain(search).collect();
        for spec in &mut specs {
            match spec.key.as_str() {
                options::METHODS => spec.default = Some(pocketflow::option::Value::Text("all".into())),
                PLAN => spec.default = Some(pocketflow::option::Value::Text("./bit_plan.toml".into())),
                _ => {}
            }
        }
        specs
    }

    fn configure(settings: &Settings) -> Result<Self> {
        Ok(Self { quantization: Quantization::read(settings)?, options: Options::read(settings)? })
    }
}

impl Learner for BitSearch {
    fn train(&mut self, job: &Job) -> Result<Report> {
        let start = Instant::now();
        let (quantization, options) = (&self.quantization, &self.options);
        device::prepare(&job.settings)?;
        let budgets = budgets(job, &job.net.graph()?, quantization, options, options.global > 0)?;
        let (_, evaluation) = splits(job)?;
        let parent = parent::parent(job)?;
        let full_precision = evaluate(&Network::from_model(&parent)?, job, evaluation)?;
        let parent = parent::trainable(job, parent)?;
        let mut found = search(job, &parent, quantization, options, &budgets, true)?;
        let best = found.best().cloned().ok_or_else(|| Error::failed("the search found no allocation"))?;
        found.chosen.clone_from(&best.method);
        let path = write_plan(job, options, &found, &best)?;
        job.note(format!("bits per layer by `{}`, written to {}", best.method, path.display()));

        let mut bench = Bench::new(job, &parent, quantization)?;
        bench.allocate(&best.bits)?;
        if quantization.reestimate {
            bench.reestimate(Statistics::Moved)?;
        }
        let path = &quantization.save_path;
        let network = bench.network();
        let before = network.values()?;
        network.to_model(outcome::meta(job, NAME, None))?.save(path)?;
        let model = Model::load(path)?;
        let metrics = evaluate(&Network::from_model(&model)?, job, evaluation)?;
        let mut report = outcome::report(job, NAME, &model, path, Some(&before), metrics)?;
        report.top1_full_precision = Some(full_precision.top1);
        report.top5_full_precision = Some(full_precision.top5);
        report.wall_seconds = start.elapsed().as_secs_f64();
        report.search = Some(found);
        Ok(report)
    }

    fn evaluate(&mut self, job: &Job) -> Result<Report> {
        let path = job.model.as_ref().unwrap_or(&self.quantization.save_path);
        let mut report = outcome::evaluated(job, NAME, path)?;
        if let Some(metrics) = parent::metrics(job)? {
            (report.top1_full_precision, report.top5_full_precision) = (Some(metrics.top1), Some(metrics.top5));
        }
        Ok(report)
    }
}
