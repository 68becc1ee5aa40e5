//! Learner `full-prec`: trains the network at full precision by the net's own recipe, and saves it
//! to `save_path`.

use pocketflow::Result;
use pocketflow::job::Job;
use pocketflow::learner::Learner;
use pocketflow::option::{HostOptions, OptionSpec};
use pocketflow::plugin::{About, Plugin};
use pocketflow::report::Report;
use pocketflow::settings::Settings;
use pocketflow_torch::engine::Engine;
use pocketflow_torch::evaluate::evaluate;
use pocketflow_torch::network::Network;
use pocketflow_torch::optimizer::Rule;
use pocketflow_torch::train::{Training, train};
use pocketflow_torch::workflow::Workflow;
use pocketflow_torch::{outcome, parent, saved};

/// The learner's name.
pub const NAME: &str = "full-prec";

pocketflow::plugin! { learner "full-prec" => FullPrec }

/// Training at full precision. All its settings are those of host, net and data set.
pub struct FullPrec;

impl Plugin for FullPrec {
    const ABOUT: About = About {
        aliases: &[],
        line: "Trains the network at full precision; the parent of every compressed one",
        datasets: &[],
    };
    const WRITES: &'static [&'static str] = &[HostOptions::save_path().name()];

    fn options() -> Vec<OptionSpec> {
        Vec::new()
    }

    fn configure(_settings: &Settings) -> Result<Self> {
        Ok(Self)
    }
}

impl Learner for FullPrec {
    fn train(&mut self, job: &Job) -> Result<Report> {
        let work = Workflow::begin(job, NAME)?;
        let (engine, recipe) = (&work.engine, &work.recipe);
        let mut graph = job.net.graph()?;
        let path = job.settings.get(HostOptions::save_path())?;
        let mut network = Network::initialised(engine, &graph, job.settings.get(HostOptions::seed())?)?;
        if job.settings.get(HostOptions::enbl_warm_start())? {
            let model = saved::full_precision(job, HostOptions::save_path())?;
            network = Network::from_model(engine, &model)?;
            graph.clone_from(&model.graph);
            job.note(format!("warm start from {}", path.display()));
            parent::adopt(job, &mut network, work.images()?)?;
        }
        let distil = HostOptions::enbl_dst();
        if job.settings.get(distil)? {
            job.warn(format!("`{}` is for learners that compress; {NAME} trains without a teacher", distil.name()));
        }
        let training = Training {
            phase: NAME,
            epochs: recipe.epochs,
            rule: Rule::Sgd { momentum: recipe.momentum, nesterov: recipe.nesterov },
            schedule: recipe.schedule.clone(),
            weight_decay: recipe.weight_decay,
            teacher: None,
            quant_delay: 0,
            freeze_delay: None,
        };
        let trained = train(&mut network, job, &training)?;
        let metrics = match trained.last {
            Some(metrics) => metrics,
            None => evaluate(&network, job, work.evaluated)?,
        };
        let model = network.to_model(work.meta(&graph, Some(metrics.top1))?)?;
        model.save(&path)?;
        job.note(format!("full-precision model saved to {}", path.display()));
        let mut report = outcome::report(job, NAME, &model, &path, None, metrics)?;
        (report.wall_seconds, report.images_per_second) = (work.seconds(), trained.images_per_second);
        Ok(report)
    }

    fn evaluate(&mut self, job: &Job) -> Result<Report> {
        let path = match &job.model {
            Some(path) => path.clone(),
            None => job.settings.get(HostOptions::save_path())?,
        };
        outcome::evaluated(&Engine::new(job)?, job, NAME, &path)
    }
}
