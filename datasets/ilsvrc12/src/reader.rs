//! From an index to the network's input: reads, decodes, cuts and resizes one image.

use crate::decode::{Encoded, Picture};
use crate::source::{Fault, Source};
use crate::view::{Preprocess, Scaler};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// How the images of a pass are made. Shared by all threads.
#[derive(Clone)]
pub struct Reader {
    pub source: Arc<dyn Source>,
    pub preprocess: Preprocess,
    /// Height and width of the input.
    pub size: u32,
    /// The pass's seed where images are augmented.
    pub seed: Option<u64>,
}

/// What one thread needs; used again for every image.
pub struct Workspace {
    encoded: Vec<u8>,
    picture: Picture,
    scaler: Scaler,
}

impl Workspace {
    pub fn new() -> Self {
        Self { encoded: Vec::new(), picture: Picture::default(), scaler: Scaler::new() }
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
        self.size as usize * self.size as usize * 3
    }

    /// Writes image `index` (`[size, size, 3]`) to `out` and returns its label.
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
        let Workspace { encoded, picture, scaler } = workspace;
        let label = self.source.read(index, encoded)?;
        let image = Encoded::open(encoded).map_err(Fault::Damaged)?;
        let view = match self.seed {
            Some(seed) => self.preprocess.training(image.size(), seed, index),
            None => self.preprocess.evaluation(image.size(), self.size),
        };
        image.decode(view.rows(self.size), picture).map_err(Fault::Damaged)?;
        scaler.scale(picture, &view, self.size, out).map_err(Fault::Damaged)?;
        Ok(label)
    }
}
