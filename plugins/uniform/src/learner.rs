//! The workflow: a full-precision parent (trained first if there is none), its quantized child, fine-tuning, the packed model.

use crate::NAME;
use crate::options::{Options, specs};
use crate::plan::plan;
use pocketflow::Result;
use pocketflow::job::Job;
use pocketflow::learner::Learner;
use pocketflow::model::Model;
use pocketflow::net::{FineTune, Schedule};
use pocketflow::option::OptionSpec;
use pocketflow::plugin::{About, Plugin};
use pocketflow::report::Report;
use pocketflow::settings::Settings;
use pocketflow_torch::calibrate::calibrate;
use pocketflow_torch::evaluate::evaluate;
use pocketflow_torch::network::{Network, Weights};
use pocketflow_torch::optimizer::Rule;
use pocketflow_torch::train::{Training, splits, train};
use pocketflow_torch::{device, outcome, parent};
use std::time::Instant;

/// Images from which activation ranges are taken before the first step.
const CALIBRATION_IMAGES: u64 = 1024;

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
        device::prepare(&job.settings)?;
        let graph = job.net.graph()?;
        let plan = plan(&graph, &self.options)?;
        let (split, evaluation) = splits(job)?;
        let recipe = job.net.recipe(job.dataset.info().samples(split));

        let parent = parent::parent(job)?;
        let full_precision = evaluate(&Network::from_model(&parent)?, job, evaluation)?;
        tracing::info!("full precision: top-1 {:.2} %", 100.0 * full_precision.top1);
        let values: Result<_> = parent.tensors.keys().map(|name| Ok((name.clone(), parent.values(name)?))).collect();
        let mut network = Network::new(&graph, &plan, &values?, Weights::FullPrecision)?;
        calibrate(&network, job, CALIBRATION_IMAGES)?;
        tracing::info!(
            "quantized, before fine-tuning: top-1 {:.2} %",
            100.0 * evaluate(&network, job, evaluation)?.top1
        );

        let teacher = parent::teacher(job)?;
        let training = Training {
            phase: NAME,
            epochs: self.options.epochs,
            rule: Rule::Adam,
            schedule: schedule(&recipe.fine_tune, &self.options),
            weight_decay: recipe.weight_decay,
            teacher: teacher.as_ref().map(|(teacher, with)| (teacher, *with)),
            quant_delay: 0,
            freeze_delay: None,
        };
        let trained = train(&mut network, job, &training)?;

        let path = &self.options.save_path;
        let before = network.values()?;
        network.to_model(outcome::meta(job, NAME, trained.last.map(|metrics| metrics.top1)))?.save(path)?;
        // What counts is the file: it is read back, and its figures are the report's.
        let model = Model::load(path)?;
        let metrics = evaluate(&Network::from_model(&model)?, job, evaluation)?;
        job.note(format!("quantized model saved to {}", path.display()));
        let mut report = outcome::report(job, NAME, &model, path, Some(&before), metrics)?;
        report.top1_full_precision = Some(full_precision.top1);
        report.top5_full_precision = Some(full_precision.top5);
        (report.wall_seconds, report.images_per_second) = (start.elapsed().as_secs_f64(), trained.images_per_second);
        Ok(report)
    }

    fn evaluate(&mut self, job: &Job) -> Result<Report> {
        let path = job.model.as_ref().unwrap_or(&self.options.save_path);
        let mut report = outcome::evaluated(job, NAME, path)?;
        if let Some(metrics) = parent::metrics(job)? {
            (report.top1_full_precision, report.top5_full_precision) = (Some(metrics.top1), Some(metrics.top5));
        }
        Ok(report)
    }
}

fn schedule(tune: &FineTune, options: &Options) -> Schedule {
    match options.lrn_rate {
        Some(init) => Schedule::Cosine { init },
        None => {
            let boundaries = tune.boundaries.iter().map(|boundary| boundary * options.epochs / tune.epochs).collect();
            Schedule::Piecewise { init: tune.lrn_rate * 1e-3, factor: 0.1, boundaries }
        }
    }
}
