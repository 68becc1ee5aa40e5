//! The data set `cifar10`: Krizhevsky's 60,000 images of 32×32 pixels in ten classes, from the
//! binary version's files.

mod check;
mod files;

use files::{Files, LABELS, RECORDS, SHAPE};
use pocketflow::Result;
use pocketflow::dataset::augment::PadCropFlip;
use pocketflow::dataset::check::{CheckReport, Progress};
use pocketflow::dataset::images::Images;
use pocketflow::dataset::options::{Counts, DatasetOptions, Defaults};
use pocketflow::dataset::pass::Pass;
use pocketflow::dataset::{Batches, Dataset, DatasetInfo, Shard, Split};
use pocketflow::option::{HostOptions, OptionSpec};
use pocketflow::plugin::{About, Plugin};
use pocketflow::settings::Settings;
use std::sync::{Arc, Mutex, PoisonError};

const TRAIN_MAX: u64 = 5 * RECORDS;
const EVAL_MAX: u64 = RECORDS;
/// Of the training images, by channel.
const MEAN: [f32; 3] = [125.3, 123.0, 113.9];
const STD: [f32; 3] = [63.0, 62.1, 66.7];
/// The mean, so that padding is near 0 after normalisation.
const PADDING: [u8; 3] = [125, 123, 114];
/// Pixels on each side.
const PAD: usize = 4;

pocketflow::plugin! { dataset "cifar10" => Cifar10 }

/// CIFAR-10. Files are found when it is made, and read when a split that needs them is first
/// opened; what was read is shared by all passes (3 KiB an image).
pub struct Cifar10 {
    files: Files,
    counts: Counts,
    augment: Option<Arc<PadCropFlip>>,
    training: Mutex<Option<Arc<dyn Images>>>,
    test: Mutex<Option<Arc<dyn Images>>>,
}

impl Plugin for Cifar10 {
    const ABOUT: About = About {
        aliases: &[],
        line: "CIFAR-10: 60,000 images of 32x32 pixels in 10 classes, from the binary version's files in data_dir",
        datasets: &[],
    };

    fn options() -> Vec<OptionSpec> {
        DatasetOptions::specs(&Defaults {
            nb_classes: LABELS.len() as i64,
            classes: LABELS.len() as i64..=LABELS.len() as i64,
            train: TRAIN_MAX as i64,
            val: 5_000,
            eval: EVAL_MAX as i64,
            train_max: TRAIN_MAX as i64,
            eval_max: EVAL_MAX as i64,
            batch_size: 128,
            batch_size_eval: 100,
        })
    }

    fn configure(settings: &Settings) -> Result<Self> {
        let counts = Counts::read(settings, TRAIN_MAX, EVAL_MAX)?;
        let augment = settings.get(DatasetOptions::enbl_augment())?;
        let files = Files::find(&settings.get(HostOptions::data_dir().needed())?)?;
        Ok(Self {
            files,
            counts,
            augment: augment.then(|| Arc::new(PadCropFlip::new(SHAPE, PAD, &PADDING))),
            training: Mutex::default(),
            test: Mutex::default(),
        })
    }
}

impl Cifar10 {
    /// The images that a split is made of, read once.
    fn images(&self, split: Split) -> Result<Arc<dyn Images>> {
        let held = if split == Split::Eval { &self.test } else { &self.training };
        // A reader that panicked left nothing half-made behind: the option is set last.
        let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(images) = &*held {
            return Ok(images.clone());
        }
        let images: Arc<dyn Images> = Arc::new(match split {
            Split::Eval => self.files.test(self.counts.eval)?,
            _ => self.files.training(self.counts.train)?,
        });
        Ok(held.insert(images).clone())
    }
}

impl Dataset for Cifar10 {
    fn info(&self) -> DatasetInfo {
        describe(&self.counts, format!("binary files in {}", self.files.folder().display()))
    }

    fn open(&self, split: Split, shard: Shard, seed: u64) -> Result<Box<dyn Batches>> {
        let images = self.images(split)?;
        Ok(Box::new(Pass::open(images, &self.counts, split, shard, seed, self.augment.clone())?))
    }

    fn describe(_: &Settings) -> Result<DatasetInfo> {
        Ok(describe(&Counts { train: 0, val: 0, eval: 0 }, "without images".into()))
    }

    fn check(settings: &Settings, progress: Progress<'_>) -> Result<CheckReport> {
        check::check(&settings.get(HostOptions::data_dir().needed())?, progress)
    }
}

fn describe(counts: &Counts, source: String) -> DatasetInfo {
    DatasetInfo::new("cifar10", SHAPE, LABELS.map(str::to_owned).into(), MEAN.into(), STD.into())
        .counts(counts.train, counts.val, counts.eval)
        .source(source)
}
