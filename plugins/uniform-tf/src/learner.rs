//! The workflow: a full-precision parent (trained first if there is none), fine-tuning with the
//! arithmetic of the integers that it is deployed in, the training model and the folded, packed
//! evaluation model.

use crate::NAME;
use crate::options::{Options, specs};
use pocketflow::Result;
use pocketflow::biases::round_biases;
use pocketflow::fold::{fold_graph, fold_values};
use pocketflow::job::Job;
use pocketflow::learner::Learner;
use pocketflow::model::Model;
use pocketflow::net::Schedule;
use pocketflow::option::OptionSpec;
use pocketflow::plugin::{About, Plugin};
use pocketflow::report::Report;
use pocketflow::settings::Settings;
use pocketflow::sums::align_plan;
use pocketflow_torch::calibrate::calibrate;
use pocketflow_torch::evaluate::evaluate;
use pocketflow_torch::network::Network;
use pocketflow_torch::optimizer::Rule;
use pocketflow_torch::train::{Training, splits, train};
use pocketflow_torch::{device, outcome, parent};
use std::time::Instant;

/// Images from which activation ranges are taken before the first step.
const CALIBRATION_IMAGES: u64 = 1024;
/// Share of the past in the moving averages of activation ranges, as TensorFlow has it.
const RANGE_DECAY: f64 = 0.999;

/// Quantization-aware training for integer runtimes.
pub struct UniformTf {
    options: Options,
}

impl Plugin for UniformTf {
    const ABOUT: About = About {
        aliases: &["uniform-quant-tf"],
        line: "TensorFlow-style quantization, 2 to 16 bits: integer from end to end, for int8 and uint8 runtimes",
        datasets: &[],
    };

    fn options() -> Vec<OptionSpec> {
        specs()
    }

    fn configure(settings: &Settings) -> Result<Self> {
        Ok(Self { options: Options::read(settings)? })
    }
}

impl Learner for UniformTf {
    fn train(&mut self, job: &Job) -> Result<Report> {
        let start = Instant::now();
        let options = &self.options;
        device::prepare(&job.settings)?;
        let graph = job.net.graph()?;
        let info = job.dataset.info();
        let (split, evaluation) = splits(job)?;
        let recipe = job.net.recipe(info.samples(split));

        let parent = parent::parent(job)?;
        let full_precision = evaluate(&Network::from_model(&parent)?, job, evaluation)?;
        tracing::info!("full precision: top-1 {:.2} %", 100.0 * full_precision.top1);
        let parent = parent::trainable(job, parent)?;
        let mut network =
            Network::for_integers(&graph, options.integers, [&info.mean, &info.std], &parent.all_values()?)?;
        network.set_range_decay(RANGE_DECAY);
        calibrate(&network, job, CALIBRATION_IMAGES)?;
        tracing::info!(
            "quantized, before fine-tuning: top-1 {:.2} %",
            100.0 * evaluate(&network, job, evaluation)?.top1
        );

        let teacher = parent::teacher(job)?;
        let training = Training {
            phase: NAME,
            epochs: recipe.epochs,
            rule: Rule::Sgd { momentum: recipe.momentum, nesterov: recipe.nesterov },
            schedule: scaled(recipe.schedule, options.lrn_rate_factor),
            weight_decay: recipe.weight_decay,
            teacher: teacher.as_ref().map(|(teacher, with)| (teacher, *with)),
            quant_delay: options.quant_delay,
            freeze_delay: options.freeze_delay,
        };
        let trained = train(&mut network, job, &training)?;
        let delayed = trained.steps <= options.quant_delay;
        if delayed {
            let (delay, steps) = (options.quant_delay, trained.steps);
            job.warn(format!(
                "uqtf_quant_delay = {delay}, but there were only {steps} steps: quantized after training"
            ));
        }
        network.set_quantizing(true)?;
        let metrics = match trained.last {
            Some(last) if !delayed => last,
            _ => evaluate(&network, job, evaluation)?,
        };
        let meta = outcome::meta(job, NAME, Some(metrics.top1));

        network.to_model(meta.clone())?.save(&options.save_path)?;
        job.note(format!("training model saved to {}", options.save_path.display()));
        let path = &options.save_path_eval;
        let mut model = network.to_folded_model(meta)?;
        let (target, folded) = (options.integers.target, model.graph.clone());
        align_plan(&folded, target, &mut model.plan.activations);
        round_biases(&mut model, target)?;
        model.save(path)?;
        // What counts is the file: it is read back, and its figures are the report's.
        let model = Model::load(path)?;
        let metrics = evaluate(&Network::from_model(&model)?, job, evaluation)?;
        job.note(format!("evaluation model saved to {}", path.display()));
        let before = fold_values(&graph, &fold_graph(&graph)?, &network.values()?)?;
        let mut report = outcome::report(job, NAME, &model, path, Some(&before), metrics)?;
        report.top1_full_precision = Some(full_precision.top1);
        report.top5_full_precision = Some(full_precision.top5);
        (report.wall_seconds, report.images_per_second) = (start.elapsed().as_secs_f64(), trained.images_per_second);
        Ok(report)
    }

    fn evaluate(&mut self, job: &Job) -> Result<Report> {
        let path = job.model.as_ref().unwrap_or(&self.options.save_path_eval);
        let mut report = outcome::evaluated(job, NAME, path)?;
        if let Some(metrics) = parent::metrics(job)? {
            (report.top1_full_precision, report.top5_full_precision) = (Some(metrics.top1), Some(metrics.top5));
        }
        Ok(report)
    }
}

/// The schedule with all its rates multiplied.
fn scaled(schedule: Schedule, by: f64) -> Schedule {
    match schedule {
        Schedule::Piecewise { init, factor, boundaries } => Schedule::Piecewise { init: init * by, factor, boundaries },
        Schedule::Exponential { init, factor } => Schedule::Exponential { init: init * by, factor },
        Schedule::OneCycle { peak, warm_up } => Schedule::OneCycle { peak: peak * by, warm_up },
        Schedule::Cosine { init } => Schedule::Cosine { init: init * by },
    }
}
