//! From an index to the network's input: reads, decodes, cuts and resizes one image.

use crate::decode::{Encoded, Picture};
use crate::source::{Fault, Source};
use crate::view::{Cut, Scaler};
use pocketflow::dataset::images::luma;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// How the images of a pass are made. Shared by all threads.
#[derive(Clone)]
pub struct Reader {
    /// Where encoded images come from.
    pub source: Arc<dyn Source>,
    /// Which part of an image is taken.
    pub cut: Arc<dyn Cut>,
    /// Height and width of the input.
    pub size: u32,
    /// Of the input: 3, or 1 for grey.
    pub channels: Channels,
    /// The pass's seed where images are augmented.
    pub seed: Option<u64>,
}

/// The colours of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channels {
    /// One channel.
    Grey,
    /// Red, green and blue.
    Rgb,
}

impl Channels {
    /// `None`: not a number of channels that photographs can have.
    pub fn of(count: u32) -> Option<Self> {
        match count {
            1 => Some(Self::Grey),
            3 => Some(Self::Rgb),
            _ => None,
        }
    }

    /// The number of channels: 1 or 3.
    pub fn count(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Rgb => 3,
        }
    }
}

/// What one thread needs; used again for every image.
pub struct Workspace {
    encoded: Vec<u8>,
    picture: Picture,
    scaler: Scaler,
    /// An image in colours that becomes a grey one, or one that is augmented.
    spare: Vec<u8>,
}

impl Default for Workspace {
    fn default() -> Self {
        Self::new()
    }
}

impl Workspace {
    /// With buffers of its own, which it keeps from image to image.
    pub fn new() -> Self {
        Self { encoded: Vec::new(), picture: Picture::default(), scaler: Scaler::default(), spare: Vec::new() }
    }

    /// Gives back the memory of an unusually large image.
    fn shrink(&mut self) {
        const KEPT: usize = 16 << 20;
        if self.picture.pixels.capacity() > KEPT {
            self.picture.pixels = Vec::new();
        }
        if self.encoded.capacity() > KEPT {
            self.encoded = Vec::new();
        }
    }
}

impl Reader {
    /// Bytes of an image in a batch.
    pub fn bytes(&self) -> usize {
        self.size as usize * self.size as usize * self.channels.count()
    }

    /// Writes image `index` (`[size, size, channels]`) to `out` and returns its label.
    ///
    /// # Errors
    /// Damage with the place; also a decoder that panics, since a file must not stop a program.
    pub fn read(&self, index: u64, workspace: &mut Workspace, out: &mut [u8]) -> Result<u32, Fault> {
        let result = catch_unwind(AssertUnwindSafe(|| self.make(index, workspace, out)));
        workspace.shrink();
        match result {
            Ok(Err(Fault::Damaged(problem))) => Err(Fault::Damaged(format!("{}: {problem}", self.source.place(index)))),
            Ok(result) => result,
            // What it left half-made is overwritten by the next image.
            Err(_) => Err(Fault::Damaged(format!("{}: the decoder gave up on it", self.source.place(index)))),
        }
    }

    fn make(&self, index: u64, workspace: &mut Workspace, out: &mut [u8]) -> Result<u32, Fault> {
        let Workspace { encoded, picture, scaler, spare } = workspace;
        let label = self.source.read(index, encoded)?;
        let image = Encoded::open(encoded).map_err(Fault::Damaged)?;
        let view = match self.seed {
            Some(seed) => self.cut.training(image.size(), seed, index),
            None => self.cut.evaluation(image.size(), self.size),
        };
        image.decode(view.rows(self.size), picture).map_err(Fault::Damaged)?;
        match self.channels {
            Channels::Rgb => scaler.scale(picture, &view, self.size, out).map_err(Fault::Damaged)?,
            Channels::Grey => {
                spare.resize(out.len() * 3, 0);
                scaler.scale(picture, &view, self.size, spare).map_err(Fault::Damaged)?;
                out.iter_mut().zip(spare.as_chunks::<3>().0).for_each(|(grey, colour)| *grey = luma(*colour));
            }
        }
        if let Some(seed) = self.seed {
            self.cut.augment(seed, index, out, spare);
        }
        Ok(label)
    }
}
