//! Work on many files at once: finding out what is in a thousand shards waits for the disk, not for
//! the processor.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// `function` of every item, in the order of the items, computed by up to `threads` threads (at
/// least one).
pub fn map<T: Sync, R: Send>(items: &[T], threads: usize, function: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = threads.clamp(1, items.len().max(1));
    if threads == 1 {
        return items.iter().map(function).collect();
    }
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(items.len()));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let item = next.fetch_add(1, Ordering::Relaxed);
                    let Some(input) = items.get(item) else { return };
                    let output = function(input);
                    done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((item, output));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    done.sort_unstable_by_key(|(item, _)| *item);
    done.into_iter().map(|(_, output)| output).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn keeps_the_order() {
        let items: Vec<u32> = (0..1000).collect();
        for threads in [0, 1, 3, 2000] {
            let doubled = super::map(&items, threads, |item| item * 2);
            assert_eq!(doubled, (0..1000).map(|item| item * 2).collect::<Vec<_>>());
        }
        assert!(super::map(&[0u8; 0], 4, |item| *item).is_empty());
    }
}
