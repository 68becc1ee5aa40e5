//! Shows how far a fetch is by the bytes that it has put on disk, whatever program does the
//! fetching.

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Reports on stderr, until dropped, how much a folder holds: on a terminal a line that is
/// rewritten, elsewhere a line now and then.
pub struct Meter {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Meter {
    /// Watches `folder`, which is expected to grow to about `expected` bytes.
    pub fn start(folder: &Path, expected: u64) -> Self {
        let folder = folder.to_path_buf();
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let terminal = std::io::stderr().is_terminal();
            let pause = Duration::from_millis(if terminal { 400 } else { 5000 });
            let start = Instant::now();
            while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                let line = line(bytes_in(&folder), expected, start.elapsed());
                let mut stderr = std::io::stderr().lock();
                // Carriage return and "erase to the end of the line": the next line starts where
                // this one did.
                let _ = if terminal { write!(stderr, "\r\x1b[K  {line}") } else { writeln!(stderr, "  {line}") };
                let _ = stderr.flush();
            }
            if terminal {
                eprint!("\r\x1b[K");
            }
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // Only its last line would be lost.
            let _ = thread.join();
        }
    }
}

fn line(bytes: u64, expected: u64, elapsed: Duration) -> String {
    format!("{} of about {} on disk, {} s", megabytes(bytes), megabytes(expected), elapsed.as_secs())
}

/// `512 MB`, `1.7 GB`.
pub fn megabytes(bytes: u64) -> String {
    let megabytes = bytes as f64 / 1e6;
    if megabytes < 1000.0 { format!("{megabytes:.0} MB") } else { format!("{:.1} GB", megabytes / 1000.0) }
}

/// The bytes of all files under `folder`; what vanishes while it is counted counts as nothing.
pub fn bytes_in(folder: &Path) -> u64 {
    let mut total = 0;
    let mut folders: Vec<PathBuf> = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                Ok(metadata) if metadata.is_file() => total += metadata.len(),
                _ => {}
            }
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_much_of_how_much() {
        insta::assert_snapshot!(line(512_400_000, 1_700_000_000, Duration::from_millis(7900)), @"512 MB of about 1.7 GB on disk, 7 s");
        insta::assert_snapshot!(line(1_234_000_000, 1_700_000_000, Duration::ZERO), @"1.2 GB of about 1.7 GB on disk, 0 s");
    }

    #[test]
    fn files_are_counted_at_every_depth_and_links_are_not_followed() {
        let dir = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(dir.path().join("a/b")).expect("created");
        fs::write(dir.path().join("a/b/c"), [0; 1000]).expect("written");
        fs::write(dir.path().join("d"), [0; 24]).expect("written");
        std::os::unix::fs::symlink(dir.path(), dir.path().join("a/loop")).expect("linked");
        assert_eq!(bytes_in(dir.path()), 1024);
        assert_eq!(bytes_in(&dir.path().join("missing")), 0);
    }

    #[test]
    fn a_meter_stops_at_once_when_dropped() {
        let dir = tempfile::tempdir().expect("a folder");
        let start = Instant::now();
        drop(Meter::start(dir.path(), 1));
        assert!(start.elapsed() < Duration::from_secs(4), "waited out its pause");
    }
}
