//! Several workers as a user starts them: by `-n`, or by a program that says in the environment who
//! is who.

mod hosts;

use pocketflow_tests::place::{Outcome, Place, finish};
use serde_json::Value;
use std::net::TcpListener;
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const NET: &str = "--net=resnet_at_cifar10 --resnet_size=8 --nb_smpls_train=960 --nb_smpls_val=100 \
                   --nb_smpls_eval=230 --threads=1 --summ_step=1";
const FULL: &str = "--learner=full-prec --nb_epochs_rat=0.008";
/// Long enough to be disturbed.
const LONG: &str = "--learner=full-prec --nb_epochs_rat=0.4 --run_dir=run";

/// Held by the test that runs: each has several processes, which must answer each other in time.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The figures of each step: step, loss.
fn losses(place: &Place, run: &str) -> Vec<(u64, f64)> {
    let text = String::from_utf8(place.bytes(&format!("{run}/metrics.jsonl"))).unwrap();
    let events = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let steps = events.filter(|event| event["event"] == "step");
    steps.map(|event| (event["step"].as_u64().unwrap(), event["loss"].as_f64().unwrap())).collect()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A worker as torchrun starts it, without its store.
fn worker(place: &Place, [rank, size]: [u32; 2], port: u16, flags: &str) -> Child {
    let mut command = place.command(flags);
    command.env("RANK", rank.to_string()).env("WORLD_SIZE", size.to_string()).env("LOCAL_WORLD_SIZE", size.to_string());
    command.env("MASTER_ADDR", "127.0.0.1").env("MASTER_PORT", port.to_string()).spawn().unwrap()
}

/// The processes of a place's run: worker 0 is the child, the others are its children.
fn workers_of(child: &Child) -> Vec<u32> {
    let listed = Command::new("pgrep").args(["-P", &child.id().to_string()]).output().unwrap();
    String::from_utf8(listed.stdout).unwrap().lines().map(|line| line.parse().unwrap()).collect()
}

/// Waits until steps are taken.
fn under_way(place: &Place) {
    let start = Instant::now();
    while std::fs::read_to_string(place.path("run/metrics.jsonl")).is_ok_and(|text| !text.contains("\"step\""))
        || !place.path("run/metrics.jsonl").exists()
    {
        assert!(start.elapsed() < Duration::from_secs(180), "no step is taken");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn signal(name: &str, process: u32) {
    assert!(Command::new("kill").args([name, &process.to_string()]).status().unwrap().success());
}

fn left_by(process: u32) -> bool {
    std::env::temp_dir().join(format!("pocketflow-worker-1-{process}")).exists()
}

/// How a run ends whose second worker is given a signal.
fn disturbed(name: &str, flags: &str) -> (Outcome, Duration, u32) {
    let place = Place::new();
    let child = place.start(&format!("{LONG} -n=2 --batch_size=32 {NET} {flags}"));
    under_way(&place);
    let second = workers_of(&child)[0];
    signal(name, second);
    let start = Instant::now();
    let outcome = finish(child);
    assert!(!place.path("models/model.ckpt").exists());
    (outcome, start.elapsed(), second)
}

#[test]
fn two_workers_learn_what_one_learns_and_worker_0_keeps_it() {
    let _turn = turn();
    let place = Place::new();
    place.host(&format!("{FULL} {NET} --batch_size=64 --save_path=one.ckpt --run_dir=one")).expect(0);
    let outcome =
        place.host(&format!("{FULL} {NET} --batch_size=32 -n=2 --save_path=two.ckpt --run_dir=two")).expect(0);
    assert_eq!(outcome.stdout.matches("top-1 accuracy").count(), 1, "{}", outcome.stdout);
    assert_eq!(outcome.stderr.matches("epoch 1 ").count(), 1, "{}", outcome.stderr);
    let (one, two) = (losses(&place, "one"), losses(&place, "two"));
    assert_eq!(one.len(), two.len());
    // Batch normalisation uses each worker's own images.
    for ((step, one), (_, two)) in one.iter().zip(&two).take(4) {
        assert!((one - two).abs() < 0.1 * one, "step {step}: {one} {two}");
    }
    // Worker 0's model and no other's: what two workers found is what the file gives again.
    let report = place.json("two/report.json");
    let again = format!("eval two.ckpt {NET} --batch_size=64 --format=json --run_dir=eval");
    let again: Value = serde_json::from_str(&place.host(&again).expect(0).stdout).unwrap();
    assert_eq!((&again["top1"], &again["top5"]), (&report["top1"], &report["top5"]));
    let quantized = "--learner=uniform --uql_weight_bits=4 --uql_activation_bits=4 --uql_quant_epoch=1";
    place.host(&format!("{quantized} {NET} --save_path=two.ckpt --batch_size=32 -n=2 --run_dir=uniform")).expect(0);
    let report = place.json("uniform/report.json");
    assert!(report["compression_ratio"].as_f64().unwrap() > 6.0, "{report:#}");
}

#[test]
fn a_parent_is_trained_once_by_all_and_a_run_goes_on_with_another_number_of_workers() {
    let _turn = turn();
    let place = Place::new();
    let flags = format!("--learner=uniform --uql_quant_epoch=6 --nb_epochs_rat=0.008 {NET} --run_dir=run");
    let child = place.start(&format!("{flags} -n=2 --batch_size=32"));
    let start = Instant::now();
    let tuning = |text: String| text.contains("\"phase\":\"uniform\"") && text.contains("\"event\":\"step\"");
    while !std::fs::read_to_string(place.path("run/metrics.jsonl"))
        .is_ok_and(|text| text.lines().any(|line| tuning(line.to_owned())))
    {
        assert!(start.elapsed() < Duration::from_secs(180), "the parent is not trained");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(place.path("models/model.ckpt").exists());
    // Worker 0 alone is asked to stop.
    signal("-INT", child.id());
    let outcome = finish(child).expect(130);
    assert!(outcome.stderr.contains("saved after step"), "{}", outcome.stderr);
    let other = place.host(&format!("{flags} --batch_size=32 --resume"));
    assert!(other.expect(2).stderr.contains("n: was 2"));
    let outcome = place.host(&format!("{flags} --batch_size=64 --resume")).expect(0);
    assert!(outcome.stderr.contains("of them done before"), "{}", outcome.stderr);
    let steps: Vec<u64> = losses(&place, "run").into_iter().map(|(step, _)| step).collect();
    assert_eq!(steps.last(), Some(&90), "6 epochs of 15 steps: {steps:?}");
}

/// Each worker makes the search alike, also where it goes on: worker 0 alone has its checkpoint.
#[test]
fn a_search_goes_on_on_all_workers() {
    let _turn = turn();
    let place = Place::new();
    place.host(&format!("{FULL} {NET} --batch_size=64")).expect(0);
    let search = "--uql_enbl_rl_agent --uql_w_bit_max=4 --uql_nb_rlouts=40 --uql_equivalent_bits=2.5 \
                  --uql_tune_global_steps=2 --uql_quant_epoch=1";
    let flags = |run: &str| {
        let paths = format!("--uql_save_quant_model_path={run}.ckpt --run_dir={run}");
        format!("--learner=uniform {search} {NET} --batch_size=32 -n=2 {paths}")
    };
    place.host(&flags("whole")).expect(0);
    let child = place.start(&flags("stopped"));
    let start = Instant::now();
    while !place.path("stopped/checkpoints/search.ckpt").exists() {
        assert!(start.elapsed() < Duration::from_secs(180), "the search saves nothing");
        std::thread::sleep(Duration::from_millis(20));
    }
    // Some roll-outs more: those done must not be done again.
    std::thread::sleep(Duration::from_secs(2));
    signal("-INT", child.id());
    finish(child).expect(130);
    place.host(&format!("{} --resume", flags("stopped"))).expect(0);
    for file in [".ckpt", "/bit_plan.toml"] {
        let [whole, stopped] = ["whole", "stopped"].map(|run| place.bytes(&format!("{run}{file}")));
        assert!(whole == stopped, "{file} differs after a stop");
    }
}

#[test]
fn the_environment_says_who_is_who() {
    let _turn = turn();
    let place = Place::new();
    let port = free_port();
    let flags = format!("{FULL} {NET} --batch_size=32");
    let second = worker(&place, [1, 2], port, &format!("{flags} --run_dir=not-made"));
    let first = worker(&place, [0, 2], port, &format!("{flags} --run_dir=run"));
    let (first, second) = (finish(first).expect(0), finish(second).expect(0));
    assert!(first.stdout.contains("top-1 accuracy") && second.stdout.is_empty(), "{}", second.stdout);
    assert!(place.path("run/report.json").exists() && !place.path("not-made").exists());
    assert_eq!(place.json("run/report.json")["seed"], 0);
}

#[test]
fn what_differs_between_workers_is_named() {
    let _turn = turn();
    let place = Place::new();
    let port = free_port();
    let start = |rank, seed| worker(&place, [rank, 2], port, &format!("{FULL} {NET} --batch_size=32 --seed={seed}"));
    let (first, second) = (start(0, 1), start(1, 2));
    let (first, second) = (finish(first), finish(second));
    let said = second.expect(2).stderr;
    assert!(said.contains("`seed` is 2 for worker 1 and 1 for worker 0"), "{said}");
    assert!(first.expect(2).stderr.contains("another worker was started with other settings"));
}

#[test]
fn a_group_that_cannot_be_is_an_error_before_anything_is_made() {
    let _turn = turn();
    let place = Place::new();
    let flags = format!("{FULL} {NET} --batch_size=32 --worker_timeout=1");
    let lonely = finish(worker(&place, [1, 2], free_port(), &flags)).expect(1).stderr;
    assert!(lonely.contains("did not meet the others at 127.0.0.1:"), "{lonely}");
    let beyond = finish(worker(&place, [2, 2], 1, &flags)).expect(2).stderr;
    assert!(beyond.contains("worker 2 of 2"), "{beyond}");
    let many = finish(worker(&place, [0, 2], 1, &format!("{flags} -n=4"))).expect(2).stderr;
    assert!(many.contains("`n` = 4") && many.contains("2 workers"), "{many}");
    let small = place.host(&format!("{FULL} {NET} --batch_size=512 -n=2")).expect(2).stderr;
    assert!(small.contains("on each of the workers"), "{small}");
    assert!(!place.path("models").exists());
}

#[test]
fn a_worker_that_is_killed_ends_the_run_and_is_named() {
    let _turn = turn();
    let (outcome, took, second) = disturbed("-KILL", "");
    assert!(outcome.expect(1).stderr.contains("worker 1 ended without a word: signal: 9"));
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert!(!left_by(second));
}

#[test]
fn a_worker_that_hangs_ends_the_run_in_time() {
    let _turn = turn();
    let (outcome, took, second) = disturbed("-STOP", "--worker_timeout=8");
    let said = outcome.expect(1).stderr;
    assert!(said.contains("worker 1 did not end, and was killed") && said.contains("within 8 s"), "{said}");
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert!(!left_by(second));
}

#[test]
fn no_worker_outlives_worker_0() {
    let _turn = turn();
    let place = Place::new();
    let child = place.start(&format!("{LONG} -n=3 --batch_size=16 {NET}"));
    under_way(&place);
    let others = workers_of(&child);
    assert_eq!(others.len(), 2);
    signal("-KILL", child.id());
    finish(child);
    let start = Instant::now();
    while others.iter().any(|other| std::path::Path::new(&format!("/proc/{other}/exe")).exists()) {
        assert!(start.elapsed() < Duration::from_secs(20), "a worker goes on without worker 0");
        std::thread::sleep(Duration::from_millis(50));
    }
}
