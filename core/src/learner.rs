//! The trait of a learner: a compression method with its whole workflow.

use crate::error::Result;
use crate::job::Job;
use crate::report::Report;

/// A compression method. The host makes one for each job.
pub trait Learner: Send {
    /// Runs the workflow: trains, saves the model where the learner's options say, evaluates.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Interrupted`] when the host asked to stop and everything needed to
    /// resume is saved; otherwise what failed.
    fn train(&mut self, job: &Job) -> Result<Report>;

    /// Evaluates the model that [`Learner::train`] saved, or the one that `job.model` names.
    ///
    /// # Errors
    /// No model there, or not one of this net.
    fn evaluate(&mut self, job: &Job) -> Result<Report>;
}
