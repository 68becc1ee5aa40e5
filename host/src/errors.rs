//! How the program ends: exit statuses, errors as people read them, output that survives a closed
//! pipe, and panics.
//!
//! | status | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | failed |
//! | 2 | usage, configuration or data that is not there |
//! | 130 | stopped on request: a run after saving, another command with nothing written |

use anstyle::{AnsiColor, Style};
use pocketflow::names::shown_text;
use pocketflow::{Error, ErrorKind, Result};
use std::any::Any;
use std::fmt::Write as _;
use std::io::{ErrorKind as IoKind, Write};
use std::panic::PanicHookInfo;
use std::sync::Mutex;

/// Where users tell us about a bug.
const REPORT_TO: &str = "please report it, with what you did and the run's log.txt";

/// The exit status that a failure deserves.
pub fn status(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Config | ErrorKind::DataNotFound => 2,
        ErrorKind::Interrupted => 130,
        _ => 1,
    }
}

/// The error with its causes, one a line: `error: …` and ` because: …`. An interruption is no error
/// and does not look like one.
pub fn text(error: &Error) -> String {
    let (word, colour) = match error.kind() {
        ErrorKind::Interrupted => ("stopped", AnsiColor::Yellow),
        _ => ("error", AnsiColor::Red),
    };
    let style = Style::new().bold().fg_color(Some(colour.into()));
    let mut text = format!("{style}{word}:{style:#} ");
    let mut said: Vec<&str> = Vec::new();
    for message in error.chain() {
        // Libraries often put the cause into the message already; a person needs it once.
        if said.iter().any(|earlier| earlier.ends_with(message.as_str())) {
            continue;
        }
        if !said.is_empty() {
            text.push_str("\n  because: ");
        }
        // A message may hold names and texts of files and plugins.
        text.push_str(&shown_text(message.trim_end()).replace('\n', "\n    "));
        said.push(message);
    }
    text
}

/// Prints an error on stderr, coloured on a terminal unless `NO_COLOR` is set.
pub fn print(error: &Error) {
    // Nobody is left to tell where stderr itself is closed.
    let _ = writeln!(anstream::stderr(), "{}", text(error));
}

/// Prints text for people on stderr as it is.
pub fn print_plain(text: &str) {
    let _ = anstream::stderr().write_all(text.as_bytes());
}

/// Prints results on stdout. A reader that went away (`host plugins list | head -1`) has what it
/// wanted.
///
/// # Errors
/// Stdout cannot be written for another reason, as a full disk behind it.
pub fn print_result(text: &str) -> Result<()> {
    let mut out = anstream::stdout();
    let newline = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    match write!(out, "{text}{newline}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != IoKind::BrokenPipe => Err(Error::from(error).context("cannot write to stdout")),
        _ => Ok(()),
    }
}

/// What the last panic said; the hook runs before the stack unwinds to where it is told.
static LAST_PANIC: Mutex<Option<String>> = Mutex::new(None);

/// Keeps a panic's message for [`panicked`] instead of printing it into the middle of a progress
/// bar. With `RUST_BACKTRACE` set, who asks for a backtrace gets it at once.
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(|info| {
        let message = describe(info);
        if std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0") {
            let trace = std::backtrace::Backtrace::force_capture();
            let _ = writeln!(std::io::stderr(), "{message}\n{trace}");
        }
        // A panic on a thread of its own reaches nobody else, and a log line does not tear the
        // bars.
        if std::thread::current().name() != Some("main") {
            tracing::error!("a thread of host stopped: {message}; this is a bug, {REPORT_TO}");
        }
        *LAST_PANIC.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(message);
    }));
}

/// The error for a panic that was caught with this payload.
pub fn panicked(payload: &(dyn Any + Send)) -> Error {
    let kept = LAST_PANIC.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    let message = kept.unwrap_or_else(|| payload_text(payload).to_owned());
    Error::failed(format!("host came upon a state it does not know ({message}); this is a bug, {REPORT_TO}"))
}

fn describe(info: &PanicHookInfo<'_>) -> String {
    let mut message = payload_text(info.payload()).lines().next().unwrap_or_default().to_owned();
    if let Some(place) = info.location() {
        let _ = write!(message, " at {}:{}", place.file(), place.line());
    }
    message
}

fn payload_text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_status() {
        let of = |kind| status(kind);
        assert_eq!(of(ErrorKind::Failed), 1);
        assert_eq!(of(ErrorKind::Config), 2);
        assert_eq!(of(ErrorKind::DataNotFound), 2);
        assert_eq!(of(ErrorKind::Interrupted), 130);
    }

    #[test]
    fn a_chain_reads_from_outside_in() {
        let error = Error::config("32 is\nout of range").context("cannot plan").context("learner `uniform` failed");
        let plain = anstream::adapter::strip_str(&text(&error)).to_string();
        insta::assert_snapshot!(plain, @r"
        error: learner `uniform` failed
          because: cannot plan
          because: 32 is
            out of range
        ");
    }

    #[test]
    fn a_cause_that_was_said_is_not_said_again() {
        let error = Error::failed("no such file").context("cannot open x: no such file");
        let plain = anstream::adapter::strip_str(&text(&error)).to_string();
        assert_eq!(plain, "error: cannot open x: no such file");
        let stopped = anstream::adapter::strip_str(&text(&Error::interrupted("saved"))).to_string();
        assert_eq!(stopped, "stopped: saved");
    }

    #[test]
    fn what_comes_from_outside_cannot_move_the_cursor_or_fill_the_screen() {
        let error = Error::failed(format!("tensor `{}`", "x".repeat(50 << 20))).context("a\u{1b}[2Jb");
        let plain = anstream::adapter::strip_str(&text(&error)).to_string();
        assert!(
            plain.starts_with("error: a\\u{1b}[2Jb\n  because: tensor `xxx") && plain.len() < 5_000,
            "{}",
            plain.len()
        );
    }

    #[test]
    fn a_panic_says_what_and_asks_for_a_report() {
        let caught = std::panic::catch_unwind(|| panic!("index {} of 3", 7)).unwrap_err();
        let message = panicked(caught.as_ref()).to_string();
        assert!(message.contains("index 7 of 3") && message.contains("please report"), "{message}");
    }
}
