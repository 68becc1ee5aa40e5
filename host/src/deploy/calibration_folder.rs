//! Images of any folder, without labels, prepared as a model takes them: for ranges where the
//! model's own training images are not at hand.

use super::images::Images;
use pocketflow::dataset::order::permutation;
use pocketflow::graph::Shape;
use pocketflow::{Error, Result};
use pocketflow_pictures::loose::Loose;
use pocketflow_pictures::pass::{Damage, Pass};
use pocketflow_pictures::reader::{Channels, Reader};
use pocketflow_pictures::source::Source as _;
use pocketflow_pictures::view::{Cut, View};
use std::path::Path;
use std::sync::Arc;

/// The square in the middle, always.
struct Centre;

impl Cut for Centre {
    fn training(&self, size: (u32, u32), _: u64, _: u64) -> View {
        View::centre(size)
    }

    fn evaluation(&self, size: (u32, u32), _: u32) -> View {
        View::centre(size)
    }
}

/// At most `count` images of `folder` and of the folders within it, chosen by `seed`, in the shape
/// that a network takes. Images that are damaged are left out with a warning.
///
/// # Errors
/// A folder that is not there or holds no image; a shape that photographs cannot have.
pub fn open(folder: &Path, shape: Shape, count: u64, seed: u64, threads: usize) -> Result<Images> {
    let shown = folder.display();
    if !folder.is_dir() {
        return Err(Error::config(format!("--calibration-dir: {shown} is not a folder; name one with images")));
    }
    let [channels, height, width] = shape;
    let colours = u32::try_from(channels).ok().and_then(Channels::of).filter(|_| height == width);
    let (Some(channels), Ok(size)) = (colours, u32::try_from(height)) else {
        return Err(Error::config(format!(
            "--calibration-dir: the model takes images of {width} × {height} with {channels} channels, and photographs are \
             made square, with 1 or 3"
        )));
    };
    let (source, problems) = Loose::open(folder);
    for problem in problems {
        tracing::warn!("{problem}; what is there is left out");
    }
    if source.count() == 0 {
        return Err(Error::config(format!(
            "--calibration-dir: {shown} holds no images, nor do the folders within it ({})",
            pocketflow_pictures::folders::NAMES
        )));
    }
    let mut order = permutation(u32::try_from(source.count()).unwrap_or(u32::MAX), seed);
    order.truncate(usize::try_from(count).unwrap_or(usize::MAX));
    let reader = Reader { source: Arc::new(source), cut: Arc::new(Centre), size, channels, seed: None };
    Images::of_pass(shape, count, move || Ok(Box::new(Pass::new(reader, order, Damage::LeftOut, false, threads))))
}
