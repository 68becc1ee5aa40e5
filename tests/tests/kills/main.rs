//! Processes that are killed: at random moments, and at chosen system calls by strace. After a
//! resume, or the same command again, weights and files are those of a process that nobody killed,
//! no temporary file stays, and no folder holds files of two exports.
//!
//! A few kills in the everyday suite, hundreds in `cargo xtask test --all`; `POCKETFLOW_KILLS` for
//! as many as one wishes, `POCKETFLOW_KILLS_SEED` for other moments.

mod job;
mod kill;

use job::{Job, Work};
use kill::{Moment, Numbers};
use pocketflow_tests::place::{Place, SMALL};
use pocketflow_tests::samples::lacks;
use std::env;

/// One of each kind of command.
const EVERYDAY: u64 = 3;
const MANY: u64 = 200;

/// Whether system calls can be chosen here; says so where they cannot.
fn strace() -> bool {
    let works = kill::strace();
    if !works {
        lacks("strace that works (Debian: apt-get install strace)");
    }
    works
}

fn number(name: &str, default: u64) -> u64 {
    let text = env::var(name).unwrap_or_default();
    if text.is_empty() { default } else { text.parse().unwrap_or_else(|_| panic!("{name}={text}: give a number")) }
}

#[test]
fn killed_and_resumed_it_ends_as_if_nobody_had_killed_it() {
    kills(EVERYDAY);
}

#[test]
#[ignore = "hundreds of kills: cargo xtask test --all"]
fn killed_many_times_it_ends_as_if_nobody_had_killed_it() {
    kills(MANY);
}

fn kills(count: u64) {
    let count = number("POCKETFLOW_KILLS", count) as usize;
    let seed = number("POCKETFLOW_KILLS_SEED", 1);
    let strace = strace();
    let mut numbers = Numbers::new(seed);
    let template = Place::new();
    let (mut killed, mut ended, mut done) = ([0, 0], 0, 0);
    for (index, job) in Job::all().iter().enumerate().take(count) {
        let share = count / Job::all().len() + usize::from(index < count % Job::all().len());
        let work = Work::new(job, &template);
        for kill in 0..share {
            // System calls first: they hit the moments that matter.
            let moment = match kill % 2 {
                0 if strace => Moment::at_call(&mut numbers),
                _ => Moment::at_random(&mut numbers, work.seconds),
            };
            let place = Place::new();
            work.prepare(&place);
            let story = format!("{} killed {moment} (seed {seed}, kill {kill})", job.name);
            match kill::kill(&place, &job.command, &moment) {
                true => killed[usize::from(matches!(moment, Moment::Call { .. }))] += 1,
                false => ended += 1,
            }
            work.expect_nothing_half(&place, &story);
            work.go_on(&place, &story);
            work.expect_the_same(&place, &story);
            done += 1;
            // Of a run that is cut off, one sees how far it came.
            eprintln!("{done} of {count}: {story}");
        }
    }
    eprintln!(
        "seed {seed}: {} kills at random moments, {} at system calls, {ended} ended before",
        killed[0], killed[1]
    );
}

/// Some network file systems, and some of containers.
#[test]
fn a_file_system_without_locks_can_be_used() {
    if !strace() {
        return;
    }
    let place = Place::new();
    let run = format!("--learner=full-prec {SMALL} --nb_epochs_rat=0.004 --run_dir=run");
    for error in ["ENOLCK", "EOPNOTSUPP"] {
        let run = run.replace("--run_dir=run", &format!("--run_dir={error}"));
        let output = kill::injected(&place, &run, "flock", &format!("error={error}")).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("has no locks"), "{said}");
    }
}

/// A full disk at any of the writes of an export: all of the old files stay, or all are new.
#[test]
fn an_export_that_fails_leaves_the_files_of_one_export() {
    if !strace() {
        return;
    }
    let template = Place::new();
    let jobs = Job::all();
    let work = Work::new(jobs.iter().find(|job| job.name == "export").unwrap(), &template);
    for (calls, change) in [
        ("fsync", "error=ENOSPC:when=3"),
        ("link,linkat", "error=ENOSPC:when=2"),
        ("rename", "error=ENOSPC:when=1"),
        ("rename", "error=EIO:when=4"),
        ("rename", "error=ENOSPC:when=9"),
    ] {
        let place = Place::new();
        work.prepare(&place);
        let output = kill::injected(&place, work.command(), calls, change).output().unwrap();
        let story = format!("{calls} {change}: {}", String::from_utf8_lossy(&output.stderr));
        work.expect_nothing_half(&place, &story);
        work.expect_nothing_left(&place, &story);
    }
}
