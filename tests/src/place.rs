//! The program as a user runs it: a process in a working directory of its own, with the real plugin
//! libraries.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;

/// A ResNet-8 on few images: an epoch takes a second.
pub const SMALL: &str = "--net=resnet_at_cifar10 --resnet_size=8 --nb_smpls_train=960 --nb_smpls_val=100 \
                         --nb_smpls_eval=200 --batch_size=64 --threads=1";

/// A working directory of its own.
pub struct Place {
    dir: tempfile::TempDir,
}

/// How a process ended.
pub struct Outcome {
    /// The exit status; −1 after a signal.
    pub status: i32,
    /// All that it printed there.
    pub stdout: String,
    /// All that it printed there.
    pub stderr: String,
}

/// The folder with the program and its plugins: brought up to date once, as `cargo test` builds no
/// loadable libraries.
pub fn built() -> PathBuf {
    static BUILT: Once = Once::new();
    let exe = std::env::current_exe().unwrap();
    let folder = exe.parent().unwrap().parent().unwrap().to_owned();
    BUILT.call_once(|| {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
        let mut cargo = Command::new(env!("CARGO"));
        // The whole workspace, so that features are the same as in a build by hand and nothing is
        // compiled twice.
        cargo.args(["build", "--quiet", "--workspace", "--manifest-path"]).arg(manifest);
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        assert!(cargo.status().unwrap().success(), "the program and its plugins must build");
    });
    folder
}

impl Place {
    /// An empty one, removed in the end.
    #[expect(clippy::new_without_default, reason = "a test says that it makes a folder")]
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// The path of what has that name in the folder.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The bytes of a file, which must be there.
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// A file of JSON, which must be there.
    pub fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&self.bytes(name)).unwrap()
    }

    /// The program with flags, its output caught.
    pub fn command(&self, flags: &str) -> Command {
        let mut command = Command::new(built().join("host"));
        command
            .args(flags.split_whitespace())
            .current_dir(self.dir.path())
            .env("XDG_CONFIG_HOME", self.path(".config"))
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Starts the program; its output is caught.
    pub fn start(&self, flags: &str) -> Child {
        self.command(flags).spawn().unwrap()
    }

    /// Runs the program to its end.
    pub fn host(&self, flags: &str) -> Outcome {
        finish(self.start(flags))
    }
}

/// Waits for the end of a process.
pub fn finish(child: Child) -> Outcome {
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Outcome { status: output.status.code().unwrap_or(-1), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

impl Outcome {
    /// That it ended with this status.
    #[track_caller]
    pub fn expect(self, status: i32) -> Self {
        assert_eq!(self.status, status, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// That stderr holds all of these.
    #[track_caller]
    pub fn says(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.stderr.contains(part), "`{part}` in stderr:\n{}", self.stderr);
        }
        self
    }
}
