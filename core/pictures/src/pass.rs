//! One pass over a split: threads decode ahead of the consumer, in a window of bounded memory, and
//! the images come in the order of the pass whichever thread is first.

use crate::reader::{Reader, Workspace};
use crate::source::Fault;
use pocketflow::dataset::{Batch, Batches};
use pocketflow::{Error, Result};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

/// Memory for images that wait for the consumer.
const WINDOW_BYTES: usize = 256 << 20;
/// So many damaged images one after another are no accident.
const DAMAGED_IN_A_ROW: usize = 100;

/// What happens to a damaged image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// The next image of the pass that is whole takes its place, so that places and batches stay as
    /// they are.
    Replaced,
    /// The pass goes on without it.
    LeftOut,
    /// The pass ends; what to do instead, for the message.
    Error(&'static str),
}

/// An image that waits for the consumer.
enum Made {
    Image { label: u32, pixels: Vec<u8>, damaged: Option<String> },
    LeftOut(String),
    Failed(Error),
}

struct State {
    /// Place of the image that the consumer takes next, and of the first in `made`.
    first: usize,
    /// Place that a thread takes next.
    next: usize,
    /// How far ahead of the consumer the threads work, in images.
    window: usize,
    made: VecDeque<Option<Made>>,
    /// Buffers to use again.
    spare: Vec<Vec<u8>>,
    stop: bool,
}

impl State {
    /// Passes over `images` places; what is being made for them is dropped when it comes.
    fn advance(&mut self, images: usize) {
        for _ in 0..images.min(self.made.len()) {
            if let Some(Some(Made::Image { pixels, .. })) = self.made.pop_front() {
                self.spare.push(pixels);
            }
        }
        self.first += images;
        self.next = self.next.max(self.first);
    }
}

struct Shared {
    reader: Reader,
    order: Vec<u32>,
    damage: Damage,
    state: Mutex<State>,
    /// A thread may have something to do.
    work: Condvar,
    /// The consumer may have something to take.
    ready: Condvar,
}

/// [`Batches`] made by threads. They start with the first batch, so that skipping costs nothing.
pub struct Pass {
    shared: Arc<Shared>,
    threads: usize,
    workers: Vec<JoinHandle<()>>,
    /// Training batches all have one size.
    whole_batches: bool,
    damaged: u64,
    first_damaged: Option<String>,
}

impl Pass {
    /// A pass over the images `order`, made by `threads` threads (at least one).
    pub fn new(reader: Reader, order: Vec<u32>, damage: Damage, whole_batches: bool, threads: usize) -> Self {
        let state = State { first: 0, next: 0, window: 0, made: VecDeque::new(), spare: Vec::new(), stop: false };
        let (work, ready) = (Condvar::new(), Condvar::new());
        let threads = threads.clamp(1, order.len().max(1));
        let shared = Arc::new(Shared { reader, order, damage, state: Mutex::new(state), work, ready });
        Self { shared, threads, workers: Vec::new(), whole_batches, damaged: 0, first_damaged: None }
    }

    fn start(&mut self) -> Result<()> {
        if self.shared.lock().next >= self.shared.order.len() {
            return Ok(());
        }
        while self.workers.len() < self.threads {
            let shared = self.shared.clone();
            let name = format!("images {}", self.workers.len());
            self.workers.push(thread::Builder::new().name(name).spawn(move || shared.work())?);
        }
        Ok(())
    }

