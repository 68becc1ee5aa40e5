//! Runtimes of other people, from PyPI: installed once below the target folder, by pip, for tests
//! that run exported files in them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

/// LiteRT: `libLiteRt.so`, and the interpreter with its reference kernels for Python.
pub const LITERT: &[&str] = &["ai-edge-litert==2.3.0"];
/// ONNX Runtime.
pub const ONNXRUNTIME: &[&str] = &["onnxruntime==1.32.0"];
/// TensorFlow, for GraphDefs; the largest by far.
pub const TENSORFLOW: &[&str] = &["tensorflow-cpu==2.21.0"];

/// The folder of these packages, as `site-packages`.
///
/// # Panics
/// Where pip cannot install them: a test cannot go on without.
pub fn wheels(packages: &[&str]) -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    // target/PROFILE/deps/test → target/wheels
    let base = exe.ancestors().nth(3).unwrap().join("wheels");
    let place = base.join(packages[0].replace("==", "-"));
    std::fs::create_dir_all(&base).unwrap();
    let lock = File::create(place.with_extension("lock")).unwrap();
    // Held until the end: tests run side by side.
    lock.lock().unwrap();
    if !place.exists() {
        let staging = place.with_extension("partial");
        let _ = std::fs::remove_dir_all(&staging);
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile", "--target"]);
        let output = pip.arg(&staging).args(packages).output().unwrap();
        assert!(output.status.success(), "pip: {}", String::from_utf8_lossy(&output.stderr));
        std::fs::rename(&staging, &place).unwrap();
    }
    place
}

/// Runs a Python script of `tests/python` with packages; its standard output.
///
/// # Panics
/// Where it fails; with what it said.
pub fn python(script: &str, packages: &[&str], arguments: &[&Path]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(script);
    let mut python = Command::new("python3");
    python.arg(&script).args(arguments).env("PYTHONPATH", wheels(packages)).env("TF_CPP_MIN_LOG_LEVEL", "3");
    let output = python.output().unwrap();
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(output.status.success(), "{}: {stdout}{stderr}", script.display());
    stdout
}
