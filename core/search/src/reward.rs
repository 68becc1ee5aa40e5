//! The reward of an allocation: accuracy on validation images of the training data, batch-norm
//! statistics re-estimated, after the tuning that every allocation gets alike.
//!
//! A roll-out that cannot become the best any more ends early (see [`Bench::accuracy`]). Its reward
//! is the accuracy on the images seen so far, which come in an order that has nothing to do with
//! the allocation: an estimate of the same accuracy, with more noise and no bias towards good or
//! bad. So the agent learns from it as from any other, and the best allocation is never lost, since
//! an evaluation only ends when it is below the best for certain. What the agent sees does depend
//! on the best so far, but on nothing else, so a search repeats exactly.

use crate::bench::{Accuracy, Bench};
use crate::rollout::Evaluate;
use crate::tune::{Tuning, tune};
use pocketflow::Result;
use pocketflow_torch::network::{Network, Statistics};

/// Judges allocations on a bench.
pub struct Judge<'a, 'b> {
    pub bench: &'a mut Bench<'b>,
    /// The full-precision network, which layer-wise tuning learns from.
    pub teacher: &'a Network,
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
        self.bench.allocate(bits)?;
        if !tune(self.bench, self.teacher, tuning)? {
            // No use to anybody, and no reason to give up the search.
            return Ok(Accuracy { value: 0.0, images: self.bench.images() });
        }
        // Tuning of all layers normalises by batches: the parent's running statistics mean nothing
        // to what comes out of it.
        let statistics = if tuning.global > 0 { Statistics::OfImages } else { Statistics::Moved };
        self.bench.reestimate(statistics)?;
        self.bench.accuracy(beat)
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
