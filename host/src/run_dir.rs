//! The folder of a run: made before anything is computed, locked against a second process, found
//! again to resume.

use crate::report::{self, PAGE, metrics, tfevents};
use pocketflow::atomic::clear_left_files;
use pocketflow::error::Context;
use pocketflow::report::Report;
use pocketflow::{Error, Result};
use std::fs::{File, TryLockError};
use std::io::{ErrorKind as IoKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// Where runs go that were given no folder.
pub const RUNS: &str = "runs";
/// The resolved settings; there from the first moment of a run.
pub const SETTINGS: &str = "run.toml";
/// Written last of all that a run leaves: a run with a whole one is finished.
pub const REPORT: &str = report::FILE;
/// The run's log.
pub const LOG: &str = "log.txt";
/// Where learners keep what they resume from.
pub const CHECKPOINTS: &str = "checkpoints";
const LOCK: &str = ".lock";

/// A run's folder, held by this process until dropped.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    /// The system frees the lock with the process, however it ends.
    _lock: File,
}

impl RunDir {
    /// Makes `path` the folder of a new run.
    ///
    /// # Errors
    /// It cannot be made or written, holds a run already, or another process works in it.
    pub fn create(path: &Path) -> Result<Self> {
        std::fs::create_dir_all(path)
            .with_context(|| format!("cannot make the run folder `{}`; give another as --run-dir", path.display()))?;
        let held = Self::hold(path)?;
        if held.has(SETTINGS) || held.has(REPORT) {
            return Err(Error::config(format!(
                "`{}` already holds a run; go on with it by --resume, or give another --run-dir",
                path.display()
            )));
        }
        Ok(held)
    }

    /// Makes a new folder `base/stem-time`, with a number behind where the same second has one
    /// already.
    ///
    /// # Errors
    /// It cannot be made or written.
    pub fn create_new(base: &Path, stem: &str, time: &str) -> Result<Self> {
        let failed = || format!("cannot make a run folder in `{}`; give one as --run-dir", base.display());
        // A net or learner of somebody else's plugin must not choose the folder.
        if stem.contains(['/', '\\', '\0']) || stem.chars().any(char::is_control) || stem.starts_with('.') {
            return Err(Error::config(format!(
                "no folder can be named {stem:?}, after net and learner; give one as --run-dir"
            )));
        }
        std::fs::create_dir_all(base).with_context(failed)?;
        let mut number = 1;
        loop {
            let name = match number {
                1 => format!("{stem}-{time}"),
                number => format!("{stem}-{time}-{number}"),
            };
            let path = base.join(name);
            match std::fs::create_dir(&path) {
                Ok(()) => return Self::hold(&path),
                Err(error) if error.kind() == IoKind::AlreadyExists => number += 1,
                Err(error) => return Err(error).with_context(failed),
            }
        }
    }

    /// Takes up the folder of a run that was interrupted.
    ///
    /// # Errors
    /// There is no such folder, it cannot be written, or another process works in it.
    pub fn reopen(path: &Path) -> Result<Self> {
        if !path.is_dir() {
            return Err(Error::config(format!("nothing to resume: there is no folder `{}`", path.display())));
        }
        Self::hold(path)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the folder has an entry of this name.
    pub fn has(&self, name: &str) -> bool {
        self.path.join(name).exists()
    }

    /// Whether a learner left something to resume from.
    pub fn has_checkpoints(&self) -> bool {
        has_checkpoints(&self.path)
    }

    /// That no run began here, for one that is about to.
    ///
    /// # Errors
    /// One did, and its settings are gone.
    pub fn expect_unused(&self) -> Result<()> {
        match self.has_checkpoints() || self.has(REPORT) {
            false => Ok(()),
            true => Err(Error::config(format!(
                "`{}` holds a run, but not its `{SETTINGS}`, which says with what settings it began: put it back, or begin a new run in \
                 another --run-dir",
                self.path.display()
            ))),
        }
    }

    fn hold(path: &Path) -> Result<Self> {
        let file = path.join(LOCK);
        let failed = || format!("cannot write into the run folder `{}`; give another as --run-dir", path.display());
        expect_ordinary(path)?;
        let opened = File::options().read(true).write(true).create(true).truncate(false).open(&file);
        let mut lock = opened.with_context(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(error)) if has_no_locks(&error) => tracing::warn!(
                "the file system of `{}` has no locks ({error}): see to it that no second process works in this folder",
                path.display()
            ),
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Only to be helpful: without the number the message still says what is wrong.
                let _ = lock.read_to_string(&mut holder);
                let holder = match holder.trim() {
                    "" => "another process".to_owned(),
                    pid => format!("process {pid}"),
                };
                return Err(Error::config(format!(
                    "{holder} is at work in the run folder `{}`; wait for it, or give another --run-dir",
                    path.display()
                )));
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(failed),
        }
        let written = lock.set_len(0).and_then(|()| lock.rewind());
        written.and_then(|()| writeln!(lock, "{}", std::process::id())).with_context(failed)?;
        for folder in [path.to_owned(), path.join(CHECKPOINTS)] {
            clear_left_files(&folder);
        }
        Ok(Self { path: path.to_owned(), _lock: lock })
    }
}

