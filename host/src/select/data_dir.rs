//! A folder of images that somebody gave and that holds none: the run ends, where a folder that was
//! left to its default would give way to the stand-in.

use super::Selection;
use pocketflow::settings::Settings;
use pocketflow::{Error, ErrorKind};

/// The key of the folder.
pub const KEY: &str = "data_dir";

/// The error of a folder that was given and holds no images of the data set; `missing` is what the
/// data set says.
pub fn without_data(selection: &Selection, settings: &Settings, missing: &Error) -> Error {
    let name = &selection.dataset.name;
    let problem = format!(
        "there is no data set `{name}` in it, and where a folder is given no stand-in takes its place; correct it, or leave it out \
         for made-up images"
    );
    let said = settings.invalid(KEY, &problem).to_string();
    Error::new(ErrorKind::Config, missing.to_string()).context(said)
}
