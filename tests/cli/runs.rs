//! Whole runs: what they leave, the data's stand-in, learners that ask for others, evaluation of
//! saved models.

use crate::{Place, outcome, patient};

#[test]
fn a_run_leaves_everything_the_report_needs() {
    let place = Place::new();
    place.write("images/here", "");
    let outcome = place.run("--data_dir=images --patient_steps=5").expect(0);
    let [run] = &place.runs()[..] else { panic!("one run: {:?}", place.runs()) };
    let name = run.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("small-net-patient-20"), "{name}");
    let report = place.report(run);
    assert_eq!(report["learner"], "patient");
    assert_eq!(report["net"], "small-net");
    assert_eq!(report["dataset"], "absent");
    assert_eq!(report["stand_in_data"], false);
    assert!(place.read(run.join("report.html")).contains("</html>"));
    assert_eq!(place.read(run.join("metrics.jsonl")).matches("\"event\":\"step\"").count(), 5);
    let log = place.read(run.join("log.txt"));
    assert!(log.contains("host: learner     patient") && log.contains("patient begins: 0 of 5"), "{log}");
    let left = std::fs::read_dir(run).unwrap();
    assert!(left.into_iter().any(|entry| entry.unwrap().file_name().to_string_lossy().contains("tfevents")));
    // The result, and only the result, is on stdout; who runs what on what is told first.
    assert!(outcome.stdout.starts_with("small-net · patient · absent"), "{}", outcome.stdout);
    assert!(!outcome.stdout.contains("learner  "), "{}", outcome.stdout);
    outcome.says(&[
        "learner     patient",
        "16 training and 8 test images",
        "run folder  runs/small-net-patient-",
        "seed        0",
    ]);
}

#[test]
fn the_settings_of_a_run_repeat_it() {
    let place = Place::new();
    place.run("--seed=7 --run_dir=first").expect(0);
    let settings = place.read("first/run.toml");
    assert!(
        settings.contains("seed = 7  # flag --seed") && settings.contains("dataset = \"substitute\""),
        "{settings}"
    );
    let plugins = crate::with_plugin("patient");
    place.host(&format!("{plugins} --config=first/run.toml --run_dir=second")).expect(0);
    let values = |text: String| -> Vec<String> {
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split("  #").next().unwrap().to_owned())
            .collect()
    };
    assert_eq!(values(place.read("second/run.toml")), values(settings));
    // Without a folder of its own it takes a new one, not the first run's.
    place.host(&format!("{plugins} --config=first/run.toml")).expect(0);
    assert_eq!(place.runs().len(), 1);
}

#[test]
fn the_report_is_the_result_in_json() {
    let place = Place::new();
    let outcome = place.run("--format=json --run_dir=out").expect(0);
    let printed: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(printed, place.report("out"));
}

#[test]
fn a_stand_in_is_used_and_named_everywhere() {
    let place = Place::new();
    let outcome = place.run("--run_dir=out").expect(0);
    assert!(outcome.stdout.contains("STAND-IN DATA"), "{}", outcome.stdout);
    let outcome =
        outcome.says(&["warning:", "`substitute`", "not from absent", "./data/absent/here", "in the place of absent"]);
    assert!(outcome.stderr.contains("STAND-IN DATA"));
    assert_eq!(place.report("out")["stand_in_data"], true);
    assert!(place.read("out/run.toml").contains("stand_in_for = \"absent\""));
    assert!(place.read("out/log.txt").contains("not from absent"));
    assert!(place.read("out/report.html").to_lowercase().contains("stand-in"));
    // Who asks for the data by name gets them or an error.
    place.run("--dataset=absent").expect(2).says(&["./data/absent/here"]);
}

#[test]
fn a_learner_runs_another_with_other_settings() {
    let place = Place::new();
    let outcome = place.run("--run_dir=out --patient_parent=ancestor --patient_replaces=seed=5").expect(0);
    outcome.says(&["parent in out with seed 5"]);
    assert_eq!(place.report("out")["top1_full_precision"], 0.25);
    assert_eq!(place.report("out")["seed"], 0);
    // Options of the other learner can be replaced too.
    place.run("--run_dir=own --patient_parent=parent --patient_replaces=parent-answer=75").expect(0);
    assert_eq!(place.report("own")["top1_full_precision"], 0.75);
    let wrong = |replaces: &str| place.run(&format!("--patient_parent=parent --patient_replaces={replaces}"));
    wrong("parent_answer=101").expect(2).says(&[
        "`parent_answer` = 101",
        "learner patient runs parent",
        "out of range",
    ]);
    wrong("nothing=1").expect(2).says(&["`nothing` = 1"]);
    place.run("--patient_parent=nobody").expect(2).says(&["learner `nobody` did not finish", "parent, patient"]);
    place.run("--patient_parent=patient").expect(1).says(&["waits for it"]);
}

