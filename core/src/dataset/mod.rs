//! The trait of a data set: what it is, and batches of images as bytes. Decoding and augmentation
//! happen here; the engine normalises.
//!
//! A data set that can give any image by its index implements [`images::Images`] and leaves the
//! rest to the submodules:
//!
//! | module | what it holds |
//! |---|---|
//! | [`options`] | the options that every data set has: classes, sample counts, batch sizes, augmentation |
//! | [`order`] | the random order of a pass, the choice of validation images, the part of a shard |
//! | [`check`] | what a complete check of a data set found |
//! | [`augment`] | pad, random crop, random flip |
//! | [`images`] | access to images by index, and a set of images held in memory |
//! | [`pass`] | [`Batches`] over any [`images::Images`] |
//! | [`counted`] | [`Batches`] that are compared with what the data set says of itself |

pub mod augment;
pub mod check;
pub mod counted;
pub mod images;
pub mod options;
pub mod order;
pub mod pass;
mod sound;

pub use crate::abi::Buffer;
use crate::error::{Error, ErrorKind, Result};
use crate::graph::Shape;
use crate::settings::Settings;
use check::{CheckReport, Progress};
use serde::{Deserialize, Serialize};

/// Which images. Closed: every data set gives all of them, so that another would need a new
/// interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// All training images, augmented, in a new random order for every seed; an incomplete last
    /// batch is left out, and all shards have equally many images, so that workers take equally
    /// many steps.
    Train,
    /// The training images without those of [`Split::Val`], as `Train`.
    Fit,
    /// `nb_smpls_val` training images, always the same, not augmented: for choosing among models.
    Val,
    /// The test images, not augmented, in file order: for the final figure only.
    Eval,
    /// The training images as `Eval` gives them, in a random order that depends on the seed: for
    /// calibration and re-estimation.
    Plain,
}

/// One part of a data set that is divided among workers: part `index` of `count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// Which part this is, `0..count`.
    pub index: u32,
    /// How many parts there are; 1 or more.
    pub count: u32,
}

impl Shard {
    /// The undivided data set.
    pub const WHOLE: Self = Self { index: 0, count: 1 };
}

/// What a data set is, as opened under its settings. [`DatasetInfo::new`] makes one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DatasetInfo {
    /// The plugin's name: `cifar10`.
    pub name: String,
    /// `[channels, height, width]` of an image.
    pub shape: Shape,
    /// Class names by label.
    pub labels: Vec<String>,
    /// Of the pixel values 0–255 of each channel: the network's input is `(pixel - mean) / std`.
    pub mean: Vec<f32>,
    /// As `mean`, one number for each channel; positive.
    pub std: Vec<f32>,
    /// Number of images of [`Split::Train`], [`Split::Val`] and [`Split::Eval`].
    #[serde(default)]
    pub train: u64,
    /// Images of [`Split::Val`]; they are among those of [`Split::Train`].
    #[serde(default)]
    pub val: u64,
    /// Images of [`Split::Eval`].
    #[serde(default)]
    pub eval: u64,
    /// True where these are not the images that the name of the data set promises.
    #[serde(default)]
    pub stand_in: bool,
    /// For people: where it lies, or what it imitates.
    #[serde(default)]
    pub source: String,
    /// True where classes are known by their names alone: another folder of the same kind may have
    /// fewer of them, or number them otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub classes_by_name: bool,
    /// True where damaged images are left out of the passes that are not augmented, so that fewer
    /// may come than are counted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaves_out: bool,
}

impl DatasetInfo {
    /// A data set of this name, with images of the shape `[channels, height, width]`, the names of
    /// its classes, and mean and standard deviation of each channel. It has no images, is no
    /// stand-in and does not say where it lies, until the fields say otherwise.
    pub fn new(name: impl Into<String>, shape: Shape, labels: Vec<String>, mean: Vec<f32>, std: Vec<f32>) -> Self {
        Self {
            name: name.into(),
            shape,
            labels,
            mean,
            std,
            train: 0,
            val: 0,
            eval: 0,
            stand_in: false,
            source: String::new(),
            classes_by_name: false,
            leaves_out: false,
        }
    }

