//! The first opening of a library, in a process of its own: whatever it does there (abort, loop,
//! fill the memory), this program goes on and can say what it was.
//!
//! | module | what it does |
//! |---|---|
//! | here | starts the process, waits for its answer for a limited time, and removes what is left of it |
//! | `answer` | what the process says, through a pipe |
//! | [`child`] | the process: this program with [`ARGUMENT`] as its first argument |
//! | `limits` | what the process may use |
//! | `ended` | how a process ended, as people read it |

pub(crate) mod answer;
pub mod child;
pub(crate) mod ended;
pub(crate) mod limits;

use answer::{Answer, Ear, Stage};
use std::io;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The first argument of the program that makes it a probe; the second is the library.
pub const ARGUMENT: &str = "@probe";

/// How long libtorch may take to open, from a slow disk.
const LIBTORCH: Duration = Duration::from_secs(60);

/// What came of a probe.
#[derive(Debug)]
pub(crate) enum Probed {
    /// The library answered, or the program that tried it.
    Answer(Answer),
    /// It ended the process, or was ended for what it used. It would again.
    Ended { reason: String },
    /// No answer in this many seconds.
    Late { reason: String, seconds: u64 },
    /// It could not be tried; nothing is known of it.
    Untried { reason: String },
}

/// Opens a library in a process of its own and asks what plugins it holds. `seconds`: see
/// `limits::seconds`.
pub(crate) fn probe(path: &Path, seconds: u64) -> Probed {
    tried(path, seconds).unwrap_or_else(|error| Probed::Untried {
        reason: format!("it cannot be tried: no process can be started for it: {error}"),
    })
}

fn tried(path: &Path, seconds: u64) -> io::Result<Probed> {
    let ((reader, writer), said) = (io::pipe()?, ended::file()?);
    let mut ear = Ear::new(reader)?;
    let mut command = Command::new(program()?);
    command.arg(ARGUMENT).arg(path).env(limits::SECONDS_VARIABLE, seconds.to_string());
    command.stdin(Stdio::null()).stdout(writer).stderr(said.try_clone()?);
    // A group of its own: what it starts is removed with it, and Ctrl-C reaches this program alone.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = command.spawn()?;
    let in_time = wait(&mut child, &mut ear, Duration::from_secs(seconds));
    let status = remove(&mut child)?;
    let status = in_time?.then_some(status);
    ear.listen();
    let stage = Stage::reached(&ear.heard);
    if let Some(answer) = answer::read(&ear.heard) {
        return Ok(Probed::Answer(answer));
    }
    let said = ended::said(&said);
    Ok(match status {
        Some(status) => Probed::Ended { reason: format!("{} {stage}{said}", ended::how(status)) },
        None if stage == Stage::Libtorch => {
            Probed::Untried { reason: format!("libtorch did not open within {} s{said}", LIBTORCH.as_secs()) }
        }
        None => Probed::Late { reason: format!("it gave no answer within {seconds} s {stage}{said}"), seconds },
    })
}

/// This program, also where its file was replaced since it started.
fn program() -> io::Result<std::path::PathBuf> {
    match cfg!(target_os = "linux") {
        true => Ok("/proc/self/exe".into()),
        false => std::env::current_exe(),
    }
}

/// Waits for the end of the process; false: it is too late.
fn wait(child: &mut Child, ear: &mut Ear, limit: Duration) -> io::Result<bool> {
    let mut begun = Instant::now();
    let mut stage = Stage::Start;
    loop {
        if has_ended(child)? {
            return Ok(true);
        }
        ear.listen();
        let now = Stage::reached(&ear.heard);
        if now != stage && stage <= Stage::Libtorch {
            // The library's own time begins when libtorch is there.
            (stage, begun) = (now, Instant::now());
        }
        let passed = begun.elapsed();
        if passed >= if stage == Stage::Libtorch { LIBTORCH } else { limit } {
            return Ok(false);
        }
        // Most answer within some milliseconds.
        let pause = if passed < Duration::from_millis(100) { 1 } else { 10 };
        std::thread::sleep(Duration::from_millis(pause));
    }
}

/// Without taking the status: until that is taken, the number of the process and of its group is
/// nobody else's.
#[cfg(unix)]
fn has_ended(child: &mut Child) -> io::Result<bool> {
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
    let ended = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    Ok(waitid(WaitId::Pid(Pid::from_child(child)), ended)?.is_some())
}

#[cfg(not(unix))]
fn has_ended(child: &mut Child) -> io::Result<bool> {
    Ok(child.try_wait()?.is_some())
}

/// Ends what is left of the process and of what it started.
fn remove(child: &mut Child) -> io::Result<ExitStatus> {
    #[cfg(unix)]
    let _ = rustix::process::kill_process_group(rustix::process::Pid::from_child(child), rustix::process::Signal::KILL);
    let _ = child.kill();
    child.wait()
}
