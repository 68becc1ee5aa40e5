//! A run that was stopped or killed ends, resumed, in the same bits as one that was not.

use pocketflow_tests::place::{Place, SMALL, finish};
use std::process::Command;
use std::time::{Duration, Instant};

const JOB: &str = "--learner=uniform --nb_epochs_rat=0.016 --uql_quant_epochs=3 --uql_activation_bits=4 --save_step=7 \
                   --summ_step=1";

fn job(run: &str) -> String {
    format!("{JOB} {SMALL} --run_dir={run} --save_path={run}.ckpt --uql_save_quant_model_path={run}-q.ckpt")
}

/// Events of one kind in a run's curves.
fn count(place: &Place, run: &str, event: &str) -> usize {
    let text = std::fs::read_to_string(place.path(format!("{run}/metrics.jsonl"))).unwrap_or_default();
    text.matches(&format!("\"event\":\"{event}\"")).count()
}

#[test]
fn killed_at_any_moment_it_ends_in_the_same_bits() {
    let place = Place::new();
    place.host(&job("whole")).expect(0);
    let steps = count(&place, "whole", "step");
    // Kills spread over the whole run, through both of its phases; each attempt goes on from what
    // the last one left.
    let mut resume = "";
    for share in [0.1, 0.4, 0.65, 0.9] {
        let mut child = place.start(&format!("{} {resume}", job("killed")));
        while count(&place, "killed", "step") < (steps as f64 * share) as usize {
            assert!(child.try_wait().unwrap().is_none(), "it ended before it was killed");
            std::thread::sleep(Duration::from_millis(3));
        }
        child.kill().unwrap();
        finish(child);
        resume = "--resume";
    }
    place.host(&format!("{} --resume", job("killed"))).expect(0);
    assert!(place.bytes("whole.ckpt") == place.bytes("killed.ckpt"), "full-precision weights differ");
    assert!(place.bytes("whole-q.ckpt") == place.bytes("killed-q.ckpt"), "quantized weights differ");
    for event in ["step", "evaluation"] {
        let [whole, killed] = ["whole", "killed"].map(|run| count(&place, run, event));
        assert_eq!(whole, killed, "every {event} stands in the curves once");
    }
}

#[test]
fn a_stopped_run_saves_says_how_to_go_on_and_goes_on() {
    let place = Place::new();
    let child = place.start(&job("stopped"));
    let checkpoint = place.path("stopped/checkpoints/full-prec.ckpt");
    let start = Instant::now();
    while !checkpoint.exists() {
        assert!(start.elapsed() < Duration::from_secs(120), "no checkpoint");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    finish(child).expect(130).says(&["--resume"]);
    assert!(!place.path("stopped/report.json").exists());
    place.host(&format!("{} --resume", job("stopped"))).expect(0);
    place.host(&job("whole")).expect(0);
    assert!(place.bytes("whole-q.ckpt") == place.bytes("stopped-q.ckpt"), "the same weights");
}

#[test]
fn a_damaged_checkpoint_costs_the_steps_since_the_one_before_and_no_weight() {
    let place = Place::new();
    place.host(&job("whole")).expect(0);
    let mut child = place.start(&job("damaged"));
    // Two of the second phase: the first one is over by then.
    let [newest, before] = ["ckpt", "before.ckpt"].map(|end| place.path(format!("damaged/checkpoints/uniform.{end}")));
    while !before.exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended too soon");
        std::thread::sleep(Duration::from_millis(3));
    }
    child.kill().unwrap();
    finish(child);
    let mut bytes = std::fs::read(&newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::remove_file(&newest).unwrap();
    std::fs::write(&newest, bytes).unwrap();
    let resumed = place.host(&format!("{} --resume", job("damaged"))).expect(0);
    resumed.says(&["warning", "damaged/checkpoints/uniform.ckpt: its checksum", "the checkpoint before it"]);
    assert!(place.bytes("whole-q.ckpt") == place.bytes("damaged-q.ckpt"), "the same weights");
    let [whole, damaged] = ["whole", "damaged"].map(|run| count(&place, run, "step"));
    assert_eq!(whole, damaged, "every step stands in the curves once");
}

#[test]
fn damaged_checkpoints_and_another_parent_are_named() {
    let place = Place::new();
    let mut child = place.start(&job("run"));
    let [newest, before] = ["ckpt", "before.ckpt"].map(|end| place.path(format!("run/checkpoints/uniform.{end}")));
    while !before.exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended too soon");
        std::thread::sleep(Duration::from_millis(3));
    }
    child.kill().unwrap();
    finish(child);
    let resume = format!("{} --resume", job("run"));
    let parent = place.bytes("run.ckpt");
    std::fs::write(place.path("run.ckpt"), place.bytes("run/checkpoints/full-prec.ckpt")).unwrap();
    place.host(&resume).expect(2).says(&["file of save_path: was blake3 ", "(run/run.toml:", "is blake3 "]);
    std::fs::write(place.path("run.ckpt"), parent).unwrap();
    for path in [&newest, &before] {
        std::fs::remove_file(path).unwrap();
        std::fs::write(path, "no checkpoint").unwrap();
    }
    let both = ["run/checkpoints/uniform.ckpt: ", "run/checkpoints/uniform.before.ckpt: ", "delete both files"];
    place.host(&resume).expect(1).says(&both);
}
