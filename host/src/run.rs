//! One run from selection to report: everything that can be wrong is found before the first step,
//! and what was reached is kept however it ends.

use crate::deploy::own_graph::OwnGraph;
use crate::layers::{self, Layers};
use crate::libtorch;
use crate::logging::{Log, SHOWN};
use crate::normalised;
use crate::options;
use crate::outputs::Outputs;
use crate::progress::{self, Progress};
use crate::provenance::{self, Files, Kept, Was};
use crate::registry::Registry;
use crate::report::{self, Recorder};
use crate::run_dir::{self, RunDir};
use crate::select::{self, Saved, Selected, Selection};
use crate::services::{Parts, Services};
use crate::signals::Stop;
use crate::workers::{self, Apart, Others, Place};
use crate::{ending, errors, resume};
use pocketflow::dataset::DatasetInfo;
use pocketflow::error::Context;
use pocketflow::graph::Graph;
use pocketflow::job::{Event, Host, Job};
use pocketflow::model::Model;
use pocketflow::net::Net;
use pocketflow::option::HostOptions;
use pocketflow::report::Report;
use pocketflow::settings::Settings;
use pocketflow::workers::Group;
use pocketflow::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a run needs of the program around it.
pub struct Program {
    pub registry: Arc<Registry>,
    pub progress: Arc<Progress>,
    pub log: Log,
    /// The result on stdout is `report.json`, not a table.
    pub json: bool,
}

/// What the learner is to do.
pub enum Task {
    Train,
    /// Evaluate what the learner saved where its options say.
    Evaluate,
    /// Evaluate this model.
    EvaluateModel {
        path: PathBuf,
        model: Box<Model>,
    },
}

impl Task {
    fn word(&self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Evaluate | Self::EvaluateModel { .. } => "evaluate",
        }
    }
}

/// Runs the job and prints its result on stdout.
///
/// # Errors
/// Whatever stopped it; [`ErrorKind::Interrupted`] after it saved on request.
pub fn run(program: &Program, layers: Layers, task: Task) -> Result<()> {
    for failure in program.registry.failures() {
        tracing::warn!("plugin {} is left out: {}", failure.path.display(), first_line(&failure.reason));
    }
    let saved = match &task {
        Task::EvaluateModel { model, .. } => Some(Saved::of(model)),
        Task::Train | Task::Evaluate => None,
    };
    let Selected { mut selection, dataset, settings, warning } = select::select(&program.registry, &layers, saved)?;
    let place = Place::of(&settings)?;
    let apart = match place.group.leads() {
        true => None,
        false => Some(Apart::make(place.group.rank)?),
    };
    let settings = settled(&place, apart.as_ref(), &mut selection, settings, &layers)?;
    let net: Box<dyn Net> = match &task {
        Task::EvaluateModel { model, .. } if !select::is_chosen(&layers, &HostOptions::net())? => {
            let plugin = selection.net_plugin(&program.registry, &settings)?;
            Box::new(OwnGraph::new(model.graph.clone(), plugin))
        }
        _ => program.registry.net(&selection.net.name, &settings)?,
    };
    let graph = net.graph().with_context(|| format!("net `{}`", selection.net.name))?;
    graph.validate()?;
    normalised::expect_fit(&graph, &dataset.info())?;
    // Worker 0 alone has what a run goes on from.
    let resumes = settings.get(HostOptions::resume())? && apart.is_none();
    let check_outputs = |run_dir: Option<&Path>, selection: &Selection| match &task {
        Task::Train => Outputs::of_training(&settings, selection, &program.registry, run_dir).check(),
        Task::Evaluate | Task::EvaluateModel { .. } => Ok(()),
    };
    if !resumes {
        check_outputs(settings.get(HostOptions::run_dir())?.as_deref(), &selection)?;
    }
    let folder = match &apart {
        Some(apart) => apart.run_dir()?,
        None => open_folder(&mut selection, &settings, &task, resumes)?,
    };
    program.log.keep_in(folder.path())?;
    let settings = selection.settings(&layers)?;
    let goes_on = resumes && folder.has(run_dir::SETTINGS);
    let info = dataset.info();
    let files = Files::new(&selection, &settings, folder.has_checkpoints());
    let kept = if goes_on {
        let was = Was::read(folder.path())?;
        files.expect_folder(&was)?;
        let moved = resume::check(folder.path(), &settings, &files, &was)?;
        if let Some(report) = run_dir::finished(folder.path())? {
            return finished(program, folder.path(), &report, &settings);
        }
        check_outputs(Some(folder.path()), &selection)?;
        let now = provenance::now(&program.registry, &files, &info)?;
        Kept::resume(&was, &now, moved.then(|| layers::to_toml(&settings)))?
    } else {
        folder.expect_unused()?;
        if resumes {
            check_outputs(Some(folder.path()), &selection)?;
        }
        Kept::begin(folder.path(), &layers::to_toml(&settings), provenance::now(&program.registry, &files, &info)?)?
    };
    let awaited = files.missing(&kept);
    match &apart {
        Some(_) => program.progress.silence(),
        None => say_header(program, &header(&selection, &settings, &graph, &info, &task, folder.path())),
    }
    let stop = Stop::watch()?;
    let mut group = place.group.clone();
    group.facts = workers::facts(&settings, options::host_options().iter().chain(selection.options()));
    let services = Services::new(Parts {
        registry: Arc::clone(&program.registry),
        layers,
        selection: selection.clone(),
        dataset: Arc::clone(&dataset),
        run_dir: folder.path().to_owned(),
        kept,
        awaited,
        progress: Arc::clone(&program.progress),
        stop,
        group,
        recorder: Recorder::open(folder.path(), goes_on)?,
    });
    if let Some(text) = warning {
        services.event(Event::Note { text, warning: true });
    }
    if resumes && !folder.has_checkpoints() {
        let text = "there is no checkpoint yet: the run begins at its first step".into();
        services.event(Event::Note { text, warning: false });
    }
    let host: Arc<dyn Host> = services.clone();
    let (net_id, run_dir) = (selection.net.name.clone(), folder.path().to_owned());
    let model = match &task {
        Task::EvaluateModel { path, .. } => Some(path.clone()),
        Task::Train | Task::Evaluate => None,
    };
    let job = Job { settings, net_id, net, dataset, host, run_dir, model, group: services.next_group() };
    ending::of_run(&job.run_dir, &job.run_dir.join(run_dir::LOG), matches!(task, Task::Train));
    let mut learner = program.registry.learner(&selection.learner.name, &job.settings)?;
    let others = Others::start(&place)?;
    let worked = match task {
        Task::Train => learner.train(&job),
        Task::Evaluate | Task::EvaluateModel { .. } => learner.evaluate(&job),
    };
    let worked = others.finish(worked);
    program.progress.finish();
    let kept = services.finish();
    let report = match worked {
        Ok(report) => complete(report, &selection, &job.settings, &info)?,
        Err(error) => return Err(stopped(error, &task, folder.path(), &place.group)),
    };
    report::write(folder.path(), &report, &job.settings)?;
    kept.with_context(|| format!("the figures in `{}` are incomplete", folder.path().display()))?;
    match apart {
        Some(_) => Ok(()),
        None => print_report(program, folder.path(), &report),
    }
}

