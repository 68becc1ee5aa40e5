//! Ctrl-C, SIGTERM, SIGKILL, and going on afterwards.

use crate::{Place, outcome, patient};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Starts a run that takes minutes, and waits until it is counting.
fn begin(place: &Place, flags: &str) -> Child {
    begin_with(place, &format!("{} --patient_steps=20000 --patient_pause=10 --run_dir=out {flags}", patient()))
}

pub fn begin_with(place: &Place, line: &str) -> Child {
    counting(place, place.command(line))
}

fn counting(place: &Place, mut command: Command) -> Child {
    let child = command.spawn().unwrap();
    until("the first steps", || steps(place) > 0);
    child
}

/// The same command, after a shell has carried out `before`.
fn after(before: &str, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{before}; exec \"$0\" \"$@\"")]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell.current_dir(command.get_current_dir().unwrap());
    shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    shell
}

fn steps(place: &Place) -> usize {
    std::fs::read_to_string(place.path("out/metrics.jsonl"))
        .map_or(0, |text| text.matches("\"event\":\"step\"").count())
}

pub fn until(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}: not within a minute");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub fn send(signal: &str, child: &Child) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn a_stopped_run_saves_and_goes_on() {
    let place = Place::new();
    let child = begin(&place, "");
    send("-INT", &child);
    let stopped = outcome(child).expect(130).says(&[
        "stopped: saved after step",
        "--resume --run-dir=out",
        "again to stop at once",
    ]);
    assert!(stopped.stdout.is_empty(), "{}", stopped.stdout);
    assert!(!place.path("out/report.json").exists());
    let saved: u64 = place.read("out/checkpoints/patient").parse().unwrap();
    assert!(saved > 0);
    // Another setting would make another run.
    let other = place.run("--patient_steps=20001 --patient_pause=10 --run_dir=out --resume").expect(2);
    other.says(&["patient_steps: was 20000 (out/run.toml:", "is 20001 (flag --patient-steps)"]);
    place.write("out/checkpoints/patient", "19998");
    let again = place.run("--patient_steps=20000 --patient_pause=10 --run_dir=out --resume --summ_step=9").expect(0);
    again.says(&["19,998"]);
    assert_eq!(place.report("out")["bucket_bytes"], 19998);
    let log = place.read("out/log.txt");
    assert!(log.contains("saved after step") && log.contains("19998 of 20000"), "one log for the whole run: {log}");
    // What is finished gives its result again.
    let result = place.run("--patient_steps=20000 --patient_pause=10 --run_dir=out --resume --format=json").expect(0);
    assert!(result.stderr.contains("finished"), "{}", result.stderr);
    assert!(result.stdout.contains("\"bucket_bytes\": 19998"), "{}", result.stdout);
}

#[test]
fn a_termination_is_a_stop_and_the_second_wish_ends_at_once() {
    let place = Place::new();
    let mut child = begin(&place, "--patient_deaf");
    send("-TERM", &child);
    std::thread::sleep(Duration::from_millis(500));
    assert!(child.try_wait().unwrap().is_none(), "the learner decides when to stop");
    send("-INT", &child);
    let start = Instant::now();
    outcome(child).expect(130).says(&["again to stop at once"]);
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_killed_run_frees_its_folder_and_begins_again_where_nothing_was_saved() {
    let place = Place::new();
    let mut child = begin(&place, "");
    let second = place.run("--run_dir=out --resume").expect(2);
    second.says(&[&format!("process {} is at work", child.id())]);
    child.kill().unwrap();
    child.wait().unwrap();
    // The same settings, but for the pause: the test is in a hurry.
    let settings = place.read("out/run.toml").replace("patient_steps = 20000", "patient_steps = 4");
    place.write("out/run.toml", &settings);
    let again = place.run("--patient_steps=4 --patient_pause=10 --run_dir=out --resume").expect(0);
    again.says(&["no checkpoint yet"]);
    assert_eq!(steps(&place), 4, "the steps that are done again are not counted twice");
}

#[test]
fn the_newest_unfinished_run_is_resumed() {
    let place = Place::new();
    let nothing = place.run("--resume").expect(2);
    nothing.says(&["nothing to resume", "runs/small-net-patient-*", "--run-dir"]);
    place.run("--run_dir=nowhere --resume").expect(2).says(&["`nowhere`"]);
    place.run("").expect(0);
    place.run("--resume").expect(2).says(&["nothing to resume"]);
    // As a kill leaves it.
    let run = place.runs().remove(0);
    std::fs::remove_file(run.join("report.json")).unwrap();
    std::fs::create_dir(run.join("checkpoints")).unwrap();
    std::fs::write(run.join("checkpoints/patient"), "2").unwrap();
    place.run("--resume").expect(0);
    assert_eq!(place.runs(), std::slice::from_ref(&run));
    assert_eq!(place.report(&run)["bucket_bytes"], 2);
    place.run("--resume --exec_mode=eval").expect(2).says(&["only a training"]);
}

#[test]
fn a_terminal_that_closes_is_a_wish_to_stop() {
    let place = Place::new();
    let mut child = begin(&place, "");
    // Nothing can be written to it any more.
    drop(child.stderr.take());
    send("-HUP", &child);
    std::thread::sleep(Duration::from_millis(300));
    // The shell tells its jobs what the system has told them; that is no second wish.
    let _ = Command::new("kill").args(["-HUP", &child.id().to_string()]).output();
    outcome(child).expect(130);
    let saved: u64 = place.read("out/checkpoints/patient").parse().unwrap();
    assert!(saved > 0);
    assert!(place.read("out/log.txt").contains("--resume --run-dir=out"));
}

#[test]
fn signals_that_the_parent_ignores_stay_ignored() {
    let place = Place::new();
    let line = format!("{} --patient_steps=20000 --patient_pause=10 --run_dir=out", patient());
    let mut child = counting(&place, after("trap '' INT HUP", &place.command(&line)));
    for signal in ["-INT", "-HUP"] {
        send(signal, &child);
        let now = steps(&place);
        until("it goes on", || steps(&place) > now + 30);
    }
    assert!(child.try_wait().unwrap().is_none());
    send("-TERM", &child);
    outcome(child).expect(130).says(&["saved after step"]);
}

#[test]
fn a_file_beyond_the_limit_on_sizes_is_an_error_and_no_sudden_end() {
    let place = Place::new();
    let line = format!("{} --run_dir=out", patient());
    // In blocks of 512 bytes, less than the settings take.
    let limited = after("ulimit -f 2", &place.command(&line));
    let mut limited = limited;
    outcome(limited.spawn().unwrap()).expect(1).says(&["cannot write out/run.toml", "ulimit -f"]);
}
