//! Weights over several `.safetensors` files, with an index that says which tensor lies in which
//! (`model.safetensors.index.json`, as Hugging Face's programs write it).

use crate::error::WeightsError;
use crate::{Tensors, safetensors};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Component, Path};

/// The longest index that is read, in bytes.
pub const LONGEST: u64 = 8 << 20;
/// The most files of one network.
const MOST_FILES: usize = 1000;

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The tensors of all files that the index `text` names, which lie in `folder`.
///
/// # Errors
/// An index that is none; a file of another folder, or that is missing or damaged; a tensor that is
/// not where the index says.
pub fn read(text: &[u8], folder: &Path) -> Result<Tensors, WeightsError> {
    let Index { weight_map } = serde_json::from_slice(text)
        .map_err(|error| WeightsError::Malformed(format!("as an index of .safetensors files: {error}")))?;
    let files: BTreeSet<&str> = weight_map.values().map(String::as_str).collect();
    if files.len() > MOST_FILES {
        return Err(WeightsError::Malformed(format!("it names {} files; at most {MOST_FILES} are read", files.len())));
    }
    let mut tensors = Tensors::new();
    for name in files {
        let shown = pocketflow::names::shown(name);
        let mut parts = Path::new(name).components();
        if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
            return Err(WeightsError::Malformed(format!("it names `{shown}`, which is no file beside it")));
        }
        let path = folder.join(name);
        let wrong = |error: &dyn std::fmt::Display| WeightsError::Malformed(format!("its file `{shown}`: {error}"));
        if !std::fs::metadata(&path).map_err(|error| wrong(&error))?.is_file() {
            return Err(wrong(&"is not a file"));
        }
        let file = File::open(&path).map_err(|error| wrong(&error))?;
        let read = safetensors::read(file).map_err(|error| wrong(&error))?;
        // A file may hold more than the index gives it, as one of another set.
        tensors.extend(read.into_iter().filter(|(tensor, _)| weight_map.get(tensor).is_some_and(|own| own == name)));
    }
    match weight_map.iter().find(|(tensor, _)| !tensors.contains_key(*tensor)) {
        Some((tensor, file)) => Err(WeightsError::Malformed(format!(
            "its tensor `{}` is not in `{}`, where it should be",
            pocketflow::names::shown(tensor),
            pocketflow::names::shown(file)
        ))),
        None => Ok(tensors),
    }
}
