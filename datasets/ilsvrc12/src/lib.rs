//! The data set `ilsvrc12`: the 1000 classes of the ImageNet challenge of 2012, from TFRecord
//! files, folders, or the original archives. Images are read in place and decoded by threads ahead
//! of the consumer; nothing is kept but where they lie.

mod archives;
mod check;
mod classes;
mod devkit;
mod example;
mod layout;
mod preprocess;
mod tfrecord;
mod truth;

pub use check::{Report, SetReport, check};
pub use pocketflow_pictures::source::Problem;

use classes::{Classes, OFFICIAL};
use layout::{Found, Opened};
use pocketflow::dataset::check::{CheckReport, Progress};
use pocketflow::dataset::options::{Counts, DatasetOptions, Defaults};
use pocketflow::dataset::order::pass_order;
use pocketflow::dataset::{Batches, Dataset, DatasetInfo, Shard, Split};
use pocketflow::net::options::ImageOptions;
use pocketflow::option::{HostOptions, Key, OptionSpec};
use pocketflow::plugin::{About, Plugin};
use pocketflow::settings::{Origin, Settings};
use pocketflow::{Error, Result};
use pocketflow_pictures::pass::{Damage, Pass};
use pocketflow_pictures::reader::{Channels, Reader};
use pocketflow_pictures::source::Source;
use preprocess::Preprocess;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

/// Images of the complete set.
const TRAIN: i64 = 1_281_167;
const EVAL: i64 = 50_000;
/// Other sets in the same forms may have more.
const COUNT_MAX: i64 = 100_000_000;
/// Height and width where no net asks for others.
const SIZE: u32 = 224;
const SIZES: std::ops::RangeInclusive<u32> = 8..=2048;

pocketflow::plugin! { dataset "ilsvrc12" => Ilsvrc12 }

pocketflow::choice! {
    /// How an image becomes the input.
    enum Preparation {
        Auto = "auto",
        Resnet = "resnet",
        Inception = "inception",
    }
}

pocketflow::options! {
    /// The options that this data set has beside those of every one.
    struct Options {
        /// How an image becomes the input. resnet: random crops of 8-100 % of the area; evaluation:
        /// the centre (224 of 256) of the scaled image; mean 123.68, 116.78, 103.94, std 58.393,
        /// 57.12, 57.375. inception: random crops of 5-100 %; evaluation: the central 87.5 %; mean
        /// and std 127.5. auto: inception for MobileNets but torchvision's.
        preparation: Preparation = one_of("ilsvrc12_preprocess", Preparation::Auto),
        /// A list of all classes, a WordNet id at the start of each line, for folders and archives
        /// that hold some of the classes only; unset: wnids.txt, LOC_synset_mapping.txt or
        /// synset_words.txt in data_dir.
        wnids: Option<PathBuf> = path("ilsvrc12_wnids", "").optional(),
        /// Evaluate without damaged images, and use a set of which files are missing or damaged;
        /// otherwise both are errors. Damaged training images are replaced by others in any case.
        allow_damaged: bool = switch("ilsvrc12_allow_damaged", false),
    }
}

/// The option of a net that says whose weights it is for, which decides what `auto` means.
const NET_STYLE: Key<Option<String>> = Key::new("mobilenet_style");

/// ILSVRC-12. Images are found, not read, when it is made: 12 to 28 bytes of memory for each.
pub struct Ilsvrc12 {
    training: Option<Arc<dyn Source>>,
    validation: Option<Arc<dyn Source>>,
    /// What was found, for people.
    place: String,
    labels: Vec<String>,
    counts: Counts,
    preprocess: Preprocess,
    size: u32,
    augment: bool,
    allow_damaged: bool,
    threads: usize,
}

impl Plugin for Ilsvrc12 {
    const ABOUT: About = About {
        aliases: &[],
        line: "ILSVRC-12: 1.3 million photographs in 1000 classes, from TFRecord files, folders or archives in data_dir",
        datasets: &[],
    };

    fn options() -> Vec<OptionSpec> {
        let own = Defaults {
            nb_classes: OFFICIAL as i64 + 1,
            classes: 2..=65_536,
            train: TRAIN,
            val: 10_000,
            eval: EVAL,
            train_max: COUNT_MAX,
            eval_max: COUNT_MAX,
            batch_size: 64,
            batch_size_eval: 100,
        };
        [DatasetOptions::specs(&own), Options::specs()].concat()
    }

    fn configure(settings: &Settings) -> Result<Self> {
        let preprocess = preprocess(settings)?;
        let size = image_size(settings)?;
        let threads = threads(settings)?;
        let nb_classes = settings.get(DatasetOptions::nb_classes())?;
        let allow_damaged = settings.get(Options::allow_damaged())?;
        let list = settings.get(Options::wnids())?;
        let data_dir = settings.get(HostOptions::data_dir().needed())?;
        let found = layout::open(&data_dir, list.as_deref(), nb_classes, threads)?;
        for opened in [&found.training, &found.validation].into_iter().flatten() {
            refuse_problems(opened, allow_damaged)?;
        }
        let count = |opened: &Option<Opened>| opened.as_ref().map_or(0, |opened| opened.source.count());
        let counts = counts(settings, count(&found.training), count(&found.validation))?;
        Ok(Self {
            place: describe(&found),
            labels: found.classes.names(nb_classes),
            training: found.training.map(|opened| opened.source),
            validation: found.validation.map(|opened| opened.source),
            counts,
            preprocess,
            size,
            augment: settings.get(DatasetOptions::enbl_augment())?,
            allow_damaged,
            threads,
        })
    }
}

