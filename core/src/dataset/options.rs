//! The options that every data set has, declared in one place so that their names and meaning
//! cannot drift apart.

use crate::error::Result;
use crate::option::OptionSpec;
use crate::settings::Settings;
use std::ops::RangeInclusive;

/// What differs from data set to data set in the common options.
#[derive(Debug, Clone)]
pub struct CommonOptions {
    pub nb_classes: i64,
    pub classes: RangeInclusive<i64>,
    /// Defaults of the three sample counts.
    pub train: i64,
    pub val: i64,
    pub eval: i64,
    /// The most training and test images there are.
    pub train_max: i64,
    pub eval_max: i64,
    pub batch_size: i64,
    pub batch_size_eval: i64,
}

impl CommonOptions {
    /// The declarations.
    pub fn specs(&self) -> Vec<OptionSpec> {
        vec![
            OptionSpec::int("nb_classes", self.nb_classes, self.classes.clone(), "Number of classes."),
            OptionSpec::int(
                "nb_smpls_train",
                self.train,
                1..=self.train_max,
                "Number of training images; fewer than there are: the first of them, for quick runs.",
            ),
            OptionSpec::int(
                "nb_smpls_val",
                self.val,
                0..=self.train_max,
                "Number of training images kept apart for choosing among models; at most half of the training images are.",
            ),
            OptionSpec::int(
                "nb_smpls_eval",
                self.eval,
                1..=self.eval_max,
                "Number of test images; fewer than there are: the first of them, for quick runs.",
            ),
            OptionSpec::int("batch_size", self.batch_size, 1..=65_536, "Images in a training batch of one worker."),
            OptionSpec::int("batch_size_eval", self.batch_size_eval, 1..=65_536, "Images in an evaluation batch."),
            OptionSpec::switch("enbl_augment", true, "Random crops and flips of training images."),
        ]
    }
}

/// How many images of each set are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Training images, those for validation among them.
    pub train: u64,
    /// At most half of `train`.
    pub val: u64,
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
        let count = |key: &str, most: u64, what: &str| {
            let wanted: u64 = settings.get(key)?;
            match wanted <= most {
                true => Ok(wanted),
                false => Err(settings.invalid(key, &format!("there are only {most} {what} images"))),
            }
        };
        let train = count("nb_smpls_train", train_max, "training")?;
        let eval = count("nb_smpls_eval", eval_max, "test")?;
        let wanted = count("nb_smpls_val", train_max, "training")?;
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
    use crate::option::Value;

    fn settings(train: i64, val: i64, eval: i64) -> Settings {
        let options = CommonOptions {
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
        let mut settings = Settings::defaults([("cifar10", options.specs())]);
        settings.derive("nb_smpls_train", Value::Int(train), "test");
        settings.derive("nb_smpls_val", Value::Int(val), "test");
        settings.derive("nb_smpls_eval", Value::Int(eval), "test");
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