/// That what lies under the names of the run's own files can be written: a pipe would make the run
/// wait for ever.
fn expect_ordinary(run: &Path) -> Result<()> {
    for name in [LOCK, SETTINGS, REPORT, PAGE, LOG, metrics::FILE] {
        let path = run.join(name);
        let ordinary = std::fs::metadata(&path).is_ok_and(|found| found.is_file());
        if !ordinary && std::fs::symlink_metadata(&path).is_ok() {
            return Err(Error::config(format!(
                "`{}` is no ordinary file; remove it, or give another --run-dir",
                path.display()
            )));
        }
    }
    Ok(())
}

/// Whether a file system says that it knows no locks, as some network and container file systems
/// do.
fn has_no_locks(error: &std::io::Error) -> bool {
    // ENOLCK has no kind of its own.
    const NO_LOCKS: i32 = 37;
    error.kind() == IoKind::Unsupported || cfg!(target_os = "linux") && error.raw_os_error() == Some(NO_LOCKS)
}

/// Whether a file of this name, in the folder of a run, is the run's own.
pub fn is_own(name: &str) -> bool {
    [SETTINGS, REPORT, PAGE, LOG, LOCK, CHECKPOINTS, metrics::FILE].contains(&name)
        || name.starts_with(tfevents::PREFIX)
}

/// The report of a run that is finished; `None` where there is none, or one that is damaged or says
/// nothing: the run did not end then.
///
/// # Errors
/// The file is there and cannot be read.
pub fn finished(run: &Path) -> Result<Option<Report>> {
    let path = run.join(REPORT);
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == IoKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read `{}`", path.display())),
    };
    let report = serde_json::from_slice::<Report>(&text).ok();
    // The program fills these in, whatever the learner said.
    Ok(report.filter(|report| ![&report.learner, &report.net, &report.dataset].iter().any(|name| name.is_empty())))
}

