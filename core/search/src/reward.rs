//! The reward of an allocation: accuracy on validation images of the training data, batch-norm
//! statistics re-estimated, after the tuning that every allocation gets alike.
//!
//! A roll-out that cannot become the best any more ends early (see [`Evaluator::accuracy`]). Its
//! reward is the accuracy on a first part of the images that is the same for all: the accuracy on
//! those seen until it ended would be too low, as it ends when few answers were right. The best
//! allocation is never lost, since an evaluation only ends when it is below the best for certain.
//! When it ends depends on the best so far, and on nothing else, so a search repeats exactly.

use crate::evaluator::{Accuracy, Evaluator};
use crate::rollout::Evaluate;
use crate::tune::{Tuning, tune};
use pocketflow::Result;
use pocketflow_torch::network::{Network, Statistics};

/// Judges allocations.
pub struct Judge<'a, 'b> {
    /// Measures accuracies on validation images.
    pub evaluator: &'a mut Evaluator<'b>,
    /// The full-precision network, which layer-wise tuning learns from.
    pub teacher: &'a Network,
    /// What is trained before an allocation is judged.
    pub tuning: Tuning,
    /// The best reward so far.
    pub best: Option<f64>,
    /// Images that the last reward was measured on.
    pub images: u64,
}

impl Judge<'_, '_> {
    /// The accuracy of an allocation after tuning, on all validation images unless it cannot reach
    /// `beat`; 0 if the tuning diverges.
    ///
    /// # Errors
    /// Those of the tuning and the evaluation; the host's wish to stop.
    pub fn judge(&mut self, bits: &[u32], tuning: &Tuning, beat: Option<f64>) -> Result<Accuracy> {
        self.evaluator.allocate(bits)?;
        self.evaluator.take_ranges()?;
        if !tune(self.evaluator, self.teacher, tuning)? {
            // Such bits are of no use; the search goes on.
            return Ok(Accuracy { value: 0.0, images: self.evaluator.images() });
        }
        // Tuning of all layers normalises by batches: the parent's running statistics mean nothing
        // to what comes out of it.
        let statistics = if tuning.global > 0 { Statistics::OfImages } else { Statistics::Moved };
        self.evaluator.reestimate(statistics)?;
        self.evaluator.accuracy(beat)
    }
}

impl Evaluate for Judge<'_, '_> {
    fn reward(&mut self, bits: &[u32]) -> Result<f64> {
        let tuning = self.tuning;
        let Accuracy { value, images } = self.judge(bits, &tuning, self.best)?;
        self.best = Some(self.best.map_or(value, |best| best.max(value)));
        self.images = images;
        Ok(value)
    }
}
