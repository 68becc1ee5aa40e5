//! A plugin whose panics would end the program does not compile.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const SOURCE: &str = "pocketflow::export!();";

/// The library `pocketflow` as cargo has built it for these tests, by its own account.
fn built() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["build", "--offline", "--package=pocketflow", "--message-format=json", "--manifest-path"])
        .arg(manifest);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = output.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
    let ours =
        |line: &serde_json::Value| line["target"]["name"] == "pocketflow" && line["reason"] == "compiler-artifact";
    let artifact = lines.into_iter().find(ours).expect("an artifact of `pocketflow`");
    let files = artifact["filenames"].as_array().unwrap().iter().filter_map(serde_json::Value::as_str);
    files.map(PathBuf::from).find(|file| file.extension().is_some_and(|end| end == "rlib")).unwrap()
}

/// Compiles a plugin library of one line, without linking it.
fn compile(library: &Path, flags: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("lib.rs");
    std::fs::write(&source, SOURCE).unwrap();
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.args(["--edition=2024", "--crate-type=lib", "--crate-name=small", "--emit=metadata", "--out-dir"]);
    rustc.arg(folder.path()).args(flags).arg("--extern").arg(format!("pocketflow={}", library.display()));
    rustc.arg("-L").arg(format!("dependency={}", library.parent().unwrap().join("deps").display()));
    rustc.arg("-L").arg(format!("dependency={}", library.parent().unwrap().display()));
    rustc.arg(&source).output().unwrap()
}

#[test]
fn panic_abort_does_not_compile() {
    let library = built();
    let good = compile(&library, &[]);
    assert!(good.status.success(), "{}", String::from_utf8_lossy(&good.stderr));
    let bad = compile(&library, &["-Cpanic=abort"]);
    let said = String::from_utf8_lossy(&bad.stderr);
    assert!(!bad.status.success() && said.contains("remove `panic = \"abort\"` from the profile"), "{said}");
}
