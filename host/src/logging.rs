//! Log lines: on stderr between the progress bars, and in the run's `log.txt`.
//!
//! What stderr shows is chosen by `--log FILTER`, else `RUST_LOG`, else `info`. The file holds that
//! and all debug lines, each with its time, from the program's start: lines that come before the
//! run has a folder wait in memory.

use crate::progress::Progress;
use crate::run_dir::LOG;
use pocketflow::error::Context;
use pocketflow::names::{shown, shown_text};
use pocketflow::{Error, Result};
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, filter::FilterExt};

/// The target of events that [`Progress`] shows in its own way: kept in `log.txt`, not repeated on
/// stderr.
pub const SHOWN: &str = "host::shown";
/// Lines kept for a folder that may never come; a start-up takes a few hundred bytes.
const KEPT_BYTES: usize = 1 << 20;

/// The log of this process.
#[derive(Clone)]
pub struct Log(Arc<Mutex<Kept>>);

enum Kept {
    Memory(Vec<u8>),
    File(File),
}

impl Log {
    /// Starts logging; `filter` is the text of `--log`.
    ///
    /// # Errors
    /// A filter that cannot be read; logging was started before.
    pub fn start(filter: Option<&str>, progress: &Arc<Progress>) -> Result<Self> {
        let log = Self(Arc::new(Mutex::new(Kept::Memory(Vec::new()))));
        let (text, source) = choose(filter, std::env::var("RUST_LOG").ok());
        let shown = read(&text, &source)?;
        let kept = read(&text, &source)?.or(LevelFilter::DEBUG);
        let colours = anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never;
        let stderr = tracing_subscriber::fmt::layer()
            .with_ansi(colours)
            .with_writer(Stderr(Arc::clone(progress)))
            .event_format(Line { time: Time::Clock })
            .with_filter(shown.and(tracing_subscriber::filter::filter_fn(|meta| meta.target() != SHOWN)));
        let file = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(log.clone())
            .event_format(Line { time: Time::Full })
            .with_filter(kept);
        let started = tracing_subscriber::registry().with(stderr).with(file).try_init();
        started.map_err(|error| Error::failed(format!("cannot start logging: {error}")))?;
        Ok(log)
    }

