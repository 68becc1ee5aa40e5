//! The options that every data set has, declared in one place so that their names and meaning
//! cannot drift apart.

use crate::error::Result;
use crate::option::Key;
use crate::settings::Settings;
use std::ops::RangeInclusive;

/// What differs from data set to data set in these options.
#[derive(Debug, Clone)]
pub struct Defaults {
    /// Default of `nb_classes`.
    pub nb_classes: i64,
    /// Numbers of classes that `nb_classes` takes.
    pub classes: RangeInclusive<i64>,
    /// The three sample counts.
    pub train: i64,
    /// Default of `nb_smpls_val`; 0 keeps no images apart.
    pub val: i64,
    /// Default of `nb_smpls_eval`.
    pub eval: i64,
    /// The most training and test images there are.
    pub train_max: i64,
    /// Test images there are: the most that `nb_smpls_eval` takes.
    pub eval_max: i64,
    /// Default of `batch_size`.
    pub batch_size: i64,
    /// Default of `batch_size_eval`.
    pub batch_size_eval: i64,
}

crate::options! {
    /// The options that every data set has.
    pub struct DatasetOptions(own: &Defaults) {
        /// Number of classes.
        pub nb_classes: u32 = int("nb_classes", own.nb_classes, own.classes.clone()),
        /// Number of training images; fewer than there are: the first of them, for quick runs.
        pub nb_smpls_train: u64 = int("nb_smpls_train", own.train, 1..=own.train_max),
        /// Number of training images kept apart for choosing among models; at most half of the
        /// training images are.
        pub nb_smpls_val: u64 = int("nb_smpls_val", own.val, 0..=own.train_max),
        /// Number of test images; fewer than there are: the first of them, for quick runs.
        pub nb_smpls_eval: u64 = int("nb_smpls_eval", own.eval, 1..=own.eval_max),
        /// Images in a training batch of one worker.
        pub batch_size: usize = int("batch_size", own.batch_size, 1..=65_536),
        /// Images in an evaluation batch.
        pub batch_size_eval: usize = int("batch_size_eval", own.batch_size_eval, 1..=65_536),
        /// Random crops and flips of training images.
        pub enbl_augment: bool = switch("enbl_augment", true),
    }
}

/// How many images of each set are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Training images, those for validation among them.
    pub train: u64,
    /// At most half of `train`.
    pub val: u64,
    /// Test images.
    pub eval: u64,
}

impl Counts {
    /// Reads the three counts. `nb_smpls_val` is cut to half of the training images, with a
    /// warning, so that a quick run needs to set one option only.
    ///
    /// # Errors
    /// Counts above `train_max` or `eval_max`, the numbers of images there are; a setting that is
    /// missing or no number.
    pub fn read(settings: &Settings, train_max: u64, eval_max: u64) -> Result<Self> {
        let count = |key: Key<u64>, most: u64, what: &str| {
            let wanted = settings.get(key)?;
            match wanted <= most {
                true => Ok(wanted),
                false => Err(settings.invalid(&key, &format!("there are only {most} {what} images"))),
            }
        };
        let train = count(DatasetOptions::nb_smpls_train(), train_max, "training")?;
        let eval = count(DatasetOptions::nb_smpls_eval(), eval_max, "test")?;
        let wanted = count(DatasetOptions::nb_smpls_val(), train_max, "training")?;
        let val = wanted.min(train / 2);
        if val < wanted {
            tracing::warn!("nb_smpls_val: {val} images instead of {wanted}, half of the {train} training images");
        }
        Ok(Self { train, val, eval })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(train: i64, val: i64, eval: i64) -> Settings {
        let own = Defaults {
            nb_classes: 10,
            classes: 10..=10,
            train: 500,
            val: 50,
            eval: 100,
            train_max: 500,
            eval_max: 100,
            batch_size: 128,
            batch_size_eval: 100,
        };
        let mut settings = Settings::defaults([("cifar10", DatasetOptions::specs(&own))]);
        settings.derive(&DatasetOptions::nb_smpls_train(), train, "test");
        settings.derive(&DatasetOptions::nb_smpls_val(), val, "test");
        settings.derive(&DatasetOptions::nb_smpls_eval(), eval, "test");
        settings
    }

    #[test]
    fn reads_counts_and_keeps_half_for_training() {
        let read = |train, val, eval| Counts::read(&settings(train, val, eval), 500, 100).unwrap();
        assert_eq!(read(500, 50, 100), Counts { train: 500, val: 50, eval: 100 });
        assert_eq!(read(61, 50, 1), Counts { train: 61, val: 30, eval: 1 });
        assert_eq!(read(1, 50, 1), Counts { train: 1, val: 0, eval: 1 });
    }

    #[test]
    fn more_than_there_are_is_an_error_with_its_origin() {
        let message = |train, val, eval| Counts::read(&settings(train, val, eval), 500, 100).unwrap_err().to_string();
        assert_eq!(message(501, 50, 100), "`nb_smpls_train` = 501 (derived: test): there are only 500 training images");
        assert_eq!(message(500, 501, 100), "`nb_smpls_val` = 501 (derived: test): there are only 500 training images");
        assert_eq!(message(500, 50, 101), "`nb_smpls_eval` = 101 (derived: test): there are only 100 test images");
    }

    #[test]
    fn defaults_are_in_range() {
        for (key, setting) in settings(500, 50, 100).iter() {
            assert!(setting.value.is_some(), "{key}");
        }
    }
}
