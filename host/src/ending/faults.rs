//! Crashes: the message is written, then the signal takes its usual way, so that status, core file
//! and debugger see what they always do. Rust's own handler, which knows a full stack, comes next.

use super::message;
use crate::probe;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

const SIGNALS: [i32; 6] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGABRT, libc::SIGTRAP];

/// What was to be done at these signals before.
static PREVIOUS: OnceLock<[libc::sigaction; SIGNALS.len()]> = OnceLock::new();

/// Installs the handlers, once.
pub fn watch() {
    PREVIOUS.get_or_init(|| {
        SIGNALS.map(|signal| {
            // SAFETY: zeroes are an action: the default one, without flags.
            let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
            let mut previous = action;
            let handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) = handle;
            action.sa_sigaction = handler as libc::sighandler_t;
            // On the stack that the standard library sets aside: the thread's own may be full.
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            // SAFETY: both are whole; the handler calls only what may be called in one.
            unsafe { libc::sigaction(signal, &raw const action, &raw mut previous) };
            previous
        })
    });
}

extern "C" fn handle(signal: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    static SAID: AtomicBool = AtomicBool::new(false);
    if super::is_unexpected() && !SAID.swap(true, Ordering::AcqRel) {
        message::say(&["crashed by ", probe::ended::signal(signal)]);
    }
    let at = SIGNALS.iter().position(|known| *known == signal);
    let previous = at.and_then(|at| PREVIOUS.get().map(|all| all[at]));
    // SAFETY: the system gives the information; a fault of the program itself has a positive code.
    let sent = unsafe { (*info).si_code } <= 0;
    match previous {
        Some(previous) if !sent => {
            // The instruction is tried again, and faults again.
            // SAFETY: the action is the one that the system gave.
            unsafe { libc::sigaction(signal, &raw const previous, ptr::null_mut()) };
        }
        _ => {
            // SAFETY: plain system calls; the signal arrives when this handler returns.
            unsafe {
                libc::signal(signal, libc::SIG_DFL);
                libc::raise(signal);
            }
        }
    }
}
