//! When a process is killed, and how.

use pocketflow_tests::place::Place;
use std::fmt;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

/// System calls that change files; a kill comes in their place.
const CALLS: [&str; 6] = ["rename", "fsync", "link,linkat", "unlink,unlinkat", "mkdir", "flock"];

/// The moment of a kill.
pub enum Moment {
    After(Duration),
    /// Before the call of this number, counted from 1.
    Call {
        name: &'static str,
        number: u64,
    },
}

impl Moment {
    pub fn at_random(numbers: &mut Numbers, seconds: f64) -> Self {
        Self::After(Duration::from_secs_f64(seconds * numbers.fraction()))
    }

    pub fn at_call(numbers: &mut Numbers) -> Self {
        let name = CALLS[(numbers.fraction() * CALLS.len() as f64) as usize];
        // Small numbers more often: a call that never comes ends the process by itself.
        let number = 1 + (numbers.fraction() * numbers.fraction() * 24.0) as u64;
        Self::Call { name, number }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::After(time) => write!(f, "after {:.3} s", time.as_secs_f64()),
            Self::Call { name, number } => write!(f, "at call {number} of {name}"),
        }
    }
}

/// Whether system calls can be chosen here: where strace is missing, it is installed if Debian's
/// packages can be.
pub fn strace() -> bool {
    static WORKS: LazyLock<bool> = LazyLock::new(|| {
        let works = |program: &str, arguments: &[&str]| {
            quiet(Command::new(program)).args(arguments).status().is_ok_and(|status| status.success())
        };
        let tried = || works("strace", &["-f", "-e", "trace=none", "true"]);
        tried() || works("apt-get", &["install", "--yes", "strace"]) && tried()
    });
    *WORKS
}

/// The program with its calls of one kind changed as strace's `inject` says.
pub fn injected(place: &Place, flags: &str, calls: &str, change: &str) -> Command {
    let command = place.command(flags);
    let mut strace = Command::new("strace");
    strace.args(["-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", &format!("trace={calls}")]);
    strace.args(["-e", &format!("inject={calls}:{change}")]);
    strace.arg(command.get_program()).args(command.get_args());
    strace.current_dir(place.path(""));
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => strace.env(name, value),
            None => strace.env_remove(name),
        };
    }
    strace
}

/// Runs the program and kills it; false where it ended before.
pub fn kill(place: &Place, flags: &str, moment: &Moment) -> bool {
    match moment {
        Moment::After(time) => {
            let mut child = quiet(place.command(flags)).spawn().unwrap();
            std::thread::sleep(*time);
            child.kill().unwrap();
            child.wait().unwrap().signal() == Some(9)
        }
        Moment::Call { name, number } => {
            let strace = injected(place, flags, name, &format!("signal=KILL:when={number}"));
            // strace ends as the program did.
            quiet(strace).status().unwrap().signal() == Some(9)
        }
    }
}

fn quiet(mut command: Command) -> Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Numbers that are the same for the same seed.
pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// From 0 to below 1: splitmix64.
    pub fn fraction(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as f64 / 2f64.powi(64)
    }
}
