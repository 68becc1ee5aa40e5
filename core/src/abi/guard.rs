//! Panics become errors where they happen: none may reach a function that crosses, where it would
//! end the process.
//!
//! Some trait methods cannot return an error (`Net::recipe`, `Host::interrupted`). Where such a
//! call fails on the other side of the boundary, the consumer unwinds with the [`Error`] itself as
//! the payload; the nearest guard below takes it out again.

use crate::error::{Error, Result};
use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Once};

thread_local! {
    /// How many guarded calls of this library are under way on this thread.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    /// `MESSAGE (file:line)` of the last panic below a guard, and its backtrace if `RUST_BACKTRACE`
    /// asks for one.
    static PANIC: RefCell<Option<(String, Option<String>)>> = const { RefCell::new(None) };
}

/// Whose code a guard runs: `` plugin `uniform` ``, `the thread of training images` or `the host`.
#[derive(Debug, Clone)]
pub struct Owner(Arc<str>);

impl Owner {
    pub fn plugin(name: &str) -> Self {
        Self(format!("plugin `{name}`").into())
    }

    pub fn thread(name: &str) -> Self {
        Self(format!("the thread of {name}").into())
    }

    pub fn host() -> Self {
        Self("the host".into())
    }

    /// Runs code of the owner; `function` is how people know it.
    ///
    /// # Errors
    /// The call's own, and its panic.
    pub fn guard<T>(&self, function: &str, call: impl FnOnce() -> Result<T>) -> Result<T> {
        install_hook();
        DEPTH.set(DEPTH.get() + 1);
        let caught = panic::catch_unwind(AssertUnwindSafe(call));
        DEPTH.set(DEPTH.get() - 1);
        match caught {
            Ok(result) => result,
            Err(payload) => Err(self.describe(function, payload)),
        }
    }

    fn describe(&self, function: &str, payload: Box<dyn Any + Send>) -> Error {
        let payload = match payload.downcast::<Error>() {
            Ok(error) => return *error,
            Err(payload) => payload,
        };
        let seen = PANIC.try_with(RefCell::take).unwrap_or_default();
        // A payload may have a destructor that panics in turn.
        std::mem::forget(payload);
        let (text, backtrace) = seen.unwrap_or_else(|| ("without a message".into(), None));
        let message = format!("{} panicked in `{function}`: {text}", self.0);
        if let Some(backtrace) = backtrace {
            tracing::debug!("{message}\n{backtrace}");
        }
        Error::failed(message)
    }
}

/// Gives the value, or unwinds with the error to the nearest guard; see the module.
pub fn carry<T>(result: Result<T>) -> T {
    // `resume_unwind` tells no panic hook: this is an error on its way, not a panic.
    result.unwrap_or_else(|error| panic::resume_unwind(Box::new(error)))
}

/// Runs `call` and makes errors of its panics, also of the failures of plugins in trait methods
/// that return no error. A program wraps around this whatever calls plugins.
///
/// # Errors
/// The call's own, and its panic.
pub fn catch<T>(function: &str, call: impl FnOnce() -> Result<T>) -> Result<T> {
    Owner::host().guard(function, call)
}

/// An object of the owner's whose destructor is guarded too.
pub struct Held<T: ?Sized> {
    owner: Owner,
    inner: ManuallyDrop<Box<T>>,
}

impl<T: ?Sized> Held<T> {
    pub fn new(owner: Owner, inner: Box<T>) -> Self {
        Self { owner, inner: ManuallyDrop::new(inner) }
    }

    pub fn owner(&self) -> &Owner {
        &self.owner
    }
}

impl<T: ?Sized> Deref for Held<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T: ?Sized> DerefMut for Held<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

impl<T: ?Sized> Drop for Held<T> {
    fn drop(&mut self) {
        // SAFETY: `inner` is not used again.
        let inner = unsafe { ManuallyDrop::take(&mut self.inner) };
        let dropped = self.owner.guard("drop", || {
            drop(inner);
            Ok(())
        });
        if let Err(error) = dropped {
            tracing::error!("{error}");
        }
    }
}

/// Keeps message and place of a panic below a guard, silently; leaves all others to the hook
/// before.
fn install_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if DEPTH.try_with(Cell::get).unwrap_or(0) == 0 {
                return previous(info);
            }
            let message = info.payload_as_str().unwrap_or("a value that is not text");
            let text = match info.location() {
                Some(place) => format!("{message} ({}:{})", place.file(), place.line()),
                None => message.to_owned(),
            };
            let backtrace = Backtrace::capture();
            let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
            // Not there any more while the thread ends; then the error goes without the text.
            let _ = PANIC.try_with(|seen| seen.replace(Some((text, backtrace))));
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn says_who_where_and_what() {
        let line = line!() + 1;
        let result: Result<()> = Owner::plugin("toy").guard("train", || panic!("no {}", "luck"));
        let text = result.unwrap_err().to_string();
        assert_eq!(text, format!("plugin `toy` panicked in `train`: no luck ({}:{line})", file!()));
    }

    #[test]
    fn carried_errors_arrive_as_they_were() {
        let error = Error::new(ErrorKind::DataNotFound, "no such file").context("cannot open");
        let result = catch("run", || -> Result<()> { carry(Err(error.clone())) });
        assert_eq!(result, Err(error));
    }

    #[test]
    fn strange_payloads_and_nested_guards() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("in a destructor");
            }
        }
        let result = Owner::plugin("outer").guard("a", || {
            let inner = Owner::plugin("inner").guard("b", || -> Result<()> { panic::panic_any(Bomb) });
            assert!(inner.unwrap_err().to_string().contains("`inner` panicked in `b`: a value that is not text"));
            drop(Held::new(Owner::plugin("held"), Box::new(Bomb)));
            Ok(7)
        });
        assert_eq!(result, Ok(7));
    }
}
