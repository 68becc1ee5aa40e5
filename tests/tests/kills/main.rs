//! Processes that are killed: at random moments, and at chosen system calls by strace. After a resume, or the same command again,
//! weights and files are those of a process that nobody killed, no temporary file stays, and no folder holds files of two exports.
//!
//! A few kills in the everyday suite; `POCKETFLOW_KILLS=200` for as many as one wishes, `POCKETFLOW_KILLS_SEED` for other moments.

mod job;
mod kill;

use job::{Job, Work};
use kill::{Moment, Numbers};
use pocketflow_tests::place::Place;
use std::env;

/// One of each kind of command.
const EVERYDAY: usize = 3;

fn number(name: &str, default: u64) -> u64 {
    let text = env::var(name).unwrap_or_default();
    if text.is_empty() { default } else { text.parse().unwrap_or_else(|_| panic!("{name}={text}: give a number")) }
}

#[test]
fn killed_and_resumed_it_ends_as_if_nobody_had_killed_it() {
    let count = number("POCKETFLOW_KILLS", EVERYDAY as u64) as usize;
    let seed = number("POCKETFLOW_KILLS_SEED", 1);
    let mut numbers = Numbers::new(seed);
    let template = Place::new();
    let (mut killed, mut ended) = ([0, 0], 0);
    for (index, job) in Job::all().iter().enumerate().take(count) {
        let share = count / Job::all().len() + usize::from(index < count % Job::all().len());
        let work = Work::new(job, &template);
        for kill in 0..share {
            // System calls first: they hit the moments that matter.
            let moment = match (kill % 2, kill::strace()) {
                (0, true) => Moment::at_call(&mut numbers),
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
        }
    }
    if !kill::strace() {
        eprintln!("no kills at system calls: strace is not here (Debian: apt-get install strace)");
    }
    println!("seed {seed}: {} kills at random moments, {} at system calls, {ended} ended before", killed[0], killed[1]);
}
