//! A run that was stopped or killed ends, resumed, in the same bits as one that was not.

use crate::{Place, SMALL, finish};
use std::process::Command;
use std::time::{Duration, Instant};

const JOB: &str = "--learner=uniform --nb_epochs_rat=0.016 --uql_quant_epochs=3 --uql_activation_bits=4 --save_step=7";

fn job(run: &str) -> String {
    format!("{JOB} {SMALL} --run_dir={run} --save_path={run}.ckpt --uql_save_quant_model_path={run}-q.ckpt")
}

#[test]
fn killed_at_any_moment_it_ends_in_the_same_bits() {
    let place = Place::new();
    let start = Instant::now();
    place.host(&job("whole")).expect(0);
    let whole = start.elapsed();
    // Kills spread over the whole run, each going on from what the last one left.
    let mut kills = 0;
    for share in [0.3, 0.2, 0.35, 0.25, 0.4] {
        let resume = if kills > 0 { "--resume" } else { "" };
        let mut child = place.start(&format!("{} {resume}", job("killed")));
        std::thread::sleep(whole.mul_f64(share));
        if child.try_wait().unwrap().is_some() {
            break; // it was done already
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    assert!(kills >= 2, "killed {kills} times only");
    place.host(&format!("{} --resume", job("killed"))).expect(0);
    assert!(place.bytes("whole.ckpt") == place.bytes("killed.ckpt"), "full-precision weights differ");
    assert!(place.bytes("whole-q.ckpt") == place.bytes("killed-q.ckpt"), "quantized weights differ");
    let steps = |run: &str| {
        let text = String::from_utf8(place.bytes(&format!("{run}/metrics.jsonl"))).unwrap();
        text.lines().filter(|line| line.contains("\"evaluation\"")).count()
    };
    assert_eq!(steps("whole"), steps("killed"), "every evaluation stands in the curves once");
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
