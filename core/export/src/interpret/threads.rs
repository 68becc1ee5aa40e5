//! Many images on several threads.

use super::{Data, Interpreter};
use pocketflow::{Error, Result};
use std::sync::atomic::{AtomicUsize, Ordering};

impl Interpreter {
    /// Does `each` for the numbers 0 … `count` − 1 on `threads` threads (0: one for each
    /// processor), every thread with an interpreter of its own; gives the results in the order of
    /// the numbers.
    ///
    /// # Errors
    /// The error of the lowest number that failed; numbers not yet begun are then left out.
    pub fn for_each<T: Send>(
        &self,
        count: usize,
        threads: usize,
        each: impl Fn(&mut Interpreter, usize) -> Result<T> + Sync,
    ) -> Result<Vec<T>> {
        let processors = || std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if threads == 0 { processors() } else { threads }.min(count);
        let next = AtomicUsize::new(0);
        let work = || {
            let mut interpreter = self.clone();
            let mut done = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return done;
                }
                let result = each(&mut interpreter, number);
                if result.is_err() {
                    next.store(count, Ordering::Relaxed);
                }
                done.push((number, result));
            }
        };
        let results = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            workers.into_iter().map(|worker| worker.join()).collect::<Result<Vec<_>, _>>()
        });
        let results = results.map_err(|_| Error::failed("a thread of the reference interpreter panicked"))?;
        let mut results: Vec<_> = results.into_iter().flatten().collect();
        results.sort_by_key(|(number, _)| *number);
        results.into_iter().map(|(_, result)| result).collect()
    }

    /// Runs the model on many images, each its inputs; gives their outputs in order.
    ///
    /// # Errors
    /// As of [`Interpreter::run`].
    pub fn run_many(&self, images: &[Vec<Data>], threads: usize) -> Result<Vec<Vec<Data>>> {
        self.for_each(images.len(), threads, |interpreter, number| interpreter.run(&images[number]))
    }
}