/// The newest folder `base/stem-time` whose run began and did not finish; one with checkpoints
/// before one without.
///
/// # Errors
/// `base` exists and cannot be read.
pub fn newest_unfinished(base: &Path, stem: &str) -> Result<Option<PathBuf>> {
    let failed = || format!("cannot look for runs in `{}`", base.display());
    let entries = match std::fs::read_dir(base) {
        Ok(entries) => entries,
        Err(error) if error.kind() == IoKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(failed),
    };
    let mut best: Option<(bool, (String, u32), PathBuf)> = None;
    for entry in entries {
        let path = entry.with_context(failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(begun) = name.strip_prefix(stem).and_then(|rest| rest.strip_prefix('-')).and_then(read_time) else {
            continue;
        };
        if !path.join(SETTINGS).is_file() || finished(&path)?.is_some() {
            continue;
        }
        let candidate = (has_checkpoints(&path), begun, path);
        if best.as_ref().is_none_or(|best| (best.0, &best.1) < (candidate.0, &candidate.1)) {
            best = Some(candidate);
        }
    }
    Ok(best.map(|(_, _, path)| path))
}

fn has_checkpoints(run: &Path) -> bool {
    std::fs::read_dir(run.join(CHECKPOINTS)).is_ok_and(|mut entries| entries.next().is_some())
}

/// The time in a run folder's name, and its number within the second: `20260102-030405`,
/// `20260102-030405-2`.
fn read_time(text: &str) -> Option<(String, u32)> {
    let digits = |part: &str, length| part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts: Vec<&str> = text.split('-').collect();
    let (day, second, number) = match parts[..] {
        [day, second] => (day, second, 1),
        [day, second, number] => (day, second, number.parse().ok()?),
        _ => return None,
    };
    (digits(day, 8) && digits(second, 6)).then(|| (format!("{day}-{second}"), number))
}

/// The local time as run folders are named.
pub fn now() -> String {
    jiff::Zoned::now().strftime("%Y%m%d-%H%M%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"{"learner": "uniform", "net": "net", "dataset": "synthetic"}"#;

    fn run(base: &Path, name: &str, files: &[&str]) -> PathBuf {
        let path = base.join(name);
        std::fs::create_dir_all(&path).unwrap();
        for file in files {
            let file = path.join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            let text = if file.ends_with(REPORT) { WHOLE } else { "" };
            std::fs::write(file, text).unwrap();
        }
        path
    }

    #[test]
    fn folders_of_one_second_differ() {
        let base = tempfile::tempdir().unwrap();
        let runs = base.path().join("runs");
        let one = RunDir::create_new(&runs, "net-uniform", "20260102-030405").unwrap();
        let two = RunDir::create_new(&runs, "net-uniform", "20260102-030405").unwrap();
        assert!(one.path().ends_with("net-uniform-20260102-030405"));
        assert!(two.path().ends_with("net-uniform-20260102-030405-2"));
        assert_eq!(read_time(&now()), Some((now(), 1)));
    }

    #[test]
    fn a_name_cannot_choose_the_folder() {
        let base = tempfile::tempdir().unwrap();
        let runs = base.path().join("runs");
        for stem in ["../../escape-full-prec", "/etc/x", "a\\b", "a\u{1b}[31m", "a\nb", ".hidden", "..", "a\0"] {
            let error = RunDir::create_new(&runs, stem, "20260102-030405").unwrap_err();
            assert_eq!(error.kind(), pocketflow::ErrorKind::Config, "{stem:?}");
            assert!(!error.to_string().contains(['\u{1b}', '\n', '\0']), "{error}");
        }
        assert!(!runs.exists());
        RunDir::create_new(&runs, "net.v2-full-prec", "20260102-030405").unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_in_the_place_of_the_log_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let pipe = base.path().join(LOG);
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let error = RunDir::create(base.path()).unwrap_err();
        assert_eq!(error.kind(), pocketflow::ErrorKind::Config);
        assert!(error.to_string().contains("log.txt"), "{error}");
    }

    #[test]
    fn file_systems_without_locks_are_told_apart() {
        let error = std::io::Error::from_raw_os_error;
        // ENOLCK, ENOSYS, EOPNOTSUPP; EIO is a fault of the disk.
        assert!([37, 38, 95].into_iter().all(|code| has_no_locks(&error(code))));
        assert!(!has_no_locks(&error(5)));
    }

    #[test]
    fn a_report_that_is_damaged_or_empty_is_not_the_end_of_a_run() {
        let base = tempfile::tempdir().unwrap();
        assert_eq!(finished(base.path()).unwrap(), None);
        for text in ["", "{}", "{\"learner\": \"uniform\"}", "{\"learner\": 3}", "garbage", "\u{0}\u{0}"] {
            std::fs::write(base.path().join(REPORT), text).unwrap();
            assert_eq!(finished(base.path()).unwrap(), None, "{text}");
        }
        std::fs::write(base.path().join(REPORT), WHOLE).unwrap();
        assert_eq!(finished(base.path()).unwrap().unwrap().learner, "uniform");
    }

    #[test]
    fn one_process_a_folder() {
        let base = tempfile::tempdir().unwrap();
        let held = RunDir::create(base.path()).unwrap();
        let message = RunDir::reopen(base.path()).unwrap_err().to_string();
        assert!(message.contains(&format!("process {} is at work", std::process::id())), "{message}");
        drop(held);
        RunDir::reopen(base.path()).unwrap();
    }

    #[test]
    fn an_earlier_run_is_not_overwritten() {
        let base = tempfile::tempdir().unwrap();
        let path = run(base.path(), "mine", &[SETTINGS]);
        let error = RunDir::create(&path).unwrap_err();
        assert_eq!(error.kind(), pocketflow::ErrorKind::Config);
        assert!(error.to_string().contains("--resume"), "{error}");
    }

    #[test]
    fn a_run_without_its_settings_is_not_gone_on_with() {
        let base = tempfile::tempdir().unwrap();
        let path = run(base.path(), "mine", &["checkpoints/a"]);
        let error = RunDir::reopen(&path).unwrap().expect_unused().unwrap_err();
        assert_eq!(error.kind(), pocketflow::ErrorKind::Config);
        assert!(error.to_string().contains("run.toml"), "{error}");
        RunDir::reopen(&run(base.path(), "empty", &[])).unwrap().expect_unused().unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let base = tempfile::tempdir().unwrap();
        let file = base.path().join("file");
        std::fs::write(&file, "").unwrap();
        for error in [RunDir::create(&file.join("run")), RunDir::create_new(&file, "a", "b")] {
            let message = error.unwrap_err().to_string();
            assert!(message.contains("file") && message.contains("--run-dir"), "{message}");
        }
        assert!(RunDir::reopen(&base.path().join("none")).is_err());
    }

    #[test]
    fn the_newest_unfinished_run_is_found() {
        let base = tempfile::tempdir().unwrap();
        let find = || newest_unfinished(base.path(), "net-uniform").unwrap();
        assert_eq!(find(), None);
        let bare = run(base.path(), "net-uniform-20260103-000000", &[SETTINGS]);
        assert_eq!(find(), Some(bare));
        run(base.path(), "net-uniform-20260101-000000", &[SETTINGS, "checkpoints/a"]);
        let number_ten = run(base.path(), "net-uniform-20260102-000000-10", &[SETTINGS, "checkpoints/a"]);
        run(base.path(), "net-uniform-20260102-000000-2", &[SETTINGS, "checkpoints/a"]);
        // Finished, of another learner, not of a training, or not a run at all.
        run(base.path(), "net-uniform-20260104-000000", &[SETTINGS, REPORT, "checkpoints/a"]);
        run(base.path(), "net-uniform-tf-20260104-000000", &[SETTINGS, "checkpoints/a"]);
        run(base.path(), "net-uniform-eval-20260104-000000", &[SETTINGS]);
        run(base.path(), "net-uniform-20260105-000000", &["checkpoints/a"]);
        assert_eq!(find(), Some(number_ten));
        assert_eq!(newest_unfinished(&base.path().join("none"), "x").unwrap(), None);
    }
}
