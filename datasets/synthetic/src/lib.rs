//! The data set `synthetic`: a stand-in made on the fly where the real images are not at hand, in
//! the shape of the data set that it replaces. Learnable, but not trivial, so that what a learner
//! does to a network shows in its accuracy; the same in every run and on every machine. Its figures
//! say nothing about the real data.

mod draw;
mod generated;
mod look;
mod paint;

use generated::{Generated, Labels, Set};
use pocketflow::Result;
use pocketflow::dataset::augment::PadCropFlip;
use pocketflow::dataset::images::{Images, image_bytes};
use pocketflow::dataset::options::{Counts, DatasetOptions, Defaults};
use pocketflow::dataset::pass::Pass;
use pocketflow::dataset::{Batches, Dataset, DatasetInfo, Shard, Split};
use pocketflow::net::options::ImageOptions;
use pocketflow::option::{Choice, HostOptions, OptionSpec};
use pocketflow::plugin::{About, Plugin};
use pocketflow::settings::{Origin, Settings};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};

/// A set of images up to this size is painted once and kept; a larger one is painted image by
/// image.
const KEPT_BYTES: u64 = 256 << 20;
/// Height and width that images can be made in, as those of ilsvrc12.
const SIZES: RangeInclusive<usize> = 8..=2048;
/// There is no natural limit; this one keeps typing errors from running for days.
const COUNT_MAX: u64 = 10_000_000;
/// Of the training images, by channel, in either shape.
const MEAN: f32 = 127.5;
const STD: f32 = 40.0;
const PADDING: [u8; 3] = [128; 3];

pocketflow::plugin! { dataset "synthetic" => Synthetic }

pocketflow::choice! {
    /// The data set that is imitated.
    enum Original {
        Cifar10 = "cifar10",
        Ilsvrc12 = "ilsvrc12",
        Folder = "folder",
    }
}

pocketflow::options! {
    /// The option that this data set has beside those of every one.
    struct Options {
        /// Shape of the images and number of classes where the data set is not standing in for a
        /// certain one: cifar10 (32x32, 10 classes), ilsvrc12 (224x224 or the net's image_size,
        /// 1001 classes unless nb_classes is set, label 0 unused) or folder (the net's image_size
        /// and image_channels, nb_classes).
        shape: Original = one_of("synthetic_shape", Original::Cifar10),
    }
}

impl Original {
    const NAMES: [&'static str; 3] = [Self::WORDS[0].0, Self::WORDS[1].0, Self::WORDS[2].0];

    /// The one that the host asks for, or that the plugin's own option names.
    fn read(settings: &Settings) -> Result<Self> {
        match settings.get(HostOptions::stand_in_for())? {
            Some(name) => Self::of_word(&name).ok_or_else(|| {
                let problem = format!("synthetic can stand in for {}", Self::NAMES.join(", "));
                settings.invalid(&HostOptions::stand_in_for(), &problem)
            }),
            None => settings.get(Options::shape()),
        }
    }

    /// Height and width in pixels: the original's, or where photographs are scaled anyway, those
    /// that the net takes.
    fn size(self, settings: &Settings) -> Result<usize> {
        match (self, settings.get(ImageOptions::image_size().optional())?) {
            (Self::Cifar10, _) => Ok(32),
            (_, None) => Ok(224),
            (_, Some(size)) if SIZES.contains(&(size as usize)) => Ok(size as usize),
            (_, Some(_)) => {
                let problem = format!("images can be made {} to {} pixels wide", SIZES.start(), SIZES.end());
                Err(settings.invalid(&ImageOptions::image_size(), &problem))
            }
        }
    }

    /// The original's, or those that the net takes where photographs have no certain ones.
    fn channels(self, settings: &Settings) -> Result<usize> {
        match self {
            Self::Cifar10 | Self::Ilsvrc12 => Ok(3),
            Self::Folder => ImageOptions::channels(settings),
        }
    }

    /// The labels under `nb_classes`. Where nobody set it, the original's number: the option can
    /// declare only one default.
    fn labels(self, settings: &Settings) -> Result<Labels> {
        let background = self == Self::Ilsvrc12;
        let key = DatasetOptions::nb_classes();
        let by_default = settings.entry(&key).is_some_and(|entry| matches!(entry.origin, Origin::Default { .. }));
        let count = match by_default && background {
            true => 1 + look::CLASSES_MAX,
            false => settings.get(key)?.into(),
        };
        let (least, most) = (2 + u64::from(background), look::CLASSES_MAX + u64::from(background));
        if !(least..=most).contains(&count) {
            let problem = format!("in the shape of {} there can be {least} to {most} classes", self.word());
            return Err(settings.invalid(&key, &problem));
        }
        Ok(Labels { count, background })
    }
}

/// The stand-in. Images are painted when a split that needs them is first opened.
pub struct Synthetic {
    original: Original,
    /// Height and width in pixels.
    size: usize,
    channels: usize,
    labels: Labels,
    counts: Counts,
    augment: Option<Arc<PadCropFlip>>,
    training: Mutex<Option<Arc<dyn Images>>>,
    test: Mutex<Option<Arc<dyn Images>>>,
}

impl Plugin for Synthetic {
    const ABOUT: About = About {
        aliases: &[],
        line: "stand-in for a data set that is not at hand: striped objects made on the fly, deterministic and learnable",
        datasets: &Original::NAMES,
    };

