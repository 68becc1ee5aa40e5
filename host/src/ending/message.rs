//! What is said when a plugin ends the process: written without memory or locks, so that it can be
//! said in a signal handler.

use pocketflow::abi::Call;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// The run that is under way; never freed.
static RUN: AtomicPtr<Run> = AtomicPtr::new(ptr::null_mut());

struct Run {
    /// What the user does next.
    next: String,
    /// `log.txt`.
    log: Option<CString>,
}

/// A run has begun: tells what to do if it is ended, and where its log is. `resumable`: it leaves
/// checkpoints.
pub fn of_run(folder: &Path, log: &Path, resumable: bool) {
    let next = match resumable {
        true => format!(
            "\n  its checkpoints are kept: to go on from the last one, give the same flags and --resume --run-dir={}",
            folder.display()
        ),
        false => String::new(),
    };
    let log = CString::new(log.as_os_str().as_bytes()).ok();
    RUN.store(Box::into_raw(Box::new(Run { next, log })), Ordering::Release);
}

/// Says on stderr and in the run's log who did what.
pub fn say(what: &[&str]) {
    let mut text = Text { bytes: [0; 2048], length: 0 };
    text.add("error: ");
    match (Call::current(), Call::at_work()) {
        (Some(call), _) => {
            text.add(call.callee);
            text.add(" ");
            what.iter().for_each(|part| text.add(part));
            text.add(" in `");
            text.add(call.function);
            text.add("`");
        }
        (None, Some(name)) => {
            text.add("a thread ");
            what.iter().for_each(|part| text.add(part));
            text.add(" while ");
            text.add(name);
            text.add(" was at work");
        }
        (None, None) => {
            text.add("something ");
            what.iter().for_each(|part| text.add(part));
            text.add(", while no plugin was at work");
        }
    }
    // SAFETY: null, or never freed.
    let run = unsafe { RUN.load(Ordering::Acquire).as_ref() };
    if let Some(run) = run {
        text.add(&run.next);
    }
    text.add("\n");
    // SAFETY: plain system calls on numbers, text that ends with 0, and bytes of this function.
    unsafe {
        if libc::isatty(2) == 1 {
            // Below a progress bar.
            write(2, b"\n");
        }
        write(2, text.bytes());
        if let Some(log) = run.and_then(|run| run.log.as_ref()) {
            let file = libc::open(log.as_ptr(), libc::O_WRONLY | libc::O_APPEND | libc::O_CLOEXEC | libc::O_NONBLOCK);
            if file >= 0 {
                write(file, text.bytes());
            }
        }
    }
}

fn write(file: i32, bytes: &[u8]) {
    // SAFETY: the bytes are there. Nobody is left to tell where they cannot be written.
    let _ = unsafe { libc::write(file, bytes.as_ptr().cast(), bytes.len()) };
}

/// Text of a limited length, cut there.
struct Text {
    bytes: [u8; 2048],
    length: usize,
}

impl Text {
    fn add(&mut self, text: &str) {
        for byte in text.bytes() {
            if let Some(place) = self.bytes.get_mut(self.length) {
                *place = byte;
                self.length += 1;
            }
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}
