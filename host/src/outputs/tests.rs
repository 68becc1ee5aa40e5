//! Paths that meet what is read, each other, or the run's own files.

use super::*;
use pocketflow::ErrorKind;
use std::fs;

fn flag(name: &str) -> Origin {
    Origin::Flag { name: format!("--{name}") }
}

/// The error of writing these, with these read, in a run whose folder is `run`; `None`: there is
/// none.
fn check(folder: &Path, written: &[&str], read: &[&str]) -> Option<String> {
    let mut outputs = Outputs { run_dir: Some(folder.join("run")), ..Outputs::default() };
    for name in written {
        outputs.write(format!("`{name}`"), flag(name), folder.join(name));
    }
    for name in read {
        outputs.read(format!("the file of `{name}`"), folder.join(name));
    }
    let error = outputs.check().err()?;
    assert_eq!(error.kind(), ErrorKind::Config);
    Some(error.to_string())
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [("parent", "model"), ("other", ""), ("data/image", "")] {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    fs::hard_link(folder.path().join("parent"), folder.path().join("second_name")).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("parent", folder.path().join("link")).unwrap();
    folder
}

#[test]
fn a_result_replaces_nothing_that_is_read() {
    let folder = folder();
    for name in ["parent", "./parent", "data/../parent", "link", "second_name"] {
        let error = check(folder.path(), &[name], &["parent"]).unwrap_or_else(|| panic!("{name} is taken"));
        let said = format!("flag --{name}: `{name}`: it is the file of `parent`, which is read; give another path");
        assert!(error.contains(&said), "{error}");
    }
    assert_eq!(check(folder.path(), &["other"], &["parent"]), None);
    let among = check(folder.path(), &["data/image"], &["data"]).unwrap();
    assert!(among.contains("would replace a file in the file of `data`"), "{among}");
    assert_eq!(check(folder.path(), &["data/model.ckpt"], &["data"]), None);
}

#[test]
fn two_results_are_two_files() {
    let folder = folder();
    for (one, other) in [("new", "./new"), ("parent", "link"), ("a/b", "a/b/c"), ("a/b/c", "a/b")] {
        let error = check(folder.path(), &[one, other], &[]).unwrap_or_else(|| panic!("{one} and {other} are taken"));
        assert!(error.contains(&format!("it is where `{one}` is written")), "{error}");
    }
    assert_eq!(check(folder.path(), &["a/b", "a/c"], &[]), None);
}

#[test]
fn the_files_of_the_run_are_its_own() {
    let folder = folder();
    for name in [
        "run",
        "run/run.toml",
        "run/report.json",
        "run/report.html",
        "run/log.txt",
        "run/.lock",
        "run/metrics.jsonl",
        "run/events.out.tfevents.1",
        "run/checkpoints/full-prec.ckpt",
        "run/a/../run.toml",
    ] {
        let error = check(folder.path(), &[name], &[]);
        assert!(error.is_some_and(|error| error.contains("the run")), "{name} is taken");
    }
    assert_eq!(check(folder.path(), &["run/model.ckpt", "run/b/report.json"], &[]), None);
    assert!(!folder.path().join("run").exists(), "a try leaves nothing");
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let folder = folder();
    let error = check(folder.path(), &["data", "parent/model.ckpt"], &[]).unwrap();
    for part in
        ["2 problems", "`data`: cannot be written: it is a folder", "`parent/model.ckpt`", "is a file, not a folder"]
    {
        assert!(error.contains(part), "{part}: {error}");
    }
}
