//! Losses and hit counts of a batch.

use crate::torch_error;
use pocketflow::Result;
use tch::{Kind, Reduction, Tensor};

/// How much a teacher counts (Hinton et al. 2015, arXiv 1503.02531).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Distillation {
    /// `loss_w_dst`.
    pub weight: f64,
    /// `tempr_dst`.
    pub temperature: f64,
}

/// Mean softmax cross-entropy of `logits` `[n, classes]` and `labels` `[n]`.
///
/// # Errors
/// Labels beyond the classes.
pub fn cross_entropy(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    logits
        .f_cross_entropy_loss::<Tensor>(labels, None, Reduction::Mean, -100, 0.0)
        .map_err(|error| torch_error("cross-entropy (is a label beyond the classes of the net?)", &error))
}

/// Weighted cross-entropy of the softened outputs of teacher and student: `weight ·
/// H(softmax(teacher/T), softmax(student/T))`.
pub fn distillation(student: &Tensor, teacher: &Tensor, with: Distillation) -> Tensor {
    let target = (teacher / with.temperature).softmax(-1, Kind::Float);
    let log = (student / with.temperature).log_softmax(-1, Kind::Float);
    -(target * log).sum_dim_intlist([-1i64].as_slice(), false, Kind::Float).mean(Kind::Float) * with.weight
}

/// The classes of each image from the highest to the lowest of `logits` `[n, classes]`; of equal
/// ones, which quantized logits often are, the first comes first.
pub fn ranked(logits: &Tensor) -> Tensor {
    let (_, classes) = logits.detach().sort_stable(true, -1, true);
    classes
}

/// Mean Kullback–Leibler divergence of the answers `softmax(logits)` from others, given as
/// logarithms of their probabilities; both `[n, classes]`. It is what the cross-entropy against
/// those answers is above their own entropy: 0 for the same answers, and more for all others.
pub fn divergence(from: &Tensor, logits: &Tensor) -> f64 {
    let own = log_probabilities(logits);
    let each = (from.exp() * (from - own)).sum_dim_intlist([-1i64].as_slice(), false, Kind::Double);
    each.mean(Kind::Double).double_value(&[])
}

/// Of the classes, `[n, classes]`, in double precision: small divergences are differences of nearly
/// equal numbers.
pub fn log_probabilities(logits: &Tensor) -> Tensor {
    logits.log_softmax(-1, Kind::Double)
}

/// Returns how many of `labels` `[n]` are the highest, and among the `k` highest, of `logits` `[n,
/// classes]`.
pub fn hits(logits: &Tensor, labels: &Tensor, k: i64) -> (f64, f64) {
    let [first, among] = hit_counts(logits, labels, k).map(|count| count.double_value(&[]));
    (first, among)
}

/// As [`hits`], without waiting for the device: two scalars in double precision.
pub fn hit_counts(logits: &Tensor, labels: &Tensor, k: i64) -> [Tensor; 2] {
    let k = k.min(logits.size()[1]);
    let top = ranked(logits).narrow(-1, 0, k);
    let right = top.eq_tensor(&labels.unsqueeze(-1));
    [right.narrow(-1, 0, 1).sum(Kind::Double), right.sum(Kind::Double)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hits_by_hand() {
        let logits = Tensor::from_slice(&[0.1f32, 0.9, 0.5, 0.8, 0.2, 0.1]).view([2, 3]);
        let labels = Tensor::from_slice(&[2i64, 0]);
        assert_eq!(hits(&logits, &labels, 1), (1.0, 1.0));
        assert_eq!(hits(&logits, &labels, 2), (1.0, 2.0));
        assert_eq!(hits(&logits, &labels, 5), (1.0, 2.0));
    }

    #[test]
    fn of_equal_logits_the_first_counts() {
        let logits = Tensor::zeros([1, 100], (Kind::Float, tch::Device::Cpu));
        let hits_of = |label: i64| hits(&logits, &Tensor::from_slice(&[label]), 5);
        assert_eq!([hits_of(0), hits_of(4), hits_of(5)], [(1.0, 1.0), (0.0, 1.0), (0.0, 0.0)]);
    }

    #[test]
    fn divergence_by_hand() {
        let logits = |values: [f32; 2]| Tensor::from_slice(&values).view([1, 2]);
        let even = log_probabilities(&logits([1.0, 1.0]));
        // ½ ln(½ / ¾) + ½ ln(½ / ¼).
        let odd = logits([3f32.ln(), 0.0]);
        assert!((divergence(&even, &odd) - 0.5 * (4.0f64 / 3.0).ln()).abs() < 1e-7);
        assert_eq!(divergence(&log_probabilities(&odd), &odd), 0.0);
    }

    #[test]
    fn a_teacher_with_the_same_answers_has_no_gradient() {
        let student = Tensor::from_slice(&[0.3f32, -1.0, 2.0]).view([1, 3]).set_requires_grad(true);
        let with = Distillation { weight: 4.0, temperature: 4.0 };
        distillation(&student, &student.detach(), with).backward();
        assert!(student.grad().abs().max().double_value(&[]) < 1e-6);
    }
}