/// A file in the place of `runs` stands for a folder that may not be written: tests may run as
/// root.
#[test]
fn an_evaluation_needs_no_folder_that_it_may_write_to() {
    let place = Place::new();
    place.run("--run_dir=out --save_path=saved/m.ckpt").expect(0);
    place.write("runs", "a file");
    place.write("temporary/here", "a folder");
    let mut command = place.command(&format!("{} eval saved/m.ckpt", patient()));
    command.env("TMPDIR", place.path("temporary"));
    let done = outcome(command.spawn().unwrap()).expect(0);
    assert!(done.stdout.contains("25.00 %"), "{}", done.stdout);
    done.says(&["no folder can be made in `runs`", "temporary/small-net-patient-eval-"]);
    // A training has more to lose.
    place.run("--save_path=saved/n.ckpt").expect(1).says(&["cannot make a run folder in `runs`", "--run-dir"]);
}

#[test]
fn saved_models_are_evaluated() {
    let place = Place::new();
    place.run("--small_width=6 --nb_classes=6 --save_path=saved/m.ckpt").expect(0);
    // The model knows its learner, its net and its shape.
    let plugins = crate::with_plugin("patient");
    let outcome = place.host(&format!("{plugins} eval saved/m.ckpt --run_dir=out")).expect(0);
    outcome.says(&["patient, evaluate", "small6, 72 parameters", "saved/m.ckpt"]);
    assert_eq!(place.report("out")["top1"], 0.25);
    // A net that was chosen must be the model's.
    place.host(&format!("{plugins} eval saved/m.ckpt --net=small-net")).expect(2).says(&["small4"]);
    place.run("--small_width=6 --nb_classes=6 --save_path=saved/m.ckpt --exec_mode=eval").expect(0).says(&["evaluate"]);
    place.run("--small_width=6 --nb_classes=6 --save_path=saved/m.ckpt eval").expect(0).says(&["evaluate"]);
    place.host(&format!("{plugins} eval nowhere.ckpt")).expect(2).says(&["`nowhere.ckpt`", "no such file"]);
    place.host(&format!("{plugins} eval saved/m.ckpt --runtime=litert")).expect(2).says(&["--runtime"]);
    place.write("x.tflite", "");
    place.host(&format!("{plugins} eval x.tflite")).expect(1).says(&["x.tflite"]);
    place.write("other.ckpt", "PocketFlow?");
    place.host(&format!("{plugins} eval other.ckpt")).expect(2).says(&["other.ckpt"]);
    let whole = std::fs::read(place.path("saved/m.ckpt")).unwrap();
    std::fs::write(place.path("cut.ckpt"), &whole[..whole.len() - 9]).unwrap();
    place.host(&format!("{plugins} eval cut.ckpt")).expect(1).says(&["cut.ckpt"]);
}

#[test]
fn a_folder_that_cannot_be_used_is_told_before_anything_runs() {
    let place = Place::new();
    place.write("file", "");
    place.run("--run_dir=file/run").expect(1).says(&["cannot make the run folder `file/run`", "--run-dir"]);
    place.run("--run_dir=out").expect(0);
    let before = place.read("out/report.json");
    place.run("--run_dir=out").expect(2).says(&["already holds a run", "--resume"]);
    assert_eq!(place.read("out/report.json"), before);
}

#[test]
fn lines_of_the_log_are_chosen_by_flag_or_variable() {
    let place = Place::new();
    let stderr = |flags: &str, variable: Option<&str>| {
        let mut command = place.command(&format!("{} {flags} --plugin-dir=none", patient()));
        command.envs(variable.map(|text| ("RUST_LOG", text)));
        crate::outcome(command.spawn().unwrap()).expect(0).stderr
    };
    assert!(stderr("", None).contains(" WARN host: plugin none is left out"));
    assert!(!stderr("--log=error", None).contains(" WARN"));
    assert!(!stderr("", Some("error")).contains(" WARN"));
    assert!(stderr("--log=warn", Some("error")).contains(" WARN"));
}
