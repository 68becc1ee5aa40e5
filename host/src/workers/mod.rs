//! The workers of a run: who this process is among them, and the starting of those that `-n` asks
//! for. Whoever starts workers otherwise (torchrun, Slurm, Open MPI, Kubeflow's TrainJob) says so
//! in the environment.
//!
//! Worker 0 alone keeps files and shows progress. Any other works in a folder of its own among the
//! system's temporary files, into which every path leads that its plugins write: so a learner needs
//! not know which worker it is in.

mod apart;
mod environment;
pub mod error_file;
mod others;

pub use apart::Apart;
pub use others::{Others, STARTED_BY, end_with_parent};

use crate::options::OWNER;
use environment::Environment;
use pocketflow::option::{HostOptions, Kind, OptionSpec};
use pocketflow::settings::Settings;
use pocketflow::workers::Group;
use pocketflow::{Error, Result};
use std::fmt::Write as _;
use std::net::TcpListener;

/// The place of this process, and what it has to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub group: Group,
    /// The ranks that this process starts, on this machine.
    pub starts: Vec<u32>,
    /// Where the number of workers comes from, unless from `n`.
    pub origin: Option<String>,
}

impl Place {
    /// Finds out by the environment and `n`.
    ///
    /// # Errors
    /// Variables that are incomplete, no numbers, or contradict each other or `n`.
    pub fn of(settings: &Settings) -> Result<Self> {
        Self::by(settings, &Environment::of_process()?)
    }

    fn by(settings: &Settings, environment: &Environment) -> Result<Self> {
        let n = settings.get(HostOptions::n())?;
        let timeout = settings.get(HostOptions::worker_timeout())?;
        let mut group = Group::alone();
        group.timeout = timeout;
        let Environment::Group { rank, size, local, host, port, serves, said_by } = environment else {
            if n > 1 {
                (group.size, group.serves) = (n, true);
                (group.host, group.port) = ("127.0.0.1".into(), free_port()?);
            }
            return Ok(Self { group, starts: (1..n).collect(), origin: None });
        };
        if n > 1 && n != *size {
            let problem = format!("{said_by} says that there are {size} workers: leave it out");
            return Err(settings.invalid(&HostOptions::n(), &problem));
        }
        (group.rank, group.size, group.serves) = (*rank, *size, *serves);
        (group.host, group.port) = (host.clone(), *port);
        Ok(Self { group, starts: (rank + 1..rank + local).collect(), origin: Some(said_by.clone()) })
    }
}

/// How many workers share this machine, this process included: as the environment says, where it
/// says anything of workers, else the `n` that were asked for.
pub fn on_this_machine(n: usize) -> usize {
    // What is wrong with the environment is told where the worker's place is found out.
    match Environment::of_process() {
        Ok(Environment::Group { .. }) => environment::local_size(),
        _ => n.max(1),
    }
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    listener.map(|address| address.port()).map_err(|error| Error::from(error).context("no port is free on 127.0.0.1"))
}

/// What must be the same for all workers: every setting but paths and what is each machine's own,
/// as lines of a name, a tab and a value.
pub fn facts<'a>(settings: &Settings, specs: impl Iterator<Item = &'a OptionSpec>) -> String {
    let mut facts = format!("{OWNER}\t{}\n", env!("CARGO_PKG_VERSION"));
    let own = [HostOptions::threads().name(), HostOptions::device().name(), HostOptions::resume().name()];
    for spec in specs.filter(|spec| spec.kind != Kind::Path && !own.contains(&spec.key.as_str())) {
        if let Some(value) = settings.entry(&spec.key).and_then(|setting| setting.value.as_ref()) {
            let value = value.to_string().replace(['\n', '\t'], " ");
            // Writing to a string does not fail.
            let _ = writeln!(facts, "{}\t{value}", spec.key);
        }
    }
    facts
}

#[cfg(test)]
mod tests;
