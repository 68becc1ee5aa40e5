//! Ranges of values from images, for what training left in float.

use super::images::Images;
use pocketflow::model::Model;
use pocketflow::{Error, Result};
use pocketflow_export::calibrate::{Calibration, Method};
use std::collections::BTreeMap;

/// Images that are run at a time, on all threads.
const AT_ONCE: usize = 64;

/// The range of each of `names` over `images`, computed on `threads` threads; `what` they are, for
/// people.
///
/// # Errors
/// No image; those of the images; those of the float network.
pub fn from_images(
    model: &Model,
    mut images: Images,
    what: &str,
    names: &[String],
    method: Method,
    threads: usize,
) -> Result<BTreeMap<String, [f32; 2]>> {
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
        return Err(Error::failed(format!("no whole image to take ranges from among {what}")));
    }
    tracing::info!("ranges of {} values from {} of {what}", names.len(), calibration.images());
    Ok(calibration.ranges(method))
}