    /// Waits for the next image; `None` at the end of the pass.
    fn take(&self) -> Option<Made> {
        let shared = &*self.shared;
        let mut state = shared.lock();
        loop {
            if state.first >= shared.order.len() {
                return None;
            }
            if let Some(made) = state.made.front_mut().and_then(Option::take) {
                state.made.pop_front();
                state.first += 1;
                shared.work.notify_one();
                return Some(made);
            }
            state = shared.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn count_damage(&mut self, problem: String) {
        self.damaged += 1;
        self.first_damaged.get_or_insert(problem);
    }

    /// Says, once, how many images were damaged.
    fn report_damage(&mut self) {
        if let Some(first) = self.first_damaged.take() {
            let what = if self.shared.damage == Damage::Replaced { "replaced by others" } else { "left out" };
            tracing::warn!("damaged images {what} in this pass: {}; the first: {first}", self.damaged);
            self.damaged = 0;
        }
    }
}

impl Batches for Pass {
    fn next(&mut self, out: &mut Batch) -> Result<bool> {
        let size = self.shared.reader.bytes();
        let capacity = out.capacity();
        out.len = 0;
        if capacity == 0 || out.images.len() < capacity * size {
            let bytes = out.images.len();
            return Err(Error::failed(format!(
                "a batch buffer of {bytes} bytes for {capacity} images of {size} bytes"
            )));
        }
        {
            let mut state = self.shared.lock();
            let left = self.shared.order.len() - state.first;
            if self.whole_batches && left < capacity {
                state.advance(left);
            }
            // Two batches: one may be taken at once while the next is made.
            let most = (WINDOW_BYTES / size.max(1)).max(1);
            state.window = (2 * capacity).max(4 * self.threads).min(most);
        }
        self.start()?;
        self.shared.work.notify_all();
        while out.len < capacity {
            match self.take() {
                Some(Made::Image { label, pixels, damaged }) => {
                    out.images[out.len * size..][..size].copy_from_slice(&pixels);
                    out.labels[out.len] = label;
                    out.len += 1;
                    self.shared.lock().spare.push(pixels);
                    if let Some(problem) = damaged {
                        self.count_damage(problem);
                    }
                }
                Some(Made::LeftOut(problem)) => self.count_damage(problem),
                Some(Made::Failed(error)) => return Err(error),
                None => break,
            }
        }
        if out.len == 0 {
            self.report_damage();
        }
        Ok(out.len > 0)
    }

    fn skip(&mut self, samples: u64) -> Result<()> {
        let shared = &*self.shared;
        let mut state = shared.lock();
        let left = shared.order.len() - state.first;
        let skipped = usize::try_from(samples).unwrap_or(left).min(left);
        state.advance(skipped);
        drop(state);
        shared.work.notify_all();
        Ok(())
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.work.notify_all();
        for worker in self.workers.drain(..) {
            // A thread that panicked has nothing to hand over.
            let _ = worker.join();
        }
        self.report_damage();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole at every unlock, also after a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The life of a thread.
    fn work(&self) {
        let mut workspace = Workspace::new();
        let mut state = self.lock();
        loop {
            if state.stop || state.next >= self.order.len() {
                return;
            }
            if state.next >= state.first + state.window {
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let place = state.next;
            state.next += 1;
            let mut pixels = state.spare.pop().unwrap_or_default();
            drop(state);
            pixels.resize(self.reader.bytes(), 0);
            let made = self.make(place, &mut workspace, pixels);
            state = self.lock();
            // It may have been skipped in the meantime.
            if let Some(at) = place.checked_sub(state.first) {
                while state.made.len() <= at {
                    state.made.push_back(None);
                }
                state.made[at] = Some(made);
                self.ready.notify_one();
            }
        }
    }

    /// The image at a place of the pass, or what becomes of it if it is damaged.
    fn make(&self, place: usize, workspace: &mut Workspace, mut pixels: Vec<u8>) -> Made {
        let mut damaged = None;
        for step in 0..self.order.len().min(DAMAGED_IN_A_ROW) {
            let index = u64::from(self.order[(place + step) % self.order.len()]);
            match (self.reader.read(index, workspace, &mut pixels), self.damage) {
                (Ok(label), _) => return Made::Image { label, pixels, damaged },
                (Err(Fault::Failed(error)), _) => return Made::Failed(error),
                (Err(Fault::Damaged(problem)), Damage::Replaced) => {
                    damaged.get_or_insert(problem);
                }
                (Err(Fault::Damaged(problem)), Damage::LeftOut) => return Made::LeftOut(problem),
                (Err(Fault::Damaged(problem)), Damage::Error(instead)) => {
                    return Made::Failed(Error::failed(format!(
                        "damaged image: {problem}; get it again, or {instead}"
                    )));
                }
            }
        }
        let first = damaged.unwrap_or_else(|| "there are no images".into());
        Made::Failed(Error::failed(format!(
            "{DAMAGED_IN_A_ROW} images one after another are damaged (or all there are); the first: {first}"
        )))
    }
}