/// The settings with what follows from the worker's place.
fn settled(
    place: &Place,
    apart: Option<&Apart>,
    selection: &mut Selection,
    settings: Settings,
    layers: &Layers,
) -> Result<Settings> {
    if let Some(origin) = &place.origin {
        selection.set_workers(place.group.size, origin);
    }
    if let Some(apart) = apart {
        apart.keep_to(selection, &settings, &options::host_options())?;
    }
    match place.origin.is_some() || apart.is_some() {
        true => selection.settings(layers),
        false => Ok(settings),
    }
}

/// The folder of this run, made or taken up; the choice is kept in the selection.
fn open_folder(selection: &mut Selection, settings: &Settings, task: &Task, resumes: bool) -> Result<RunDir> {
    let given = settings.get(HostOptions::run_dir())?;
    let (base, name) = (Path::new(run_dir::RUNS), format!("{}-{}", selection.net.name, selection.learner.name));
    match (task, resumes, given) {
        (Task::Evaluate | Task::EvaluateModel { .. }, true, _) => {
            Err(settings.invalid(&HostOptions::resume(), "only a training can be resumed"))
        }
        (_, true, Some(path)) => RunDir::reopen(&path),
        (_, false, Some(path)) => RunDir::create(&path),
        (_, true, None) => {
            let Some(path) = run_dir::newest_unfinished(base, &name)? else {
                let looked = std::path::absolute(base).unwrap_or_else(|_| base.to_owned());
                return Err(Error::config(format!(
                    "nothing to resume: no unfinished run in `{}/{name}-*`; give its folder as --run-dir",
                    looked.display()
                )));
            };
            selection.set_run_dir(&path, "the newest unfinished run");
            RunDir::reopen(&path)
        }
        (_, false, None) => {
            let stem = match task {
                Task::Train => name,
                // Another name, so that no evaluation is ever taken for a training to resume.
                Task::Evaluate | Task::EvaluateModel { .. } => format!("{name}-eval"),
            };
            let made = match RunDir::create_new(base, &stem, &run_dir::now()) {
                // What an evaluation finds is printed; where its files go matters less than that it
                // runs.
                Err(error) if !matches!(task, Task::Train) => elsewhere(&stem).ok_or(error)?,
                made => made?,
            };
            selection.set_run_dir(made.path(), "a new folder for each run");
            Ok(made)
        }
    }
}

