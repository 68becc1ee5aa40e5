//! A folder of images that somebody gave and that holds none: the run ends, where a folder that was
//! left to its default would give way to the stand-in.

use super::Selection;
use pocketflow::option::HostOptions;
use pocketflow::settings::Settings;
use pocketflow::{Error, ErrorKind};

/// The error of a folder that was given and holds no images of the data set; `missing` is what the
/// data set says.
pub fn without_data(selection: &Selection, settings: &Settings, missing: &Error) -> Error {
    let name = &selection.dataset.name;
    let problem = format!(
        "there is no data set `{name}` in it, and where a folder is given no stand-in takes its place; correct it, or leave it out \
         for made-up images"
    );
    let said = settings.invalid(&HostOptions::data_dir(), &problem).to_string();
    Error::new(ErrorKind::Config, missing.to_string()).context(said)
}
