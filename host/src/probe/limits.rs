//! What a probe may use: enough for libtorch and any honest library, not enough to disturb the
//! machine.

use std::env;
use std::io;

/// How many seconds a library may take, on a slow machine.
pub const SECONDS_VARIABLE: &str = "POCKETFLOW_PROBE_SECONDS";

/// Opening a library takes some milliseconds.
const SECONDS: u64 = 10;

/// The longest that can be asked for.
const MOST_SECONDS: u64 = 3600;

/// Of the processor, beside the library's own time: opening libtorch takes half a second.
const LIBTORCH_SECONDS: u64 = 60;

/// Of memory that is written to; libtorch and its libraries take a twentieth.
const MEMORY: u64 = 2 << 30;

/// The most that one file may hold, what is printed among others.
pub const OUTPUT: u64 = 16 << 20;

/// The seconds that a library may take: ten, or what [`SECONDS_VARIABLE`] says.
pub fn seconds() -> u64 {
    let Some(given) = env::var_os(SECONDS_VARIABLE).filter(|given| !given.is_empty()) else { return SECONDS };
    let seconds = given.to_str().and_then(|text| text.parse().ok());
    seconds.filter(|seconds| (1..=MOST_SECONDS).contains(seconds)).unwrap_or_else(|| {
        let given = given.to_string_lossy();
        tracing::warn!("{SECONDS_VARIABLE} = `{given}` is no number from 1 to {MOST_SECONDS}; {SECONDS} is used");
        SECONDS
    })
}

/// Limits this process and what it starts, for good.
///
/// # Errors
/// The system refuses.
#[cfg(unix)]
pub fn set() -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let cpu = seconds() + LIBTORCH_SECONDS;
    // A core file of one byte is none, and unlike 0 that also holds for systems that hand it to a
    // program.
    let wanted = [(Resource::Core, 1), (Resource::Cpu, cpu), (Resource::Data, MEMORY), (Resource::Fsize, OUTPUT)];
    for (resource, limit) in wanted {
        // The user may have set less.
        let limit = getrlimit(resource).maximum.map_or(limit, |most| most.min(limit));
        setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) })?;
    }
    #[cfg(target_os = "linux")]
    {
        // Where the parent ends, nobody waits for the answer.
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        // Where memory is short, this process is the one to end. Not all systems have the file.
        let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    }
    Ok(())
}

#[cfg(not(unix))]
pub fn set() -> io::Result<()> {
    Ok(())
}
