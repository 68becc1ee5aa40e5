//! The processes of the other workers on this machine, as this one starts them: with its own
//! command line, and their place in the environment. None outlives the run.

use super::{Place, apart};
use pocketflow::error::Context;
use pocketflow::{Error, Result};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Tells a worker which process started it.
pub const STARTED_BY: &str = "POCKETFLOW_STARTED_BY";
/// How long workers have to end after worker 0 has, or after one of them failed.
const GRACE: Duration = Duration::from_secs(3);
/// Lines of a worker's messages that are kept: its error comes last.
const LINES: usize = 40;

/// The workers that this process started.
pub struct Others(Vec<Worker>);

struct Worker {
    rank: u32,
    child: Child,
    lines: Arc<Mutex<VecDeque<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Others {
    /// Starts them.
    ///
    /// # Errors
    /// The system cannot start a process.
    pub fn start(place: &Place) -> Result<Self> {
        let mut others = Self(Vec::new());
        if place.starts.is_empty() {
            return Ok(others);
        }
        let program = std::env::current_exe().context("the program does not find itself")?;
        let group = &place.group;
        for rank in &place.starts {
            let mut command = Command::new(&program);
            command
                .args(std::env::args_os().skip(1))
                .env("RANK", rank.to_string())
                .env("WORLD_SIZE", group.size.to_string())
                .env("LOCAL_WORLD_SIZE", (place.starts.len() + 1).to_string())
                .env("MASTER_ADDR", &group.host)
                .env("MASTER_PORT", group.port.to_string())
                .env(STARTED_BY, std::process::id().to_string())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped());
            let mut child = command.spawn().with_context(|| format!("worker {rank} cannot be started"))?;
            let lines = Arc::new(Mutex::new(VecDeque::new()));
            let reader = child.stderr.take().map(|stderr| {
                let lines = Arc::clone(&lines);
                std::thread::spawn(move || keep_last(BufReader::new(stderr), &lines))
            });
            others.0.push(Worker { rank: *rank, child, lines, reader });
        }
        Ok(others)
    }

    /// Waits for the workers to end, and ends those that do not. `worked` is how the run went here;
    /// where a worker failed first, its error is the cause.
    ///
    /// # Errors
    /// That of `worked`; a worker that failed.
    pub fn finish<T>(mut self, worked: Result<T>) -> Result<T> {
        let until = Instant::now() + GRACE;
        let mut causes = Vec::new();
        for worker in &mut self.0 {
            let status = worker.wait(until);
            if let Some(reader) = worker.reader.take() {
                // It ends with the pipe, and so with the process.
                let _ = reader.join();
            }
            let failed = status.is_none_or(|status| !status.success() && status.code() != Some(130));
            let text = worker.last_error();
            // That others ended is no cause.
            if failed && !text.as_deref().is_some_and(|text| text.contains("waits for another one")) {
                causes.push(worker.told(status, text));
            }
        }
        match (worked, causes.is_empty()) {
            (worked, true) => worked,
            (Ok(_), false) => Err(Error::failed(causes.join("; "))),
            (Err(error), false) => Err(error.context(causes.join("; "))),
        }
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        for worker in &mut self.0 {
            // One that has ended cannot be killed.
            let _ = worker.child.kill();
            let _ = worker.child.wait();
            apart::clear(worker.rank, worker.child.id());
        }
    }
}

impl Worker {
    /// How it ended; `None` where it had to be killed.
    fn wait(&mut self, until: Instant) -> Option<ExitStatus> {
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(20)),
                _ => {
                    let _ = self.child.kill();
                    let _ = self.child.wait();
                    return None;
                }
            }
        }
    }

    /// The last error that it printed, with what follows.
    fn last_error(&self) -> Option<String> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let at = lines.iter().rposition(|line| line.starts_with("error: "))?;
        let text: Vec<&str> = lines.iter().skip(at).map(|line| line.trim()).collect();
        text.join(" ").strip_prefix("error: ").map(str::to_owned)
    }

    fn told(&self, status: Option<ExitStatus>, text: Option<String>) -> String {
        let rank = self.rank;
        match (status, text) {
            (_, Some(text)) => format!("worker {rank}: {text}"),
            (Some(status), None) => format!("worker {rank} ended without a word: {status}"),
            (None, None) => format!("worker {rank} did not end, and was killed"),
        }
    }
}

fn keep_last(from: impl BufRead, lines: &Mutex<VecDeque<String>>) {
    for line in from.split(b'\n').map_while(Result::ok) {
        let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(String::from_utf8_lossy(&line).into_owned());
    }
}

/// In a worker that [`Others::start`] started: sees to it that it ends with the process that did.
pub fn end_with_parent() {
    #[cfg(target_os = "linux")]
    if let Some(parent) = std::env::var(STARTED_BY).ok().and_then(|text| text.parse::<i32>().ok()) {
        let set = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
        let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
        // The parent may have ended before this was set.
        if set.is_ok() && now != Some(parent) {
            std::process::exit(1);
        }
    }
}
