//! Ranges of values from training images, for what training left in float.

use super::images::Images;
use crate::select::Selected;
use pocketflow::dataset::Split;
use pocketflow::model::Model;
use pocketflow::option::HostOptions;
use pocketflow::{Error, Result};
use pocketflow_export::calibrate::{Calibration, Method};
use std::collections::BTreeMap;

/// Images that are run at a time, on all threads.
const AT_ONCE: usize = 64;

/// The range of each of `names` over `count` training images.
///
/// # Errors
/// No images of the model's own data set; the data set's errors; those of the float network.
pub fn from_images(
    model: &Model,
    selected: &Selected,
    names: &[String],
    count: u64,
    method: Method,
) -> Result<BTreeMap<String, [f32; 2]>> {
    let threads = selected.settings.get(HostOptions::threads())?;
    let seed = selected.settings.get(HostOptions::seed())?;
    let mut images = Images::open(&selected.dataset, Split::Plain, seed, count)?;
    let mut calibration = Calibration::new(model, names)?;
    let mut waiting: Vec<Vec<u8>> = Vec::with_capacity(AT_ONCE);
    while let Some((pixels, _)) = images.next_image()? {
        waiting.push(pixels.to_vec());
        if waiting.len() == AT_ONCE {
            calibration.observe(&waiting, threads)?;
            waiting.clear();
        }
    }
    calibration.observe(&waiting, threads)?;
    if calibration.images() == 0 {
        return Err(Error::config("no training images to take ranges from: raise --calibration-images"));
    }
    tracing::info!("ranges of {} values from {} training images", names.len(), calibration.images());
    Ok(calibration.ranges(method))
}
