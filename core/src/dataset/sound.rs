//! What a data set says of itself is checked once, where it comes over the plugin boundary:
//! everything behind that computes with it.

use super::DatasetInfo;
use crate::error::{Error, Result};

/// Pixels along a side, channels, classes: beyond this it is a mistake, and buffers of that size
/// would not fit into memory.
const MOST_OF_A_SIDE: usize = 1 << 16;
/// Bytes of an image.
const MOST_BYTES: usize = 1 << 28;
/// Images of a split: an index has 32 bits.
const MOST_IMAGES: u64 = u32::MAX as u64;
const MOST_CLASSES: usize = 1 << 20;
/// Characters of a name.
const LONGEST_NAME: usize = 200;

impl DatasetInfo {
    /// That the description can be computed with: a shape of a sane size, at least one class, a
    /// mean and a positive standard deviation for each channel, all finite, and counts that fit
    /// each other. A count of 0 is allowed: a data set may lack its training images.
    ///
    /// # Errors
    /// Says which part is wrong, with its value.
    pub fn check(&self) -> Result<()> {
        match self.problem() {
            None => Ok(()),
            Some(problem) => Err(Error::failed(format!(
                "the data set {} describes itself wrongly: {problem}; its plugin has to be mended",
                shown(&self.name)
            ))),
        }
    }

    fn problem(&self) -> Option<String> {
        if let Some(problem) = name_problem(&self.name) {
            return Some(format!("its name {problem}"));
        }
        let size = self.shape.iter().try_fold(1_usize, |size, side| size.checked_mul(*side));
        let sane = self.shape.iter().all(|side| (1..=MOST_OF_A_SIDE).contains(side));
        if !sane || size.is_none_or(|size| size > MOST_BYTES) {
            let shape = self.shape;
            return Some(format!("its images have the shape {shape:?}; each side is 1 to {MOST_OF_A_SIDE}"));
        }
        if self.labels.is_empty() || self.labels.len() > MOST_CLASSES {
            let count = self.labels.len();
            return Some(format!("it names {count} classes; 1 to {MOST_CLASSES} are possible"));
        }
        if let Some((label, name)) = self.labels.iter().enumerate().find(|(_, name)| has_control(name)) {
            return Some(format!("the name of class {label} holds control characters: {name:?}"));
        }
        self.normalisation_problem().or_else(|| self.count_problem())
    }

    fn normalisation_problem(&self) -> Option<String> {
        let channels = self.shape[0];
        for (what, numbers) in [("mean", &self.mean), ("std", &self.std)] {
            if numbers.len() != channels {
                return Some(format!("`{what}` has {} numbers for {channels} channels", numbers.len()));
            }
            if let Some((channel, number)) = numbers.iter().enumerate().find(|(_, number)| !number.is_finite()) {
                return Some(format!("`{what}` of channel {channel} is {number}"));
            }
        }
        let (channel, number) = self.std.iter().enumerate().find(|(_, number)| **number <= 0.0)?;
        Some(format!("`std` of channel {channel} is {number}; it must be positive"))
    }

    fn count_problem(&self) -> Option<String> {
        let counts = [("training", self.train), ("validation", self.val), ("test", self.eval)];
        if let Some((what, count)) = counts.into_iter().find(|(_, count)| *count > MOST_IMAGES) {
            return Some(format!("it counts {count} {what} images; at most {MOST_IMAGES} are possible"));
        }
        let (train, val) = (self.train, self.val);
        (val > train).then(|| format!("it counts {val} validation images among {train} training images"))
    }
}

/// What is wrong with a name that people read and files hold; `None` for a good one.
fn name_problem(name: &str) -> Option<String> {
    match name {
        "" => Some("is empty".into()),
        name if has_control(name) => Some("holds control characters".into()),
        name if name.chars().count() > LONGEST_NAME => Some(format!("is longer than {LONGEST_NAME} characters")),
        _ => None,
    }
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

/// A name for a message: cut, and without control characters.
fn shown(name: &str) -> String {
    let cut: String = name.chars().take(LONGEST_NAME).collect();
    if has_control(&cut) { format!("{cut:?}") } else { format!("`{cut}`") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> DatasetInfo {
        DatasetInfo {
            name: "good".into(),
            shape: [3, 4, 4],
            labels: vec!["cat".into(), "dog".into()],
            mean: vec![125.0, 123.0, 114.0],
            std: vec![60.0; 3],
            train: 10,
            val: 5,
            eval: 4,
            stand_in: false,
            source: String::new(),
            classes_by_name: false,
            leaves_out: false,
        }
    }

    fn said(change: impl FnOnce(&mut DatasetInfo)) -> String {
        let mut info = info();
        change(&mut info);
        info.check().unwrap_err().to_string()
    }

    #[test]
    fn a_sound_description_passes() {
        info().check().unwrap();
        DatasetInfo { train: 0, val: 0, eval: 0, ..info() }.check().unwrap();
    }

    #[test]
    fn every_part_is_checked_and_named() {
        assert!(said(|info| info.name.clear()).contains("its name is empty"));
        let control = said(|info| info.name = "a\u{1b}[2J".into());
        assert!(control.contains("control characters") && !control.contains('\u{1b}'), "{control}");
        assert!(said(|info| info.name = "x".repeat(10_000)).len() < 500);
        assert!(said(|info| info.shape = [3, 0, 4]).contains("[3, 0, 4]"));
        assert!(said(|info| info.shape = [3, usize::MAX, 4]).contains("the shape"));
        assert!(said(|info| info.shape = [1 << 16, 1 << 16, 1]).contains("the shape"));
        assert!(said(|info| info.labels.clear()).contains("0 classes"));
        assert!(said(|info| info.labels[1] = "do\ng".into()).contains("class 1"));
        assert!(said(|info| info.mean = vec![1.0; 2]).contains("`mean` has 2 numbers for 3 channels"));
        assert!(said(|info| info.std = vec![1.0; 4]).contains("`std` has 4 numbers"));
        assert!(said(|info| info.mean[2] = f32::NAN).contains("`mean` of channel 2 is NaN"));
        assert!(said(|info| info.std[1] = f32::INFINITY).contains("`std` of channel 1 is inf"));
        assert!(said(|info| info.std[0] = 0.0).contains("`std` of channel 0 is 0"));
        assert!(said(|info| info.std[0] = -1.0).contains("must be positive"));
        assert!(said(|info| info.eval = u64::MAX).contains("18446744073709551615 test images"));
        assert!(said(|info| info.val = 11).contains("11 validation images among 10"));
    }
}