    /// The same with the numbers of images for training, of those for validation among them, and of
    /// test images.
    #[must_use]
    pub fn counts(self, train: u64, val: u64, eval: u64) -> Self {
        Self { train, val, eval, ..self }
    }

    /// The same, which may be a stand-in.
    #[must_use]
    pub fn stand_in(self, stand_in: bool) -> Self {
        Self { stand_in, ..self }
    }

    /// The same with what people are told of where it lies or what it imitates.
    #[must_use]
    pub fn source(self, source: impl Into<String>) -> Self {
        Self { source: source.into(), ..self }
    }

    /// The same, whose classes are known by their names alone.
    #[must_use]
    pub fn classes_by_name(self) -> Self {
        Self { classes_by_name: true, ..self }
    }

    /// The same, which leaves damaged images out of passes that are not augmented.
    #[must_use]
    pub fn leaves_out(self, leaves_out: bool) -> Self {
        Self { leaves_out, ..self }
    }

    /// Images in a split.
    pub fn samples(&self, split: Split) -> u64 {
        match split {
            Split::Train | Split::Plain => self.train,
            Split::Fit => self.train.saturating_sub(self.val),
            Split::Val => self.val,
            Split::Eval => self.eval,
        }
    }
}

/// Images and labels.
pub trait Dataset: Send + Sync {
    /// What the data set is: name, shape, classes, normalisation, numbers of images.
    fn info(&self) -> DatasetInfo;

    /// One pass over a split (or one shard of it). Order and augmentation depend on nothing but the
    /// arguments, so that a run can be repeated and resumed exactly.
    ///
    /// # Errors
    /// Files that are missing, cut or malformed; the message names the file.
    fn open(&self, split: Split, shard: Shard, seed: u64) -> Result<Box<dyn Batches>>;

    /// What it would say of itself were its images there: for weights that are imported where
    /// nobody has the images.
    ///
    /// # Errors
    /// Settings that do not go together. Unless overridden: that it cannot tell.
    fn describe(settings: &Settings) -> Result<DatasetInfo>
    where
        Self: Sized,
    {
        let _ = settings;
        Err(Error::new(ErrorKind::DataNotFound, "without its images, this data set does not say what it is"))
    }

    /// Reads everything that lies in `data_dir`; `progress` is told how far it is.
    ///
    /// # Errors
    /// [`ErrorKind::DataNotFound`] where nothing of this data set lies there. What is damaged is no
    /// error but in the report. Unless overridden: that it cannot be checked.
    fn check(settings: &Settings, progress: Progress<'_>) -> Result<CheckReport>
    where
        Self: Sized,
    {
        let _ = (settings, progress);
        Err(Error::new(ErrorKind::DataNotFound, "this data set has no check"))
    }
}

/// A pass over a split.
pub trait Batches: Send {
    /// Fills the buffers of `out` from the start and sets `out.len`; false at the end of the pass.
    ///
    /// # Errors
    /// A damaged image or file, by name.
    fn next(&mut self, out: &mut Batch) -> Result<bool>;

    /// Passes over `samples` images without decoding them; what is read next is what reading them
    /// would have left. Past the end is the end.
    ///
    /// # Errors
    /// As [`Batches::next`].
    fn skip(&mut self, samples: u64) -> Result<()>;
}

/// Buffers for up to `capacity` images; the caller owns and reuses them. A [`Buffer`] is used as
/// the slice that it holds.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// `[capacity, height, width, channels]`, bytes.
    pub images: Buffer<u8>,
    /// `[capacity]`.
    pub labels: Buffer<u32>,
    /// How many images the buffers hold now.
    pub len: usize,
}

impl Batch {
    /// Empty buffers for `capacity` images of a shape.
    pub fn new(capacity: usize, shape: Shape) -> Self {
        let images = vec![0; capacity * shape.iter().product::<usize>()].into();
        Self { images, labels: vec![0; capacity].into(), len: 0 }
    }

    /// How many images the buffers can hold.
    pub fn capacity(&self) -> usize {
        self.labels.len()
    }
}

/// A 64-bit mix (SplitMix64's finalizer) for deriving independent seeds: `mix(seed, epoch)`,
/// `mix(seed, index)`.
pub fn mix(seed: u64, stream: u64) -> u64 {
    let mut z = seed ^ stream.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