    fn options() -> Vec<OptionSpec> {
        let own = Defaults {
            nb_classes: 10,
            classes: 2..=1 + look::CLASSES_MAX as i64,
            train: 5_000,
            val: 500,
            eval: 1_000,
            train_max: COUNT_MAX as i64,
            eval_max: COUNT_MAX as i64,
            batch_size: 128,
            batch_size_eval: 100,
        };
        [DatasetOptions::specs(&own), Options::specs()].concat()
    }

    fn configure(settings: &Settings) -> Result<Self> {
        let original = Original::read(settings)?;
        let labels = original.labels(settings)?;
        let counts = Counts::read(settings, COUNT_MAX, COUNT_MAX)?;
        let (size, channels) = (original.size(settings)?, original.channels(settings)?);
        let augment = settings.get(DatasetOptions::enbl_augment())?;
        // An eighth of the image on each side, as CIFAR-10's four pixels of 32.
        let augment = augment.then(|| Arc::new(PadCropFlip::new([channels, size, size], size / 8, &PADDING)));
        Ok(Self {
            original,
            size,
            channels,
            labels,
            counts,
            augment,
            training: Mutex::default(),
            test: Mutex::default(),
        })
    }
}

impl Synthetic {
    /// The images that a split is made of, kept if they are not too many.
    fn images(&self, split: Split) -> Result<Arc<dyn Images>> {
        let (held, set, count) = match split {
            Split::Eval => (&self.test, Set::Test, self.counts.eval),
            _ => (&self.training, Set::Train, self.counts.train),
        };
        let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(images) = &*held {
            return Ok(images.clone());
        }
        let generated = Generated { size: self.size, channels: self.channels, labels: self.labels, set, count };
        let images: Arc<dyn Images> = match count * image_bytes(generated.shape()) as u64 {
            bytes if bytes <= KEPT_BYTES => Arc::new(generated.in_memory()?),
            _ => Arc::new(generated),
        };
        Ok(held.insert(images).clone())
    }
}

impl Dataset for Synthetic {
    fn info(&self) -> DatasetInfo {
        let (size, channels) = (self.size, self.channels);
        let (mean, std) = (vec![MEAN; channels], vec![STD; channels]);
        DatasetInfo::new("synthetic", [channels, size, size], self.labels.names(), mean, std)
            .counts(self.counts.train, self.counts.val, self.counts.eval)
            .stand_in(true)
            .source(format!(
                "synthetic images in the shape of {}, made on the fly; not real data",
                self.original.word()
            ))
    }

    fn open(&self, split: Split, shard: Shard, seed: u64) -> Result<Box<dyn Batches>> {
        let images = self.images(split)?;
        Ok(Box::new(Pass::open(images, &self.counts, split, shard, seed, self.augment.clone())?))
    }
}
