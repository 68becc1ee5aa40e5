//! The data set `folder`: photographs of one's own, in a folder for each class. Images are read in
//! place and decoded by threads ahead of the consumer; classes are known by their names.

mod augment;
mod check;
mod layout;
mod share;

use augment::{Augment, Prepare};
use layout::{Found, Set, Sets};
use pocketflow::dataset::check::{CheckReport, Progress};
use pocketflow::dataset::options::{Counts, DatasetOptions, Defaults};
use pocketflow::dataset::order::pass_order;
use pocketflow::dataset::{Batches, Dataset, DatasetInfo, Shard, Split};
use pocketflow::net::options::ImageOptions;
use pocketflow::option::{HostOptions, OptionSpec};
use pocketflow::plugin::{About, Plugin};
use pocketflow::settings::{Origin, Settings};
use pocketflow::{Error, Result};
use pocketflow_pictures::pass::{Damage, Pass};
use pocketflow_pictures::reader::{Channels, Reader};
use pocketflow_pictures::source::Source;
use std::sync::Arc;
use std::thread;

const COUNT_MAX: i64 = 100_000_000;
/// Images for choosing among models, where nobody said how many; at most a tenth of all.
const VAL: i64 = 1_000;
/// Height and width where no net asks for others.
const SIZE: u32 = 224;
/// Mean and standard deviation of the pixels where nobody measured them: the input is -1 to 1.
const MIDDLE: f32 = 127.5;

pocketflow::plugin! { dataset "folder" => Folder }

pocketflow::options! {
    /// The options that this data set has beside those of every one.
    struct Options {
        /// Of a folder that nobody divided into train and val: the share of each class's images
        /// that are for the test. Which ones depends on their names alone.
        val_share: f64 = float("folder_val_share", 0.2, 0.0..=0.9),
        /// What is done to training images, which otherwise are as in the test, the square in the
        /// middle: none; flip, mirrored or not; crop, shifted by up to an eighth, mirrored or not;
        /// inception, random crops of 8-100 % of the area, mirrored or not. auto: crop up to 64
        /// pixels, inception beyond.
        augment: Augment = one_of("folder_augment", Augment::Auto),
        /// Evaluate without damaged images, and use a folder in which classes are empty or files
        /// are no images; otherwise both are errors. Damaged training images are replaced by others
        /// in any case.
        allow_damaged: bool = switch("folder_allow_damaged", false),
    }
}

/// Photographs in folders. They are found, not read, when it is made.
pub struct Folder {
    training: Option<Arc<dyn Source>>,
    test: Option<Arc<dyn Source>>,
    /// What was found, for people.
    place: String,
    classes: Vec<String>,
    counts: Counts,
    prepare: Arc<Prepare>,
    size: u32,
    channels: Channels,
    augment: bool,
    allow_damaged: bool,
    threads: usize,
}

impl Plugin for Folder {
    const ABOUT: About = About {
        aliases: &["image_folder"],
        line: "photographs of one's own: a folder for each class, in data_dir/train and data_dir/val or in data_dir",
        datasets: &[],
    };

    fn options() -> Vec<OptionSpec> {
        let own = Defaults {
            nb_classes: 2,
            classes: 2..=1 << 16,
            train: COUNT_MAX,
            val: VAL,
            eval: COUNT_MAX,
            train_max: COUNT_MAX,
            eval_max: COUNT_MAX,
            batch_size: 64,
            batch_size_eval: 100,
        };
        [DatasetOptions::specs(&own), Options::specs()].concat()
    }

    fn configure(settings: &Settings) -> Result<Self> {
        let Options { val_share, augment, allow_damaged } = Options::read(settings)?;
        let size = settings.get(ImageOptions::image_size().optional())?.unwrap_or(SIZE);
        let channels = ImageOptions::channels(settings)?;
        let threads = threads(settings)?;
        let data_dir = settings.get(HostOptions::data_dir().needed())?;
        let Found { classes, sets } = layout::open(&data_dir, threads)?;
        if let [only] = &classes[..] {
            let place = data_dir.display();
            return Err(Error::failed(format!(
                "{place}: `{only}` is the only class; a classifier needs two: add a folder with images of another"
            )));
        }
        expect_classes(settings, classes.len())?;
        for (_, set) in sets.named() {
            refuse_problems(set, allow_damaged)?;
        }
        let place = describe(&classes, &sets, val_share);
        let [training, test]: [Option<Arc<dyn Source>>; 2] = match sets {
            Sets::Apart { training, validation } => {
                let source = |set: Option<Set>| set.map(|set| Arc::new(set.images) as Arc<dyn Source>);
                [source(training), source(validation)]
            }
            Sets::Together(set) => {
                let (training, test) = share::divide(set.images, val_share);
                [Some(Arc::new(training)), Some(Arc::new(test))]
            }
        };
        let count = |source: &Option<Arc<dyn Source>>| source.as_ref().map_or(0, |source| source.count());
        Ok(Self {
            counts: counts(settings, count(&training), count(&test))?,
            training,
            test,
            place,
            classes,
            prepare: Arc::new(Prepare::new(augment, size, channels)),
            size,
            channels: if channels == 1 { Channels::Grey } else { Channels::Rgb },
            augment: settings.get(DatasetOptions::enbl_augment())?,
            allow_damaged,
            threads,
        })
    }
}