    /// Keeps all lines, also those so far, in the run's folder. A resumed run's log goes on in the
    /// same file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn keep_in(&self, run_dir: &Path) -> Result<()> {
        let path = run_dir.join(LOG);
        let failed = || format!("cannot write `{}`", path.display());
        let mut file = File::options().create(true).append(true).open(&path).with_context(failed)?;
        let mut kept = self.kept();
        if let Kept::Memory(lines) = &*kept {
            file.write_all(lines).with_context(failed)?;
        }
        *kept = Kept::File(file);
        Ok(())
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The filter's text and who gave it.
fn choose(flag: Option<&str>, variable: Option<String>) -> (String, String) {
    let variable = variable.filter(|text| !text.trim().is_empty());
    match (flag, variable) {
        (Some(flag), _) => (flag.to_owned(), "flag --log".into()),
        (None, Some(variable)) => (variable, "variable RUST_LOG".into()),
        (None, None) => ("info".into(), "default".into()),
    }
}

fn read(text: &str, source: &str) -> Result<EnvFilter> {
    EnvFilter::builder().parse(text).map_err(|error| {
        let forms = "a level (error, warn, info, debug, trace) or target=level, separated by commas";
        Error::config(format!("`{text}` ({source}) is no log filter: {error}; expected {forms}"))
    })
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match &mut *self.kept() {
            Kept::Memory(lines) if lines.len() < KEPT_BYTES => lines.extend_from_slice(line),
            Kept::Memory(_) => {}
            // A full disk must not stop the training, and the model's own writer will say that it
            // is full.
            Kept::File(file) => drop(file.write_all(line)),
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Stderr with the bars taken down while a line is written.
struct Stderr(Arc<Progress>);

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = StderrLine<'a>;

    fn make_writer(&'a self) -> StderrLine<'a> {
        StderrLine(&self.0)
    }
}

struct StderrLine<'a>(&'a Progress);

impl Write for StderrLine<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // A closed stderr has no reader to tell.
        self.0.suspend(|| drop(io::stderr().lock().write_all(line)));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How a line looks: `12:30:01  INFO uniform: text key=value`.
struct Line {
    time: Time,
}

enum Time {
    /// Hours, minutes, seconds: for eyes.
    Clock,
    /// With date, milliseconds and zone: for files.
    Full,
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let now = jiff::Zoned::now();
        let time = match self.time {
            Time::Clock => now.strftime("%H:%M:%S"),
            Time::Full => now.strftime("%Y-%m-%dT%H:%M:%S%.3f%:z"),
        };
        let (dim, plain) = if out.has_ansi_escapes() { ("\x1b[2m", "\x1b[0m") } else { ("", "") };
        let meta = event.metadata();
        let level = format!("{:>5}", meta.level().as_str());
        let colour = match (out.has_ansi_escapes(), *meta.level()) {
            (false, _) => "",
            (true, Level::ERROR) => "\x1b[1;31m",
            (true, Level::WARN) => "\x1b[33m",
            (true, Level::INFO) => "\x1b[32m",
            (true, Level::DEBUG) => "\x1b[34m",
            (true, Level::TRACE) => "\x1b[35m",
        };
        // Of plugins too, which may have the text from a file.
        let target = shown(source(meta.target()));
        let mut text = String::new();
        ctx.field_format().format_fields(Writer::new(&mut text), event)?;
        let text = shown_text(&text).replace('\n', "\n    ");
        writeln!(out, "{dim}{time}{plain} {colour}{level}{plain} {dim}{target}:{plain} {text}")
    }
}

/// Who speaks: the crate or plugin, without the module within.
fn source(target: &str) -> &str {
    target.split("::").next().unwrap_or(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_wins_over_the_variable() {
        assert_eq!(choose(Some("warn"), Some("debug".into())).0, "warn");
        assert_eq!(choose(None, Some("debug".into())).0, "debug");
        assert_eq!(choose(None, Some(" ".into())).0, "info");
        assert_eq!(choose(None, None).0, "info");
    }

    #[test]
    fn a_bad_filter_says_what_a_good_one_is() {
        let message = read("uniform=loud", "flag --log").unwrap_err().to_string();
        assert!(message.contains("`uniform=loud` (flag --log)") && message.contains("debug"), "{message}");
        read("info,uniform=debug", "flag --log").unwrap();
    }

    #[test]
    fn lines_before_the_folder_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Log(Arc::new(Mutex::new(Kept::Memory(Vec::new()))));
        log.write_all(b"early\n").unwrap();
        log.keep_in(dir.path()).unwrap();
        log.write_all(b"late\n").unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join(LOG)).unwrap(), "early\nlate\n");
        assert!(log.keep_in(&dir.path().join("none")).is_err());
    }

    #[test]
    fn a_line_names_time_level_and_source() {
        let log = Log(Arc::new(Mutex::new(Kept::Memory(Vec::new()))));
        let layer = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(log.clone())
            .event_format(Line { time: Time::Full });
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::warn!(target: "uniform::plan", bits = 4, "no plan");
            tracing::warn!("layer `{}`", "a\u{1b}[2J\u{202e}b\n12:00:00 ERROR it is not so");
            tracing::warn!("layer `{}`", "x".repeat(1 << 20));
        });
        let Kept::Memory(lines) = &*log.kept() else { panic!("the lines are in memory") };
        let line = String::from_utf8(lines.clone()).unwrap();
        let mut said = line.lines();
        let (time, rest) = said.next().and_then(|line| line.split_once(' ')).unwrap();
        assert!(time.parse::<jiff::Timestamp>().is_ok(), "{time}");
        assert_eq!(rest, " WARN uniform: no plan bits=4");
        // What comes from outside moves no cursor, begins no line of its own and fills no screen.
        assert!(said.next().unwrap().ends_with("layer `a\\x1b[2J\\u{202e}b"), "{line}");
        assert_eq!(said.next().unwrap(), "    12:00:00 ERROR it is not so`");
        assert!(said.next().unwrap().ends_with("(1048584 bytes in all)") && said.next().is_none());
        assert!(line.len() < 5_000, "{}", line.len());
    }
}
