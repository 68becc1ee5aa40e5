//! Work on a thread of its own whose results are taken one by one: batches that are prepared ahead.
//! Whoever waits for a result still obeys the wish to stop, also where the work never returns, as
//! in a data set that hangs.

use crate::abi::Owner;
use crate::error::{Error, Result};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a wait goes on before it asks whether to stop.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// How long a dropped thread is waited for: longer than a batch takes to prepare, and no more than
/// a person who stops a run puts up with.
const GRACE: Duration = Duration::from_secs(1);

/// What the thread sends. The end is said, so that a thread that died is never taken for one.
enum Sent<T> {
    Item(T),
    End,
    Failed(Error),
}

/// The receiving end. Dropping it ends the thread: joined where it comes to an end soon, else left
/// to itself.
pub struct Background<T> {
    name: &'static str,
    /// `None` only while it is dropped.
    receiver: Option<Receiver<Sent<T>>>,
    /// Disconnected once the thread is done.
    done: Receiver<Infallible>,
    unwanted: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    ended: bool,
}

/// The thread's end.
pub struct Delivery<T> {
    sender: SyncSender<Sent<T>>,
    unwanted: Arc<AtomicBool>,
}

impl<T> Delivery<T> {
    /// Hands over a result; waits while as many as agreed lie ready. False once nobody wants more.
    pub fn give(&self, item: T) -> bool {
        self.sender.send(Sent::Item(item)).is_ok()
    }

    /// False once nobody wants more. The process may be at its end then: after a call that took
    /// long, ask before using a library whose memory is freed there.
    pub fn is_wanted(&self) -> bool {
        !self.unwanted.load(Ordering::Relaxed)
    }
}

impl<T: Send + 'static> Background<T> {
    /// Starts the thread. `name` is for people: "stopped while waiting for NAME". At most `ahead`
    /// results lie ready.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn start(
        name: &'static str,
        ahead: usize,
        work: impl FnOnce(&Delivery<T>) -> Result<()> + Send + 'static,
    ) -> Result<Self> {
        let (sender, receiver) = sync_channel(ahead);
        let (alive, done) = channel::<Infallible>();
        let unwanted = Arc::new(AtomicBool::new(false));
        let delivery = Delivery { sender, unwanted: Arc::clone(&unwanted) };
        let body = move || {
            let last = match Owner::thread(name).guard("its work", || work(&delivery)) {
                Ok(()) => Sent::End,
                Err(error) => Sent::Failed(error),
            };
            // Nobody may be left to hear it.
            let _ = delivery.sender.send(last);
            drop(alive);
        };
        let thread = std::thread::Builder::new().name(name.into()).spawn(body);
        let thread = thread.map_err(|error| Error::from(error).context(format!("cannot start a thread for {name}")))?;
        Ok(Self { name, receiver: Some(receiver), done, unwanted, thread: Some(thread), ended: false })
    }

    /// The next result; `None` at the end. While it waits it asks `interrupted` every 50 ms.
    ///
    /// # Errors
    /// Those of the work, its panic among them; [`crate::ErrorKind::Interrupted`] when nothing has
    /// come and `interrupted` says so.
    pub fn next(&mut self, interrupted: &dyn Fn() -> bool) -> Result<Option<T>> {
        let Some(receiver) = self.receiver.as_ref().filter(|_| !self.ended) else { return Ok(None) };
        loop {
            match receiver.recv_timeout(ASK_EVERY) {
                Ok(Sent::Item(item)) => return Ok(Some(item)),
                Ok(Sent::End) => {
                    self.ended = true;
                    return Ok(None);
                }
                Ok(Sent::Failed(error)) => return Err(error),
                Err(RecvTimeoutError::Timeout) if interrupted() => {
                    return Err(Error::interrupted(format!("stopped while waiting for {}", self.name)));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::failed(format!("the thread of {} is gone: it failed before", self.name)));
                }
            }
        }
    }
}

impl<T> Drop for Background<T> {
    fn drop(&mut self) {
        self.unwanted.store(true, Ordering::Relaxed);
        // A thread that waits to hand something over wakes up.
        drop(self.receiver.take());
        let Some(thread) = self.thread.take() else { return };
        match self.done.recv_timeout(GRACE) {
            Err(RecvTimeoutError::Timeout) => {
                tracing::debug!("the thread of {} does not return; it is left to itself", self.name);
            }
            // Its panics were caught.
            _ => drop(thread.join()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use std::time::Instant;

    fn never() -> bool {
        false
    }

    #[test]
    fn results_come_in_order_and_the_end_stays_the_end() {
        let work = |delivery: &Delivery<u32>| {
            (0..5).all(|item| delivery.give(item));
            Ok(())
        };
        let mut numbers = Background::start("numbers", 2, work).unwrap();
        let got: Vec<u32> = std::iter::from_fn(|| numbers.next(&never).unwrap()).collect();
        assert_eq!(got, [0, 1, 2, 3, 4]);
        assert_eq!(numbers.next(&never), Ok(None));
    }

    #[test]
    fn failures_and_panics_are_errors_and_never_an_end() {
        let mut failing = Background::<u32>::start("numbers", 1, |_| Err(Error::config("no numbers"))).unwrap();
        assert_eq!(failing.next(&never), Err(Error::config("no numbers")));
        assert!(failing.next(&never).is_err(), "asked again, it is still no end");
        let work = |delivery: &Delivery<u32>| {
            delivery.give(1);
            panic!("out of {}", "numbers")
        };
        let mut panicking = Background::start("numbers", 1, work).unwrap();
        assert_eq!(panicking.next(&never), Ok(Some(1)));
        let text = panicking.next(&never).unwrap_err().to_string();
        assert!(text.contains("numbers") && text.contains("out of numbers") && text.contains(file!()), "{text}");
    }

    #[test]
    fn a_wait_for_work_that_hangs_is_interrupted_and_the_thread_left_behind() {
        let (free, held) = channel::<()>();
        let work = move |_: &Delivery<u32>| {
            let _ = held.recv();
            Ok(())
        };
        let mut hanging = Background::start("numbers", 1, work).unwrap();
        let begun = Instant::now();
        let stopped = hanging.next(&|| begun.elapsed() > Duration::from_millis(100)).unwrap_err();
        assert_eq!(stopped.kind(), ErrorKind::Interrupted);
        assert!(stopped.to_string().contains("numbers"), "{stopped}");
        drop(hanging);
        assert!(begun.elapsed() < GRACE + Duration::from_secs(10));
        drop(free);
    }

    #[test]
    fn what_is_ready_comes_before_the_wish_to_stop() {
        let work = |delivery: &Delivery<u32>| {
            delivery.give(7);
            Ok(())
        };
        let mut numbers = Background::start("numbers", 2, work).unwrap();
        numbers.done.recv_timeout(Duration::from_secs(60)).unwrap_err();
        assert_eq!(numbers.next(&|| true), Ok(Some(7)));
        assert_eq!(numbers.next(&|| true), Ok(None));
    }

    #[test]
    fn dropping_it_joins_a_thread_that_can_end() {
        let held = Arc::new(());
        let inside = Arc::clone(&held);
        let work = move |delivery: &Delivery<u32>| {
            let _inside = inside;
            while delivery.give(0) {}
            assert!(!delivery.is_wanted());
            Ok(())
        };
        let mut endless = Background::start("numbers", 1, work).unwrap();
        assert_eq!(endless.next(&never), Ok(Some(0)));
        drop(endless);
        assert_eq!(Arc::strong_count(&held), 1, "the thread has ended");
    }
}
