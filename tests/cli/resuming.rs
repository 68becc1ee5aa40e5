//! What must be the same for a run to go on, what may change, and how that is told.

use crate::stopping::{begin_with, send};
use crate::{Place, library, outcome, patient};
use std::path::Path;

const STEPS: &str = "--patient_steps=20000 --patient_pause=10";

/// A run that was stopped, and that ends soon once it is resumed.
fn stopped(place: &Place, line: &str) {
    let child = begin_with(place, line);
    send("-INT", &child);
    outcome(child).expect(130);
    place.write("out/checkpoints/patient", "19998");
}

/// The line of `run.toml` that holds a text.
fn line_with(place: &Place, text: &str) -> String {
    let settings = place.read("out/run.toml");
    settings.lines().find(|line| line.contains(text)).unwrap_or_else(|| panic!("{text} in {settings}")).to_owned()
}

#[test]
fn a_file_or_data_that_changed_are_named_and_the_same_again_go_on() {
    let place = Place::new();
    place.write("plan.txt", "one");
    place.write("images/here", "");
    let line = format!("{} {STEPS} --run_dir=out --patient_input=plan.txt --data_dir=images", patient());
    stopped(&place, &line);
    let resume = format!("{line} --resume");
    let is = ["1 thing changed", "file of patient_input: was blake3 ", "(out/run.toml:", "is blake3 ", "delete line"];
    place.write("plan.txt", "two");
    place.host(&resume).expect(2).says(&is);
    place.write("plan.txt", "one");
    place.write("images/more", "image");
    place.host(&resume).expect(2).says(&["1 thing changed", "files of data_dir: was blake3 ", "is blake3 "]);
    // The same content in another place is the same.
    place.write("elsewhere/plan.txt", "one");
    place.write("elsewhere/other.txt", "other");
    let moved = |to: &str| resume.replace("plan.txt", to);
    place.host(&moved("elsewhere/other.txt")).expect(2).says(&["patient_input: was \"plan.txt\""]);
    // Who knows what they do deletes the line.
    let settings = place.read("out/run.toml");
    place.write("out/run.toml", &settings.replace(&line_with(&place, "files of data_dir"), ""));
    place.host(&moved("elsewhere/plan.txt")).expect(0);
    assert!(line_with(&place, "patient_input =").contains("elsewhere/plan.txt"));
}

#[test]
fn another_plugin_or_program_is_named() {
    let place = Place::new();
    let plugin = place.path("plugin.so");
    std::fs::copy(library("patient"), &plugin).unwrap();
    let line = format!("--plugin-dir=plugin.so --learner=patient --net=small-net {STEPS} --run_dir=out");
    stopped(&place, &line);
    let settings = place.read("out/run.toml");
    let program = line_with(&place, "program =");
    place.write("out/run.toml", &settings.replace(&program, "program = \"0.0.9\""));
    let resume = format!("{line} --resume");
    place.host(&resume).expect(2).says(&["program: was 0.0.9", &format!("is {}", env!("CARGO_PKG_VERSION"))]);
    place.write("out/run.toml", &settings);
    // As rebuilt from other source; what lies behind a library's end is not looked at by the
    // loader.
    let mut bytes = std::fs::read(&plugin).unwrap();
    bytes.push(0);
    std::fs::remove_file(&plugin).unwrap();
    std::fs::write(&plugin, bytes).unwrap();
    place.host(&resume).expect(2).says(&[
        "3 things changed",
        "learner patient: was",
        "net small-net: was",
        "delete lines",
    ]);
}

#[test]
fn a_result_may_go_elsewhere() {
    let place = Place::new();
    let line = format!("{} {STEPS} --run_dir=out", patient());
    stopped(&place, &line);
    place.host(&format!("{line} --resume --save_path=elsewhere/m.ckpt")).expect(0);
    assert!(place.path("elsewhere/m.ckpt").exists() && !place.path("models").exists());
    assert!(line_with(&place, "save_path =").contains("elsewhere/m.ckpt"), "run.toml says where it went");
}

#[test]
fn settings_that_are_gone_or_of_another_folder_are_not_guessed() {
    let place = Place::new();
    let line = format!("{} {STEPS} --run_dir=out", patient());
    stopped(&place, &line);
    let other = tempfile::tempdir().unwrap();
    let elsewhere = |folder: &Path| {
        let out = place.path("out");
        let plugins = crate::with_plugin("patient");
        let line = format!("{plugins} --config={0}/run.toml --run_dir={0} --resume", out.display());
        let mut command = place.command(&line);
        command.current_dir(folder);
        outcome(command.spawn().unwrap())
    };
    let (there, here) = (place.path("").canonicalize().unwrap(), other.path().canonicalize().unwrap());
    let both = [there, here].map(|folder| format!("`{}`", folder.display()));
    elsewhere(other.path()).expect(2).says(&[&both[0], &both[1], "save_path"]);
    assert_eq!(std::fs::read_dir(other.path()).unwrap().count(), 0, "nothing is put there");
    let settings = place.read("out/run.toml");
    std::fs::remove_file(place.path("out/run.toml")).unwrap();
    place.host(&format!("{} --resume", line.replace("20000", "19999"))).expect(2).says(&[
        "`out`",
        "`run.toml`",
        "put it back",
    ]);
    place.write("out/run.toml", &settings);
    elsewhere(&place.path("")).expect(0);
    assert!(place.path("models/model.ckpt").exists());
}
