//! Loss and accuracy of a running training, summed up on the device and read when they are shown.

use super::step::Found;
use tch::Tensor;

/// Sums since they were last taken.
#[derive(Default)]
pub struct Meter {
    sums: Option<[Tensor; 2]>,
    images: u64,
    steps: u64,
}

impl Meter {
    /// Adds a step of so many images.
    pub fn add(&mut self, found: Found, images: u64) {
        let Found { loss, hits } = found;
        self.sums = Some(match self.sums.take() {
            Some([losses, all]) => [losses + loss, all + hits],
            None => [loss, hits],
        });
        self.images += images;
        self.steps += 1;
    }

    /// Returns the mean loss and the share of images that were told right, 0–1; both 0 without
    /// steps.
    pub fn means(&self) -> (f64, f64) {
        let Some([losses, hits]) = &self.sums else { return (0.0, 0.0) };
        (losses.double_value(&[]) / self.steps as f64, hits.double_value(&[]) / self.images as f64)
    }
}
