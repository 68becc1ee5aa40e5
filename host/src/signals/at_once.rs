//! For commands that write nothing before their last step, as `import`, `export`, `eval` and
//! `bench` of files: the first wish to stop ends the program, whatever it computes or waits for.
//! Only the writing itself is completed first.

use super::{SAME_WISH, system};
use crate::{ending, errors};
use pocketflow::error::Context;
use pocketflow::{Error, Result};
use signal_hook::iterator::Signals;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// What a command must not leave behind; shared with the thread that ends it.
#[derive(Debug, Clone)]
pub struct AtOnce(Arc<Mutex<Work>>);

#[derive(Debug, Default)]
struct Work {
    /// Folders to remove.
    scratch: Vec<PathBuf>,
    written: bool,
}

/// A temporary folder that goes with the command, however it ends.
#[derive(Debug)]
pub struct Scratch {
    folder: tempfile::TempDir,
    command: AtOnce,
}

impl AtOnce {
    /// Watches for signals from now on, for the whole command.
    ///
    /// # Errors
    /// The system refuses the handler or the thread that waits for it.
    pub fn watch() -> Result<Self> {
        let failed = "cannot watch for Ctrl-C";
        let signals = Signals::new(system::heard()).context(failed)?;
        let command = Self(Arc::default());
        let ended = command.clone();
        let spawned = std::thread::Builder::new().name("signals".into()).spawn(move || ended.end(signals));
        spawned.context(failed)?;
        Ok(command)
    }

    /// Does what makes and removes files for a moment: it is not cut in two.
    pub fn whole<T>(&self, work: impl FnOnce() -> T) -> T {
        let _held = self.work();
        work()
    }

    /// Writes what came of the command: it is not cut in two, and not denied when it is done.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn writing<T>(&self, write: impl FnOnce() -> Result<T>) -> Result<T> {
        let mut held = self.work();
        let written = write()?;
        held.written = true;
        Ok(written)
    }

    /// # Errors
    /// The system has no place for temporary files.
    pub fn scratch(&self) -> Result<Scratch> {
        let mut held = self.work();
        let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
        held.scratch.push(folder.path().to_owned());
        Ok(Scratch { folder, command: self.clone() })
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a wish and ends the program.
    fn end(&self, mut signals: Signals) {
        if signals.forever().next().is_none() {
            return;
        }
        let first = Instant::now();
        let work = loop {
            match self.0.try_lock() {
                Ok(work) => break work,
                Err(TryLockError::Poisoned(work)) => break work.into_inner(),
                Err(TryLockError::WouldBlock) => {}
            }
            // A disk that does not answer: who asks again does not want to wait for it.
            let again = signals.pending().any(|signal| !system::is_hang_up(signal));
            if again && first.elapsed() > SAME_WISH {
                break_off();
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        for folder in &work.scratch {
            // What is left in a folder for temporary files is the system's to remove.
            let _ = std::fs::remove_dir_all(folder);
        }
        errors::print(&Error::interrupted(match work.written {
            true => "interrupted, when everything was written",
            false => "interrupted; nothing was written",
        }));
        break_off()
    }
}

/// Not `std::process::exit`: its handlers wait for threads that are in the middle of their work.
fn break_off() -> ! {
    ending::expected();
    signal_hook::low_level::exit(130)
}

impl Scratch {
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.command.work().scratch.retain(|folder| folder != self.folder.path());
    }
}
