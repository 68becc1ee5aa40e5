//! Accuracy and decisions of a file in a runtime.

use super::images::Images;
use pocketflow::Result;
use pocketflow_runtime::Runtime;
use serde::Serialize;
use std::time::Instant;

/// What a file made of images. Fractions are 0–1.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Measured {
    pub images: u64,
    pub top1: f64,
    pub top5: f64,
    /// Of one image with its preparation, in milliseconds.
    pub milliseconds: f64,
    /// The class of each image, in order.
    #[serde(skip)]
    pub classes: Vec<u32>,
    /// Outputs of all images one after another, as real numbers.
    #[serde(skip)]
    pub outputs: Vec<f32>,
}

/// Runs all of `images`.
///
/// # Errors
/// The data set's and the runtime's.
pub fn measure(runtime: &mut dyn Runtime, images: &mut Images) -> Result<Measured> {
    let mut made = Measured::default();
    let mut logits = Vec::new();
    let mut seconds = 0.0;
    while let Some((pixels, label)) = images.next_image()? {
        let start = Instant::now();
        runtime.infer(pixels, &mut logits)?;
        seconds += start.elapsed().as_secs_f64();
        let rank = rank(&logits, label as usize);
        made.top1 += f64::from(u8::from(rank == Some(0)));
        made.top5 += f64::from(u8::from(rank.is_some_and(|rank| rank < 5)));
        made.classes.push(top(&logits));
        made.outputs.extend_from_slice(&logits);
        made.images += 1;
    }
    if made.images > 0 {
        let n = made.images as f64;
        (made.top1, made.top5, made.milliseconds) = (made.top1 / n, made.top5 / n, 1e3 * seconds / n);
    }
    Ok(made)
}

/// The first of the largest.
fn top(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (class, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = class;
        }
    }
    best as u32
}

/// How many classes come before `label`; `None` for a label that is no class. Of equal ones, the
/// earlier comes first.
fn rank(logits: &[f32], label: usize) -> Option<usize> {
    let own = *logits.get(label)?;
    let before = |(class, logit): &(usize, &f32)| **logit > own || (**logit == own && *class < label);
    Some(logits.iter().enumerate().filter(before).count())
}

/// The share of images on which two decide alike; `None` where there is nothing to compare.
pub fn agreement(one: &[u32], other: &[u32]) -> Option<f64> {
    let count = one.len().min(other.len());
    let same = one.iter().zip(other).filter(|(one, other)| one == other).count();
    (count > 0).then(|| same as f64 / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_and_ties() {
        let logits = [0.5, 2.0, 2.0, -1.0];
        assert_eq!(top(&logits), 1);
        assert_eq!([0, 1, 2, 3, 4].map(|label| rank(&logits, label)), [Some(2), Some(0), Some(1), Some(3), None]);
    }

    #[test]
    fn agreement_is_over_what_both_have_seen() {
        assert_eq!(agreement(&[1, 2, 3], &[1, 0]), Some(0.5));
        assert_eq!(agreement(&[], &[1]), None);
    }
}