/// A run folder among the system's temporary files, for an evaluation where none can be made in the
/// working folder; `None` where none can be made there either.
fn elsewhere(stem: &str) -> Option<RunDir> {
    let made = RunDir::create_new(&std::env::temp_dir(), stem, &run_dir::now()).ok()?;
    let path = made.path().display();
    tracing::warn!("no folder can be made in `{}`: the files of this evaluation go to `{path}`", run_dir::RUNS);
    Some(made)
}

/// The header's lines, by name.
fn header(
    selection: &Selection,
    settings: &Settings,
    graph: &Graph,
    data: &DatasetInfo,
    task: &Task,
    folder: &Path,
) -> Vec<(&'static str, String)> {
    let text = |key: &str| settings.entry(key).and_then(|setting| setting.value.as_ref()).map(ToString::to_string);
    let parameters = graph.params().map_or(0, |params| {
        let trained = params.iter().filter(|param| param.role.is_trained());
        trained.map(|param| param.shape.iter().product::<usize>()).sum()
    });
    let grouped = |count: u64| report::numbers::grouped(count);
    let mut images = format!("{}, {} training and {} test images", data.name, grouped(data.train), grouped(data.eval));
    if !data.source.is_empty() {
        images += &format!("\n{}", data.source);
    }
    if data.stand_in {
        images += "\nSTAND-IN DATA, not the images this net is for";
    }
    let device = match text(&HostOptions::device()).as_deref() {
        None | Some("auto") if libtorch::has_cuda() => "the first GPU, or the CPU without one".to_owned(),
        None | Some("auto") => "CPU".to_owned(),
        Some(device) => device.to_owned(),
    };
    let threads = text(&HostOptions::threads()).unwrap_or_default();
    let workers = match text(&HostOptions::n()).as_deref() {
        None | Some("1") => String::new(),
        Some(n) => format!(" for each of {n} workers"),
    };
    let mut lines = vec![
        ("learner", format!("{}, {}: {}", selection.learner.name, task.word(), selection.learner.about)),
        ("net", format!("{}, {} parameters", graph.name, grouped(parameters as u64))),
        ("data", images),
        ("device", format!("{device}, {threads} thread{}{workers}", if threads == "1" { "" } else { "s" })),
        ("seed", text(&HostOptions::seed()).unwrap_or_default()),
        ("run folder", folder.display().to_string()),
    ];
    if let Task::EvaluateModel { path, .. } = task {
        lines.insert(2, ("model", path.display().to_string()));
    }
    lines
}

fn say_header(program: &Program, lines: &[(&str, String)]) {
    let text = progress::header(lines);
    program.progress.suspend(|| errors::print_plain(&text));
    for line in text.lines() {
        tracing::info!(target: SHOWN, "{line}");
    }
}

/// Fills in what the host knows better than the learner, or what it left open.
fn complete(mut report: Report, selection: &Selection, settings: &Settings, data: &DatasetInfo) -> Result<Report> {
    let fill = |field: &mut String, name: &str| {
        if field.is_empty() {
            name.clone_into(field);
        }
    };
    fill(&mut report.learner, &selection.learner.name);
    fill(&mut report.net, &selection.net.name);
    fill(&mut report.dataset, &data.name);
    report.stand_in_data |= data.stand_in;
    report.seed = settings.get(HostOptions::seed())?;
    Ok(report)
}

/// The error with what to do next. Of a worker that keeps nothing, its place among the workers is
/// named, for its folder is gone when it is read.
fn stopped(error: Error, task: &Task, folder: &Path, group: &Group) -> Error {
    let error = match (error.kind(), task) {
        (ErrorKind::Interrupted, _) if !group.leads() => error,
        (_, _) if !group.leads() => error.context(format!("worker {} of {} failed", group.rank, group.size)),
        (ErrorKind::Interrupted, Task::Train) => {
            let how = format!("to go on, give the same flags and --resume --run-dir={}", folder.display());
            Error::interrupted(format!("{error}\n{how}"))
        }
        (ErrorKind::Interrupted, _) => error,
        _ => error.context(format!("the run in `{}` failed", folder.display())),
    };
    // The program prints it on stderr.
    match error.kind() {
        ErrorKind::Interrupted => tracing::info!(target: SHOWN, "{error}"),
        _ => tracing::error!(target: SHOWN, "{error}"),
    }
    error
}

/// A run that is complete has nothing to resume; asking again gives the result again.
fn finished(program: &Program, folder: &Path, report: &Report, settings: &Settings) -> Result<()> {
    tracing::info!("the run in `{}` is finished; this is its result", folder.display());
    if !folder.join(report::PAGE).exists() {
        report::page(folder, report, settings)?;
    }
    print_report(program, folder, report)
}

fn print_report(program: &Program, folder: &Path, report: &Report) -> Result<()> {
    if program.json {
        let path = folder.join(run_dir::REPORT);
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        errors::print_result(&text)
    } else {
        errors::print_result(&report::summary(report))?;
        errors::print_plain(&format!("report  {}\n", folder.join(report::PAGE).display()));
        Ok(())
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
