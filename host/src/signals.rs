//! Ctrl-C and SIGTERM: the first asks the run to save and stop, the second stops it at once.
//!
//! Installed for runs only: a command that prints a table has nothing to save and keeps the system's behaviour.

use pocketflow::Result;
use pocketflow::error::Context;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Both a terminal (to the process group) and a launcher like `cargo run` or `timeout` may deliver one wish twice.
const SAME_WISH: Duration = Duration::from_millis(200);

/// The user's wish to stop, as a flag that any thread may ask for.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// True from the first signal on.
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Watches for signals from now on.
    ///
    /// # Errors
    /// The system refuses the handler or the thread that waits for it.
    pub fn watch() -> Result<Self> {
        let stop = Self::default();
        let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot watch for Ctrl-C")?;
        let watched = stop.clone();
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                let mut first: Option<Instant> = None;
                for _ in &mut signals {
                    match first {
                        None => {
                            watched.request();
                            first = Some(Instant::now());
                            tracing::warn!(
                                "stopping: saving first; press Ctrl-C again to stop at once, without saving"
                            );
                        }
                        Some(earlier) if earlier.elapsed() < SAME_WISH => {}
                        // Not `std::process::exit`: its handlers wait for threads that are in the middle of a step.
                        Some(_) => signal_hook::low_level::exit(130),
                    }
                }
            })
            .context("cannot watch for Ctrl-C")?;
        Ok(stop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_sets_the_flag() {
        let stop = Stop::watch().unwrap();
        assert!(!stop.requested());
        signal_hook::low_level::raise(SIGTERM).unwrap();
        let start = Instant::now();
        while !stop.requested() {
            assert!(start.elapsed() < Duration::from_secs(10), "the flag was not set");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
