//! Which signals there are, and which of them the parent process had ignored.

use pocketflow::Result;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::ffi::c_int;

/// The signals that ask to stop, without those that are ignored.
#[cfg(unix)]
pub fn heard() -> Vec<c_int> {
    [SIGINT, SIGTERM, signal_hook::consts::SIGHUP].into_iter().filter(|signal| !is_ignored(*signal)).collect()
}

#[cfg(not(unix))]
pub fn heard() -> Vec<c_int> {
    vec![SIGINT, SIGTERM]
}

/// Whether it is the signal of a terminal that closed.
pub fn is_hang_up(signal: c_int) -> bool {
    cfg!(unix) && ![SIGINT, SIGTERM].contains(&signal)
}

/// Whether the signal is ignored now, as a process inherits it.
#[cfg(unix)]
fn is_ignored(signal: c_int) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: without a new action the call changes nothing; where it returns 0 it has filled
    // `action`.
    unsafe {
        libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

/// Makes a write beyond the limit on file sizes (`ulimit -f`) an error like any other, where the
/// system would end the process in the middle of it.
///
/// # Errors
/// The system refuses the handler.
#[cfg(unix)]
pub fn survive_file_limits() -> Result<()> {
    use pocketflow::error::Context;
    // A handler and not the disposition to ignore, which programs that this one starts would
    // inherit.
    let flag = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let installed = signal_hook::flag::register(libc::SIGXFSZ, flag);
    installed.map(drop).context("cannot handle the limit on file sizes")
}

#[cfg(not(unix))]
pub fn survive_file_limits() -> Result<()> {
    Ok(())
}
