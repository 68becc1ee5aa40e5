//! The group of workers that train one network together. One worker alone is the group that there
//! is in this version; the training asks the group, so that others need no change of it.

use pocketflow::Result;
use tch::Tensor;

/// What the workers of a group do together. Every worker calls each of these in the same order.
pub trait Workers: Send + Sync {
    /// Replaces each tensor by its mean over the workers.
    ///
    /// # Errors
    /// A worker that does not answer.
    fn mean(&self, tensors: &mut [Tensor]) -> Result<()>;

    /// Returns whether `value` is true for any worker.
    ///
    /// # Errors
    /// As [`Workers::mean`].
    fn any(&self, value: bool) -> Result<bool>;
}

/// A group of one worker.
pub struct Alone;

impl Workers for Alone {
    fn mean(&self, _tensors: &mut [Tensor]) -> Result<()> {
        Ok(())
    }

    fn any(&self, value: bool) -> Result<bool> {
        Ok(value)
    }
}
