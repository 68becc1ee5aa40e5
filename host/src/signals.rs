//! Ctrl-C, SIGTERM and a terminal that closes. The first asks a run to save and stop ([`Stop`]),
//! the second stops it at once; a command that has nothing to save ends at the first ([`AtOnce`]).
//!
//! A command that prints what it knows at once keeps the system's behaviour. What the parent had
//! ignored stays ignored: `nohup` and shells without job control, which start background jobs so,
//! mean it.

mod at_once;
mod system;

pub use at_once::AtOnce;
pub use system::survive_file_limits;

use pocketflow::Result;
use pocketflow::error::Context;
use signal_hook::iterator::Signals;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Both a terminal (to the process group) and a launcher like `cargo run` or `timeout` may deliver
/// one wish twice.
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

    /// Watches for signals from now on. Asked again, it gives the same flag: one wish is one,
    /// whoever watches.
    ///
    /// # Errors
    /// The system refuses the handler or the thread that waits for it.
    pub fn watch() -> Result<Self> {
        static WATCHED: Mutex<Option<Stop>> = Mutex::new(None);
        let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stop) = &*watched {
            return Ok(stop.clone());
        }
        let stop = Self::default();
        let signals = Signals::new(system::heard()).context("cannot watch for Ctrl-C")?;
        let asked = stop.clone();
        let spawned = std::thread::Builder::new().name("signals".into()).spawn(move || listen(signals, &asked));
        spawned.context("cannot watch for Ctrl-C")?;
        Ok(watched.insert(stop).clone())
    }
}

fn listen(mut signals: Signals, asked: &Stop) {
    let mut first: Option<Instant> = None;
    for signal in &mut signals {
        match first {
            None => {
                asked.request();
                first = Some(Instant::now());
                tracing::warn!("stopping: saving first; press Ctrl-C again to stop at once, without saving");
            }
            Some(earlier) if earlier.elapsed() < SAME_WISH => {}
            // The system and the shell both tell of a terminal that closed, and nobody is there who
            // meant it as a second wish.
            Some(_) if system::is_hang_up(signal) => {}
            // Not `std::process::exit`: its handlers wait for threads that are in the middle of a
            // step.
            Some(_) => signal_hook::low_level::exit(130),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use signal_hook::consts::SIGTERM;

    #[test]
    fn a_signal_sets_the_one_flag() {
        let (stop, other) = (Stop::watch().unwrap(), Stop::watch().unwrap());
        assert!(!stop.requested());
        signal_hook::low_level::raise(SIGTERM).unwrap();
        let start = Instant::now();
        while !(stop.requested() && other.requested()) {
            assert!(start.elapsed() < Duration::from_secs(10), "the flag was not set");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
