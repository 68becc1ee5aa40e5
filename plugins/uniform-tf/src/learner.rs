//! The workflow: a full-precision parent (trained first if there is none), fine-tuning with the
//! arithmetic of the integers that it is deployed in, the training model and the folded, packed
//! evaluation model.

use crate::NAME;
use crate::options::Options;
use pocketflow::Result;
use pocketflow::biases::round_biases;
use pocketflow::clip::WeightRange;
use pocketflow::fold::{fold_graph, fold_values};
use pocketflow::job::Job;
use pocketflow::learner::Learner;
use pocketflow::option::OptionSpec;
use pocketflow::plugin::{About, Plugin};
use pocketflow::report::Report;
use pocketflow::settings::Settings;
use pocketflow::sums::align_plan;
use pocketflow_torch::calibrate::Preparation;
use pocketflow_torch::evaluate::evaluate;
use pocketflow_torch::network::Network;
use pocketflow_torch::optimizer::Rule;
use pocketflow_torch::train::Training;
use pocketflow_torch::workflow::{Product, Workflow, evaluate_saved};

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
        Options::specs()
    }

    fn configure(settings: &Settings) -> Result<Self> {
        Ok(Self { options: Options::read(settings)? })
    }
}

impl Learner for UniformTf {
    fn train(&mut self, job: &Job) -> Result<Report> {
        let options = &self.options;
        let work = Workflow::begin(job, NAME)?;
        let info = job.dataset.info();
        let parent = work.parent(true)?;
        let graph = &parent.model.graph;
        let values = parent.model.all_values()?;
        let mut network =
            Network::for_integers(&work.engine, graph, options.integers(), [&info.mean, &info.std], &values)?;
        work.prepare(&mut network, Preparation { range: WeightRange::MinMax, steps: None, statistics: false })?;

        let recipe = &work.recipe;
        let training = Training {
            phase: NAME,
            epochs: recipe.epochs,
            rule: Rule::Sgd { momentum: recipe.momentum, nesterov: recipe.nesterov },
            schedule: recipe.schedule.clone().scaled(options.lrn_rate_factor),
            weight_decay: recipe.weight_decay,
            teacher: None,
            quant_delay: options.quant_delay,
            freeze_delay: options.freeze_delay,
        };
        let trained = work.fine_tune(&mut network, training)?;
        let delayed = trained.steps <= options.quant_delay;
        if delayed {
            let (delay, steps) = (options.quant_delay, trained.steps);
            let key = Options::quant_delay().name();
            job.warn(format!("{key} = {delay}, but there were only {steps} steps: quantized after training"));
        }
        network.set_quantizing(true)?;
        let metrics = match trained.last {
            Some(last) if !delayed => last,
            _ => evaluate(&network, job, work.evaluated)?,
        };
        let meta = work.meta(graph, Some(metrics.top1))?;

        network.to_model(meta.clone())?.save(&options.save_path)?;
        job.note(format!("training model saved to {}", options.save_path.display()));
        let mut model = network.to_folded_model(meta)?;
        let (target, folded) = (options.target, model.graph.clone());
        align_plan(&folded, target, &mut model.plan.activations);
        round_biases(&mut model, target)?;
        let before = fold_values(graph, &fold_graph(graph)?, &network.values()?)?;
        work.finish(&Product {
            model: &model,
            path: &options.save_path_eval,
            what: "evaluation model",
            before: &before,
            parent: &parent,
            images_per_second: trained.images_per_second,
        })
    }

    fn evaluate(&mut self, job: &Job) -> Result<Report> {
        evaluate_saved(job, NAME, job.model.as_ref().unwrap_or(&self.options.save_path_eval))
    }
}
