//! Which plugin each thread is calling. A plugin that ends the process cannot be caught, but the
//! program can say which one it was: its exit handlers and signal handlers ask here.
//!
//! The record is that of this library or program: a plugin has its own, with what it calls in turn.

use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, PoisonError};

/// A name that is never freed, so that a signal handler may read it at any time.
type Name = &'static String;

thread_local! {
    /// Without a destructor, so that it can be read in a signal handler and while the thread ends.
    static CURRENT: Cell<Option<Call>> = const { Cell::new(None) };
}

/// Who was called first and has not returned: what threads without a record of their own work for.
static AT_WORK: AtomicPtr<String> = AtomicPtr::new(ptr::null_mut());

/// A call into a plugin that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// `` learner `uniform` ``
    pub callee: &'static str,
    /// The function, as people know it.
    pub function: &'static str,
}

impl Call {
    /// The innermost call of this thread. Safe in signal handlers.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Cell::get).unwrap_or(None)
    }

    /// Who is at work on any thread. Safe in signal handlers.
    pub fn at_work() -> Option<&'static str> {
        // SAFETY: null, or a name, which is never freed.
        unsafe { AT_WORK.load(Ordering::Acquire).as_ref() }.map(String::as_str)
    }
}

/// Somebody whose functions are called.
#[derive(Debug, Clone, Copy)]
pub struct Callee(Name);

impl Callee {
    /// The text is how people know it: `` learner `uniform` ``.
    pub fn new(text: String) -> Self {
        static NAMES: Mutex<Vec<Name>> = Mutex::new(Vec::new());
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        let known = names.iter().find(|known| ***known == text).copied();
        Self(known.unwrap_or_else(|| {
            let name: Name = Box::leak(Box::new(text));
            names.push(name);
            name
        }))
    }

    pub fn host() -> Self {
        Self::new("the host".into())
    }

    /// Makes a call and keeps a record of it while it lasts.
    pub fn call<T>(self, function: &'static str, call: impl FnOnce() -> T) -> T {
        let name: *mut String = ptr::from_ref(self.0).cast_mut();
        let outermost = AT_WORK.compare_exchange(ptr::null_mut(), name, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        let previous = CURRENT.replace(Some(Call { callee: self.0, function }));
        let _record = Record { previous, outermost };
        call()
    }
}

/// Takes the record back, also where the call unwinds.
struct Record {
    previous: Option<Call>,
    outermost: bool,
}

impl Drop for Record {
    fn drop(&mut self) {
        CURRENT.set(self.previous);
        if self.outermost {
            AT_WORK.store(ptr::null_mut(), Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_call_of_a_thread_and_the_outermost_of_all() {
        let [learner, data] = ["learner `a`", "dataset `b`"].map(|text| Callee::new(text.into()));
        assert!(std::ptr::eq(learner.0, Callee::new("learner `a`".into()).0), "names are kept once");
        learner.call("train", || {
            let unwound = std::panic::catch_unwind(|| data.call("next", || std::panic::resume_unwind(Box::new(1))));
            assert!(unwound.is_err());
            assert_eq!(Call::current(), Some(Call { callee: "learner `a`", function: "train" }));
            data.call("next", || {
                assert_eq!(Call::current(), Some(Call { callee: "dataset `b`", function: "next" }));
                assert_eq!(Call::at_work(), Some("learner `a`"));
            });
            std::thread::scope(|scope| {
                scope.spawn(|| assert_eq!((Call::current(), Call::at_work()), (None, Some("learner `a`"))));
            });
        });
        assert_eq!(Call::current(), None);
    }
}
