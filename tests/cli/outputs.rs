//! Where results go: what must not be replaced is not, what cannot be written is said before the
//! work begins, and what killed processes left is removed.

use crate::{Place, outcome, patient};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::process::Command;

/// A place with a pipe, a link to nothing, a folder, a file and a file of settings.
fn place() -> Place {
    let place = Place::new();
    assert!(Command::new("mkfifo").arg(place.path("pipe")).status().unwrap().success());
    std::os::unix::fs::symlink("nowhere/model.ckpt", place.path("dangling")).unwrap();
    fs::create_dir(place.path("folder")).unwrap();
    place.write("file", "text");
    place.write("settings.toml", "patient_steps = 2\n");
    place
}

#[test]
fn a_path_that_cannot_be_written_is_said_before_the_run_has_a_folder() {
    let place = place();
    for (flags, said) in [
        ("--save_path=pipe", "a pipe"),
        ("--save_path=dangling", "nowhere/model.ckpt"),
        ("--save_path=folder", "this is a folder"),
        ("--save_path=folder/", "this is a folder"),
        ("--save_path=new/", "this is a folder"),
        ("--save_path=", "is empty"),
        ("--save_path=file/model.ckpt", "a part of the path is a file"),
        ("--config=settings.toml --save_path=./settings.toml", "a file of settings"),
        ("--run_dir=runs --save_path=runs/run.toml", "the run's own files"),
        ("--run_dir=runs --save_path=runs/checkpoints/patient", "the checkpoints of the run"),
        ("--run_dir=runs --save_path=runs", "the folder of the run"),
    ] {
        place.run(flags).expect(2).says(&["flag --save-path: `save_path`", said]);
        assert!(!place.path("runs").exists(), "{flags}: no folder of a run that did not begin");
    }
    place.write("line.toml", "# The path is in line 2.\nsave_path = \"folder\"\n");
    place.run("--config=line.toml").expect(2).says(&["line.toml:2: `save_path` = folder: cannot be written"]);
    let long = format!("--save_path={}.ckpt", "m".repeat(251));
    place.run(&long).expect(2).says(&["choose a shorter name"]);
    assert_eq!(place.read("file"), "text");
    // As long as a name may be.
    place.run(&format!("--save_path={}.ckpt --run_dir=out", "m".repeat(250))).expect(0);
    assert!(place.path(&format!("{}.ckpt", "m".repeat(250))).exists());
}

#[test]
fn a_run_is_finished_once_its_report_is_whole() {
    let place = Place::new();
    place.run("--run_dir=out").expect(0);
    let whole = place.read("out/report.json");
    for damaged in ["{}", "", &whole[..whole.len() / 2]] {
        place.write("out/report.json", damaged);
        fs::remove_file(place.path("out/report.html")).unwrap();
        let again = place.run("--run_dir=out --resume").expect(0);
        assert!(!again.stderr.contains("is finished"), "{}", again.stderr);
        assert_eq!(place.report("out")["learner"], "patient");
        assert!(place.path("out/report.html").exists());
    }
    // The page is made again from what the folder holds.
    fs::remove_file(place.path("out/report.html")).unwrap();
    place.run("--run_dir=out --resume").expect(0).says(&["is finished"]);
    assert!(place.path("out/report.html").exists());
}

#[test]
fn what_a_killed_process_left_is_removed_by_the_next_run() {
    let place = Place::new();
    place.run("--run_dir=out --save_path=models/model.ckpt").expect(0);
    fs::remove_file(place.path("out/report.json")).unwrap();
    let left = [
        "out/.report.json.abcdef.pocketflow.part",
        "out/checkpoints/.patient.abcdef.pocketflow.part",
        "models/.model.ckpt.abcdef.pocketflow.part",
    ];
    for path in left {
        place.write(path, "half of a file");
    }
    place.write("models/.other.part", "of another program");
    place.run("--run_dir=out --save_path=models/model.ckpt --resume").expect(0);
    for path in left {
        assert!(!place.path(path).exists(), "{path}");
    }
    assert_eq!(place.read("models/.other.part"), "of another program");
}

#[test]
fn paths_that_are_not_unicode_work_or_are_refused_before_the_run() {
    let place = Place::new();
    place.run("--run_dir=first").expect(0);
    let odd = |name: &str| OsString::from_vec([name.as_bytes(), b"\xff.toml"].concat());
    let path = |name: &str| place.path("").join(odd(name));
    fs::write(path("settings"), "patient_steps = 2\n").unwrap();
    let mut command = place.command(&format!("{} --run_dir=out --config", patient()));
    outcome(command.arg(odd("settings")).spawn().unwrap()).expect(0);
    assert!(place.read("out/run.toml").contains("patient_steps = 2"), "the settings of that file");

    fs::copy(place.path("models/model.ckpt"), path("model")).unwrap();
    let mut command = place.command(&format!("eval --run_dir=evaluated {}", patient()));
    outcome(command.arg(odd("model")).spawn().unwrap()).expect(2).says(&["MODEL", "not Unicode"]);
    assert!(!place.path("evaluated").exists());
    let mut command = place.command(&patient());
    let mut flag = OsString::from("--save_path=");
    flag.push(odd("model"));
    outcome(command.arg(flag).spawn().unwrap()).expect(2);
}
