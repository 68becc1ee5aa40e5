//! What a search for bits per layer leaves in the report: the allocations it compared, and how it
//! came to them.

use serde::{Deserialize, Serialize};

/// A search for the bits of each layer under a budget. Accuracies are fractions 0–1 on images of
/// the training set that are held out of all fine-tuning of what is compared, not of the parent's
/// training; no test image takes part in a search.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SearchReport {
    /// The layers that were given bits, in the graph's order; every `bits` below is in this order.
    pub layers: Vec<String>,
    /// Weights of each layer.
    pub params: Vec<u64>,
    /// Where accuracies were measured: `val`.
    pub split: String,
    /// How many images that is.
    pub images: u64,
    /// The budget: bits of all layers together ≤ number of weights × this.
    pub equivalent_bits: f64,
    /// Least and most bits of a layer.
    pub bits_min: u32,
    /// Most bits of a layer.
    pub bits_max: u32,
    /// The allocations compared at the budget; one of each method.
    pub candidates: Vec<Candidate>,
    /// [`Candidate::method`] of the one that was taken: the best of them on the split.
    pub chosen: String,
    /// What the agent tried, in order; empty without an agent.
    pub rollouts: Vec<RolloutReport>,
    /// The first of the roll-outs that the agent did not choose at random; they filled its buffer
    /// before.
    pub first_learning: usize,
    /// The first so many of the roll-outs followed the other methods' allocations.
    pub starts: usize,
    /// What the solver goes by; `None` where nothing needed it.
    pub sensitivity: Option<Sensitivity>,
    /// Accuracy against size for the budgets that the user listed.
    pub front: Vec<FrontPoint>,
}

impl SearchReport {
    /// The candidate to take: the most accurate, after fine-tuning where it had any; of equals the
    /// one of fewer bytes, then the first.
    pub fn best(&self) -> Option<&Candidate> {
        let figure = |candidate: &Candidate| candidate.top1_after.unwrap_or(candidate.top1_before);
        let better = |other: &Candidate, best: &Candidate| {
            let size = best.bytes.cmp(&other.bytes);
            figure(other).total_cmp(&figure(best)).then(size).is_gt()
        };
        self.candidates.iter().reduce(|best, other| if better(other, best) { other } else { best })
    }
}

/// An allocation of bits.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Candidate {
    /// `uniform`, `sensitivity` or `rl`.
    pub method: String,
    /// Bits of each layer.
    pub bits: Vec<u32>,
    /// Of the weights of these layers as stored, with the ranges of buckets.
    pub bytes: u64,
    /// Accuracy before fine-tuning, batch-norm statistics re-estimated.
    pub top1_before: f64,
    /// After the fine-tuning that all candidates get alike; `None`: not fine-tuned.
    pub top1_after: Option<f64>,
}

/// One roll-out of the agent.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RolloutReport {
    /// Bits of each layer, as the agent chose them.
    pub bits: Vec<u32>,
    /// Accuracy, top-1 or (ILSVRC-12) top-5.
    pub reward: f64,
    /// The best reward up to here.
    pub best: f64,
    /// Images that the reward was measured on: fewer than all where it could not become the best
    /// any more.
    pub images: u64,
}

/// How much the loss grows when one layer alone is quantized: the loss against the full-precision
/// network's answers.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Sensitivity {
    /// Bits of the columns.
    pub bits: Vec<u32>,
    /// `[layer][column]`: mean Kullback–Leibler divergence from the full-precision network's
    /// answers with that layer at those bits: what the cross-entropy against these answers grows
    /// by.
    pub loss: Vec<Vec<f64>>,
}

/// One budget of the front.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct FrontPoint {
    /// The budget: bits of all layers together ≤ number of weights × this.
    pub equivalent_bits: f64,
    /// As [`Candidate::method`].
    pub method: String,
    /// Bits of each layer.
    pub bits: Vec<u32>,
    /// As [`Candidate::bytes`].
    pub bytes: u64,
    /// Accuracy without fine-tuning, batch-norm statistics re-estimated.
    pub top1: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accuracy_decides_then_size_then_order() {
        let candidate = |method: &str, top1_before, top1_after, bytes| Candidate {
            method: method.into(),
            bytes,
            top1_before,
            top1_after,
            ..Candidate::default()
        };
        let best =
            |candidates| SearchReport { candidates, ..SearchReport::default() }.best().map(|best| best.method.clone());
        assert_eq!(best(vec![]), None);
        assert_eq!(best(vec![candidate("a", 0.8, None, 1), candidate("b", 0.9, None, 2)]).as_deref(), Some("b"));
        let tuned = vec![candidate("a", 0.9, Some(0.91), 1), candidate("b", 0.5, Some(0.92), 2)];
        assert_eq!(best(tuned).as_deref(), Some("b"));
        let equal = vec![candidate("a", 0.9, None, 3), candidate("b", 0.9, None, 2), candidate("c", 0.9, None, 2)];
        assert_eq!(best(equal).as_deref(), Some("b"));
    }
}
