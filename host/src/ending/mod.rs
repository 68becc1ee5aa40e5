//! A plugin that ends the process, by `exit` or by a crash, ends the program in the middle of its
//! work. It cannot be kept from it, but nobody is to take that for a result: the program says which
//! plugin it was and the status is not 0.
//!
//! | way | who notices |
//! |---|---|
//! | `exit`, `_exit`, `quick_exit` | on Linux the program's own functions of these names, see `intercepted.rs`; elsewhere, for `exit`, a handler for the end |
//! | a crash | `faults`: handlers of signals, which end the process by the same signal |
//!
//! Left alone are plugins that ask the kernel itself to end the process with status 0, and SIGKILL,
//! whose status says enough.

mod faults;
mod message;

pub use message::of_run;

use pocketflow::abi::Call;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// The process that watches; a process that a plugin forks has another number and may end as it
/// likes. 0: nobody watches.
static WATCHING: AtomicU32 = AtomicU32::new(0);

/// The program ends by itself.
static ENDING: AtomicBool = AtomicBool::new(false);

/// Watches from now on.
pub fn watch() {
    WATCHING.store(std::process::id(), Ordering::Release);
    faults::watch();
    // SAFETY: the function does not unwind.
    unsafe { libc::atexit(at_exit) };
}

/// From now on the end of the process is the program's own doing.
pub fn expected() {
    ENDING.store(true, Ordering::Release);
}

fn is_unexpected() -> bool {
    !ENDING.load(Ordering::Acquire) && WATCHING.load(Ordering::Acquire) == std::process::id()
}

/// What a function that ends the process begins with: says whose doing it is and gives the status
/// to end with. `function` is its name. Safe in signal handlers.
pub fn status(function: &str, status: i32) -> i32 {
    // A status of its own and nobody in call: a part of the program that ends it at once.
    if !is_unexpected() || (status != 0 && Call::current().is_none()) {
        return status;
    }
    expected();
    message::say(&["ended the program by calling ", function]);
    1
}

extern "C" fn at_exit() {
    if is_unexpected() {
        let status = status("exit", 0);
        // SAFETY: it ends the process.
        unsafe { libc::_exit(status) }
    }
}
