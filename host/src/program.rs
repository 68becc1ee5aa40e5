//! The whole program: from the command line to the exit status.

use crate::cli::{self, Command, Format, Invocation};
use crate::commands::{bench, completions, config, data, eval, export, import, plugins, stats};
use crate::discover::PluginDirs;
use crate::errors;
use crate::layers::{self, Layers};
use crate::logging::Log;
use crate::progress::Progress;
use crate::registry::Registry;
use crate::run::{self, Program, Task};
use crate::{ending, probe, signals, workers};
use pocketflow::option::{Choice, ExecMode, HostOptions};
use pocketflow::plugin::Declaration;
use pocketflow::{Error, Result};
use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Arc;

/// Does what the command line says; returns the exit status.
pub fn main() -> ExitCode {
    probe::child::answer_if_asked();
    errors::install_panic_hook();
    if let Err(error) = signals::survive_file_limits() {
        errors::print(&error);
        return ExitCode::from(errors::status(error.kind()));
    }
    ending::watch();
    workers::end_with_parent();
    let args: Vec<OsString> = std::env::args_os().collect();
    let progress = Arc::new(Progress::new());
    let done = catch_unwind(AssertUnwindSafe(|| carry_out(&args, &progress)));
    let status = match done.unwrap_or_else(|payload| Err(errors::panicked(payload.as_ref()))) {
        Ok(status) => status,
        Err(error) => {
            progress.finish();
            errors::print(&error);
            workers::error_file::write(&error);
            errors::status(error.kind())
        }
    };
    ending::expected();
    ExitCode::from(status)
}

fn carry_out(args: &[OsString], progress: &Arc<Progress>) -> Result<u8> {
    let early = cli::early(args);
    let log = Log::start(early.log.as_deref(), progress)?;
    if let Some(version) = cli::version_asked(args) {
        errors::print_result(&version)?;
        return Ok(0);
    }
    let reserved = cli::reserved();
    let registry = Registry::discover(&PluginDirs::of_process(early.plugin_dirs), &reserved);
    let declarations: Vec<Declaration> = registry.entries().iter().map(|entry| entry.declaration.clone()).collect();
    let refused = registry.refused();
    let invocation = match cli::parse(args, &declarations) {
        Ok(invocation) => invocation,
        Err(exit) => {
            let exit = exit.explained(&refused);
            match exit.to_stdout {
                true => errors::print_result(&exit.text)?,
                false => errors::print_plain(&format!("{}\n", exit.text.trim_end())),
            }
            return Ok(exit.status);
        }
    };
    let layers = || layers::load(&invocation, &declarations, &reserved.options, refused.clone());
    let format = invocation.format;
    let text = match &invocation.command {
        Command::Run => return train_or_evaluate(registry, progress, log, &invocation, layers()?),
        Command::Eval { model, runtime, libraries } => {
            let program = program(registry, progress, log, format);
            return eval::eval(&program, layers()?, model.clone(), runtime, libraries).map(|()| 0);
        }
        Command::Export(flags) => {
            let program = program(registry, progress, log, format);
            return export::export(&program, layers()?, flags).map(|()| 0);
        }
        Command::Import(flags) => {
            let program = program(registry, progress, log, format);
            return import::import(&program, &layers()?, flags).map(|()| 0);
        }
        Command::DataCheck { dir } => {
            let (text, sound) = data::check(&registry, &layers()?, dir, format)?;
            errors::print_result(&text)?;
            return Ok(u8::from(!sound));
        }
        Command::DataStats { dir } => stats::stats(&registry, &layers()?, dir, format)?,
        Command::Bench { models, images, libraries } => {
            let program = program(registry, progress, log, format);
            return bench::bench(&program, &layers()?, models, *images, libraries).map(|()| 0);
        }
        Command::PluginsList => plugins::list(&registry, format),
        Command::PluginsShow { name } => plugins::show(&registry, name, format)?,
        Command::PluginsCheck { file } => {
            let (text, usable) = plugins::check(file, &reserved, format);
            errors::print_result(&text)?;
            return Ok(u8::from(!usable));
        }
        Command::ConfigShow => config::show(&layers()?, &declarations, format)?,
        Command::ConfigExplain { key } => config::explain(key, &layers()?, &declarations, format)?,
        Command::ConfigInit { path, force } => config::init(path.as_deref(), *force, &layers()?, &declarations)?,
        Command::Completions { shell } => completions::completions(*shell, &declarations),
    };
    errors::print_result(&text).map(|()| 0)
}

fn program(registry: Registry, progress: &Arc<Progress>, log: Log, format: Format) -> Program {
    Program { registry: Arc::new(registry), progress: Arc::clone(progress), log, json: format == Format::Json }
}

fn train_or_evaluate(
    registry: Registry,
    progress: &Arc<Progress>,
    log: Log,
    invocation: &Invocation,
    layers: Layers,
) -> Result<u8> {
    let mode = layers.choice(&HostOptions::exec_mode())?.unwrap_or_default();
    let task = match ExecMode::of_word(&mode) {
        Some(ExecMode::Train) => Task::Train,
        Some(ExecMode::Eval) => Task::Evaluate,
        None => return Err(Error::failed(format!("`exec_mode` = {mode} is not known"))),
    };
    run::run(&program(registry, progress, log, invocation.format), layers, task).map(|()| 0)
}