fn threads(settings: &Settings) -> Result<usize> {
    let all = || thread::available_parallelism().map_or(1, |threads| threads.get());
    Ok(settings.get(HostOptions::threads().optional())?.filter(|threads| *threads > 0).unwrap_or_else(all))
}

/// That nobody asked for another number of classes. What the program derives, as from a model with
/// more classes, is not asked for: classes are matched by their names.
fn expect_classes(settings: &Settings, classes: usize) -> Result<()> {
    let key = DatasetOptions::nb_classes();
    let asked = settings
        .entry(&key)
        .is_some_and(|entry| !matches!(entry.origin, Origin::Default { .. } | Origin::Derived { .. }));
    match asked && settings.get(key)? as usize != classes {
        true => Err(settings.invalid(&key, &format!("there are folders of {classes} classes; leave it out"))),
        false => Ok(()),
    }
}

/// How many images are used: those asked for, or where nobody asked, those that there are.
fn counts(settings: &Settings, training: u64, test: u64) -> Result<Counts> {
    let mut settings = settings.clone();
    for (key, most) in [
        (DatasetOptions::nb_smpls_train(), training),
        (DatasetOptions::nb_smpls_eval(), test),
        (DatasetOptions::nb_smpls_val(), training / 10),
    ] {
        let by_default = settings.entry(&key).is_some_and(|entry| matches!(entry.origin, Origin::Default { .. }));
        // A set that is absent is an error only where it is opened: evaluation needs no training
        // images.
        if (by_default || training == 0 || test == 0) && settings.get(key)? > most {
            settings.derive(&key, most, "there are no more images");
        }
    }
    Counts::read(&settings, training, test)
}

fn refuse_problems(set: &Set, allow_damaged: bool) -> Result<()> {
    let Some(first) = set.problems.first() else { return Ok(()) };
    let more = match set.problems.len() - 1 {
        0 => String::new(),
        1 => " (and 1 more problem)".into(),
        more => format!(" (and {more} more problems)"),
    };
    if allow_damaged {
        tracing::warn!("the images are used without {first}{more}");
        return Ok(());
    }
    Err(Error::failed(format!("{first}{more}; mend it, or use the rest by --folder-allow-damaged")))
}

fn describe(classes: &[String], sets: &Sets, val_share: f64) -> String {
    let parts: Vec<String> = sets.named().iter().map(|(_, set)| set.describe()).collect();
    let divided = match sets {
        Sets::Apart { .. } => String::new(),
        Sets::Together(_) => format!(", {} % of each class for the test", val_share * 100.0),
    };
    format!("{} classes: {}{divided}", classes.len(), parts.join(", "))
}

impl Dataset for Folder {
    fn info(&self) -> DatasetInfo {
        let (channels, size) = (self.channels.count(), self.size as usize);
        let middle = vec![MIDDLE; channels];
        DatasetInfo::new("folder", [channels, size, size], self.classes.clone(), middle.clone(), middle)
            .counts(self.counts.train, self.counts.val, self.counts.eval)
            .classes_by_name()
            .leaves_out(self.allow_damaged)
            .source(format!("{}; augmentation {}", self.place, self.prepare.name()))
    }

    fn open(&self, split: Split, shard: Shard, seed: u64) -> Result<Box<dyn Batches>> {
        let (source, what) = match split {
            Split::Eval => (&self.test, "test"),
            _ => (&self.training, "training"),
        };
        let Some(source) = source else {
            return Err(Error::failed(format!("there are no {what} images ({})", self.place)));
        };
        let training = matches!(split, Split::Train | Split::Fit);
        let reader = Reader {
            source: source.clone(),
            cut: self.prepare.clone(),
            size: self.size,
            channels: self.channels,
            seed: (training && self.augment).then_some(seed),
        };
        let damage = match split {
            Split::Train | Split::Fit | Split::Plain => Damage::Replaced,
            Split::Val | Split::Eval if self.allow_damaged => Damage::LeftOut,
            Split::Val | Split::Eval => Damage::Error("evaluate without it by --folder-allow-damaged"),
        };
        let order = pass_order(&self.counts, split, shard, seed)?;
        Ok(Box::new(Pass::new(reader, order, damage, training, self.threads)))
    }

    fn check(settings: &Settings, progress: Progress<'_>) -> Result<CheckReport> {
        let data_dir = settings.get(HostOptions::data_dir().needed())?;
        check::check(&data_dir, threads(settings)?, progress)
    }
}