fn preprocess(settings: &Settings) -> Result<Preprocess> {
    let net = settings.get(HostOptions::net())?.unwrap_or_default();
    let style = settings.get(NET_STYLE)?;
    Ok(match settings.get(Options::preparation())? {
        Preparation::Inception => Preprocess::Inception,
        Preparation::Auto if net.starts_with("mobilenet") && style.as_deref() != Some("torchvision") => {
            Preprocess::Inception
        }
        Preparation::Resnet | Preparation::Auto => Preprocess::Resnet,
    })
}

fn image_size(settings: &Settings) -> Result<u32> {
    let size = settings.get(ImageOptions::image_size().optional())?.unwrap_or(SIZE);
    match SIZES.contains(&size) {
        true => Ok(size),
        false => {
            let problem = format!("images can be made {} to {} pixels wide", SIZES.start(), SIZES.end());
            Err(settings.invalid(&ImageOptions::image_size(), &problem))
        }
    }
}

fn threads(settings: &Settings) -> Result<usize> {
    let all = || thread::available_parallelism().map_or(1, |threads| threads.get());
    Ok(settings.get(HostOptions::threads().optional())?.filter(|threads| *threads > 0).unwrap_or_else(all))
}

/// How many images are used: those asked for, or where nobody asked, those that there are.
fn counts(settings: &Settings, training: u64, validation: u64) -> Result<Counts> {
    let mut settings = settings.clone();
    for (key, most) in [
        (DatasetOptions::nb_smpls_train(), training),
        (DatasetOptions::nb_smpls_eval(), validation),
        (DatasetOptions::nb_smpls_val(), training / 2),
    ] {
        let by_default = settings.entry(&key).is_some_and(|entry| matches!(entry.origin, Origin::Default { .. }));
        // A set that is absent is an error only where it is opened: evaluation needs no training
        // images.
        if (by_default || most == 0) && settings.get(key)? > most {
            settings.derive(&key, most, "there are no more images");
        }
    }
    Counts::read(&settings, training, validation)
}

fn refuse_problems(opened: &Opened, allow_damaged: bool) -> Result<()> {
    let Some(first) = opened.problems.first() else {
        return match opened.source.count() {
            0 => Err(Error::failed(format!("{}: no images", opened.form.describe()))),
            _ => Ok(()),
        };
    };
    let more = match opened.problems.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} more problems)"),
    };
    if allow_damaged && opened.source.count() > 0 {
        tracing::warn!("the data set is used without {first}{more}");
        return Ok(());
    }
    Err(Error::failed(format!("{first}{more}; get it again, or use the rest by --ilsvrc12-allow-damaged")))
}

fn describe(found: &Found) -> String {
    let sets = [("training", &found.training), ("validation", &found.validation)];
    let mut parts: Vec<String> = sets
        .into_iter()
        .map(|(name, opened)| match opened {
            Some(opened) => format!("{name}: {}", opened.form.describe()),
            None => format!("{name}: absent"),
        })
        .collect();
    parts.extend(found.classes.note().map(str::to_owned));
    parts.join("; ")
}

impl Dataset for Ilsvrc12 {
    fn info(&self) -> DatasetInfo {
        DatasetInfo::new(
            "ilsvrc12",
            [3, self.size as usize, self.size as usize],
            self.labels.clone(),
            self.preprocess.mean().into(),
            self.preprocess.std().into(),
        )
        .counts(self.counts.train, self.counts.val, self.counts.eval)
        .source(format!("{}; preprocessing {}", self.place, self.preprocess.name()))
    }

    fn open(&self, split: Split, shard: Shard, seed: u64) -> Result<Box<dyn Batches>> {
        let (source, what) = match split {
            Split::Eval => (&self.validation, "validation"),
            _ => (&self.training, "training"),
        };
        let Some(source) = source else {
            return Err(Error::failed(format!("there are no {what} images ({})", self.place)));
        };
        let training = matches!(split, Split::Train | Split::Fit);
        let reader = Reader {
            source: source.clone(),
            cut: Arc::new(self.preprocess),
            size: self.size,
            channels: Channels::Rgb,
            seed: (training && self.augment).then_some(seed),
        };
        let damage = match split {
            Split::Train | Split::Fit | Split::Plain => Damage::Replaced,
            Split::Val | Split::Eval if self.allow_damaged => Damage::LeftOut,
            Split::Val | Split::Eval => Damage::Error("evaluate without it by --ilsvrc12-allow-damaged"),
        };
        let order = pass_order(&self.counts, split, shard, seed)?;
        Ok(Box::new(Pass::new(reader, order, damage, training, self.threads)))
    }

    fn describe(settings: &Settings) -> Result<DatasetInfo> {
        let (preprocess, size) = (preprocess(settings)?, image_size(settings)? as usize);
        let classes = match settings.get(Options::wnids())? {
            Some(list) => Classes::from_list(&list)?,
            None => Classes::default(),
        };
        Ok(DatasetInfo::new(
            "ilsvrc12",
            [3, size, size],
            classes.names(settings.get(DatasetOptions::nb_classes())?),
            preprocess.mean().into(),
            preprocess.std().into(),
        )
        .source(format!("without images; preprocessing {}", preprocess.name())))
    }

    fn check(settings: &Settings, progress: Progress<'_>) -> Result<CheckReport> {
        let list = settings.get(Options::wnids())?;
        let data_dir = settings.get(HostOptions::data_dir().needed())?;
        check::check(&data_dir, list.as_deref(), threads(settings)?, progress).map(CheckReport::from)
    }
}
