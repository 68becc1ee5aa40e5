//! Commands that run nothing, and command lines that cannot.

use crate::{Place, library, outcome, patient, with_plugin};
use std::io::{BufRead, BufReader};

#[test]
fn help_is_a_result() {
    let place = Place::new();
    for line in ["--help", "help", "run --help", "plugins --help", "config --help", "eval --help"] {
        let outcome = place.host(&format!("{} {line}", with_plugin("patient"))).expect(0);
        assert!(outcome.stdout.contains("Usage:") && outcome.stderr.is_empty(), "{line}: {}", outcome.stderr);
    }
    assert!(place.host("--version").expect(0).stdout.starts_with("host "));
    // The options of the selected plugins are part of it.
    assert!(place.host(&format!("{} --help", patient())).expect(0).stdout.contains("--patient-steps"));
}

#[test]
fn wrong_usage_is_status_2_and_names_the_fault() {
    let place = Place::new();
    place.host("--no-such-flag").expect(2).says(&["no-such-flag"]);
    place.host("--log=a=b=c plugins").expect(2).says(&["`a=b=c` (flag --log)"]);
    place.run("--patient_steps=many").expect(2).says(&["--patient-steps", "many"]);
    place.run("--patient_steps=0").expect(2).says(&["out of range"]);
    place.run("--config=none.toml").expect(2).says(&["none.toml"]);
    place.write("pocketflow.toml", "seed = 1\npatient_step = 3\n");
    place.run("").expect(2).says(&["pocketflow.toml:2", "`patient_steps`"]);
    assert!(place.runs().is_empty(), "nothing is left of a run that never was");
}

#[test]
fn unknown_plugins_list_those_there_are() {
    let place = Place::new();
    let plugins = with_plugin("patient");
    let learner = place.host(&format!("{plugins} --learner=pacient --net=small-net")).expect(2);
    learner.says(&["`pacient`", "did you mean `patient`?", "parent, patient"]);
    place.host(&format!("{plugins} --learner=patient --net=none")).expect(2).says(&["`none`", "small-net"]);
    place.host(&format!("{plugins} --learner=patient")).expect(2).says(&["--net", "small-net"]);
    place.run("--dataset=none").expect(2).says(&["flag --dataset", "absent, substitute"]);
    place.host(&format!("{plugins} plugins show none")).expect(2).says(&["`none`", "small-net"]);
    assert!(place.runs().is_empty());
}

#[test]
fn plugins_and_failures_are_listed() {
    let place = Place::new();
    place.write("bad/libbad.so", "no library");
    let line = format!("{} --plugin-dir=bad --plugin-dir={}", with_plugin("patient"), library("hollow").display());
    let listed = place.host(&format!("{line} plugins list")).expect(0).stdout;
    let lines: Vec<&str> = listed.lines().collect();
    assert!(lines[0].starts_with("KIND"), "{listed}");
    let of_patient = lines.iter().find(|line| line.starts_with("learner  patient")).unwrap();
    assert!(of_patient.contains("Waits.") && of_patient.contains("fixture_patient"), "{listed}");
    let (_, failed) = listed.split_once("not usable:").unwrap();
    assert!(failed.contains("libbad.so") && failed.contains("fixture_hollow"), "{listed}");
    let json = place.host(&format!("{line} plugins list --format=json")).expect(0).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["plugins"].as_array().unwrap().len(), 5);
    assert_eq!(json["failed"].as_array().unwrap().len(), 2);
    // A run works with the rest, and says what it works without.
    place.host(&format!("{} --plugin-dir=bad", patient())).expect(0).says(&["WARN", "libbad.so"]);
}

#[test]
fn a_plugin_is_shown_with_its_options() {
    let place = Place::new();
    let shown = place.host(&format!("{} plugins show ancestor", with_plugin("patient"))).expect(0).stdout;
    for part in
        ["learner parent", "also called  ancestor", "--parent-answer", "from 0 to 100", "default: 25", "Per cent."]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let json = place.host(&format!("{} plugins show small-net --format=json", with_plugin("patient"))).expect(0).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[0]["options"][0]["key"], "small_width");
    assert_eq!(json[0]["options"][0]["default"], 4);
}

#[test]
fn a_library_is_checked() {
    let place = Place::new();
    let good = place.host(&format!("plugins check {}", library("patient").display())).expect(0).stdout;
    assert!(good.contains("learner    patient") && good.ends_with("usable\n"), "{good}");
    let bad = place.host(&format!("plugins check {} --format=json", library("hollow").display())).expect(1).stdout;
    let bad: serde_json::Value = serde_json::from_str(&bad).unwrap();
    assert_eq!(bad["usable"], false);
    assert!(!bad["problems"].as_array().unwrap().is_empty());
    place.host("plugins check nowhere.so").expect(1);
}

#[test]
fn settings_and_completions_are_results() {
    let place = Place::new();
    let shown = place.host(&format!("{} --patient_steps=7 config show", patient())).expect(0).stdout;
    assert!(shown.contains("flag --patient-steps"), "{shown}");
    let explained = place.host(&format!("{} config explain patient_steps", patient())).expect(0).stdout;
    assert!(explained.contains("Steps to count."), "{explained}");
    place.host(&format!("{} config explain patient_step", patient())).expect(2).says(&["patient_steps"]);
    place.host(&format!("{} config init", patient())).expect(0);
    place.host(&format!("{} config init", patient())).expect(2).says(&["--force"]);
    let script = place.host(&format!("{} completions bash", with_plugin("patient"))).expect(0).stdout;
    assert!(script.contains("patient-steps"));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let place = Place::new();
    let mut child = place.command(&format!("{} config show", patient())).spawn().unwrap();
    // Gone before the program has written anything.
    drop(child.stdout.take());
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!((line.as_str(), outcome(child).status), ("", 0));
}
