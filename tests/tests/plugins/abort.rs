//! A plugin whose panics would end the program does not compile.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const SOURCE: &str = "pocketflow::export!();";

/// The library `pocketflow` that cargo built last, for these tests: beside them.
fn built() -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    let files = std::fs::read_dir(exe.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    let ours = files.filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("libpocketflow-") && name.ends_with(".rlib")
    });
    ours.max_by_key(|path| path.metadata().and_then(|meta| meta.modified()).unwrap()).expect("an rlib of `pocketflow`")
}

/// Compiles a plugin library of one line, without linking it.
fn compile(library: &Path, flags: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("lib.rs");
    std::fs::write(&source, SOURCE).unwrap();
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.args(["--edition=2024", "--crate-type=lib", "--crate-name=small", "--emit=metadata", "--out-dir"]);
    rustc.arg(folder.path()).args(flags).arg("--extern").arg(format!("pocketflow={}", library.display()));
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
