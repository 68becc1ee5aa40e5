//! The program as a process: what it prints where, what it leaves, and its exit status.

mod believing;
mod commands;
mod interrupting;
mod outputs;
mod refusals;
mod replacing;
mod resuming;
mod runs;
mod stopping;
mod wicked;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// A working directory of its own, with no settings of the user and only the plugins that a test
/// names.
struct Place {
    dir: tempfile::TempDir,
}

/// What a process left.
struct Outcome {
    status: i32,
    stdout: String,
    stderr: String,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn read(&self, name: impl AsRef<Path>) -> String {
        let path = self.dir.path().join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// The program in this place; arguments are the words of `line`.
    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(program());
        let of_ours = std::env::vars_os().map(|(name, _)| name).filter(|name| {
            let name = name.to_string_lossy();
            name.starts_with("POCKETFLOW_") || name == "RUST_LOG" || name == "RUST_BACKTRACE"
        });
        for name in of_ours {
            command.env_remove(name);
        }
        command
            .args(line.split_whitespace())
            .current_dir(self.dir.path())
            .env("XDG_CACHE_HOME", self.path(".cache"))
            .env("XDG_CONFIG_HOME", self.path(".config"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn host(&self, line: &str) -> Outcome {
        outcome(self.command(line).spawn().unwrap())
    }

    /// A run of the fixture `patient` with these flags.
    fn run(&self, flags: &str) -> Outcome {
        self.host(&format!("{} {flags}", patient()))
    }

    /// The folders in `runs`, in the order of their names.
    fn runs(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(self.path("runs")) else { return Vec::new() };
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    }

    fn report(&self, run: impl AsRef<Path>) -> serde_json::Value {
        serde_json::from_str(&self.read(run.as_ref().join("report.json"))).unwrap()
    }
}

/// The program in a folder of its own, so that only those plugins are found that a test names.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        // On the file system of the program: a link costs nothing.
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("alone");
        std::fs::create_dir_all(&folder).unwrap();
        let (program, fresh) = (folder.join("host"), folder.join(format!("host-{}", std::process::id())));
        std::fs::hard_link(env!("CARGO_BIN_EXE_host"), &fresh).unwrap();
        std::fs::rename(&fresh, &program).unwrap();
        // Where both are links to one file already, the name is left.
        let _ = std::fs::remove_file(&fresh);
        program
    })
}

fn outcome(child: Child) -> Outcome {
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    // -1: ended by a signal.
    Outcome { status: output.status.code().unwrap_or(-1), stdout, stderr }
}

impl Outcome {
    #[track_caller]
    fn expect(self, status: i32) -> Self {
        assert_eq!(self.status, status, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        assert!(!self.stderr.contains('\u{1b}') && !self.stdout.contains('\u{1b}'), "colours only on a terminal");
        self
    }

    #[track_caller]
    fn says(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.stderr.contains(part), "`{part}` in stderr:\n{}", self.stderr);
        }
        self
    }
}

/// A fixture's library: cargo puts it beside this test, as a library that the test's package
/// depends on.
fn library(name: &str) -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    let file = format!("{}pocketflow_fixture_{name}{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let mut folders = exe.parent().unwrap().ancestors().take(2).map(|folder| folder.join(&file));
    folders.find(|path| path.exists()).unwrap_or_else(|| panic!("{file} is not beside {}", exe.display()))
}

fn with_plugin(name: &str) -> String {
    format!("--plugin-dir={}", library(name).display())
}

fn patient() -> String {
    format!("{} --learner=patient --net=small-net", with_plugin("patient"))
}
