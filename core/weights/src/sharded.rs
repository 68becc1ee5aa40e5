//! Weights in several files with an index, as Hugging Face's libraries write large models:
//! `model.safetensors.index.json` says which tensor lies in which file beside it.

use crate::WeightsFile;
use crate::error::WeightsError;
use pocketflow::{Error, ErrorKind, Result};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Seek};
use std::path::{Component, Path};

/// The longest index that is read, in bytes.
const LONGEST: u64 = 8 << 20;
/// The most files that belong together.
const MOST_FILES: usize = 1000;

/// Which tensor lies in which file.
#[derive(Deserialize)]
pub struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The index that a file is; `None`: it is none, and is at its start again.
///
/// # Errors
/// JSON that is no such index; what the disk says.
pub fn parts(file: &mut (impl Read + Seek)) -> Result<Option<Index>, WeightsError> {
    let mut front = Vec::new();
    file.by_ref().take(64).read_to_end(&mut front)?;
    file.rewind()?;
    // Nine bytes: so that the length in front of a .safetensors file, which may be that of `{`, is
    // told from it.
    let is_json = front.trim_ascii_start().first() == Some(&b'{') && front.iter().take(9).all(|byte| *byte != 0);
    if !is_json {
        return Ok(None);
    }
    let mut text = Vec::new();
    file.by_ref().take(LONGEST + 1).read_to_end(&mut text)?;
    if text.len() as u64 > LONGEST {
        return Err(WeightsError::Malformed(format!("its index is longer than {LONGEST} bytes")));
    }
    let other = |error: serde_json::Error| {
        WeightsError::Other(format!(
            "it is JSON, but no index of weights in several files (`weight_map`: {error}): give the file of weights"
        ))
    };
    serde_json::from_slice(&text).map(Some).map_err(other)
}

/// Reads all files of the index at `path`.
///
/// # Errors
/// An index that names a file outside its own folder, or too many; a file of it that is missing, is
/// damaged, or lacks a tensor that it should hold.
pub fn read(path: &Path, index: Index, key: Option<&str>) -> Result<WeightsFile> {
    let wrong = |problem: String| {
        Error::new(ErrorKind::Failed, problem).context(format!("cannot use the index {}", path.display()))
    };
    let files: BTreeSet<&str> = index.weight_map.values().map(String::as_str).collect();
    if files.len() > MOST_FILES {
        return Err(wrong(format!("it names {} files; at most {MOST_FILES} are read", files.len())));
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut whole = WeightsFile::default();
    for name in files {
        // Nothing from elsewhere is read because a file says so.
        let mut parts = Path::new(name).components();
        if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
            return Err(wrong(format!("it names the file `{name}`, which does not lie beside it")));
        }
        let part = folder.join(name);
        let read = crate::read_one(&part, key)?;
        for (tensor, _) in index.weight_map.iter().filter(|(_, file)| *file == name) {
            if !read.tensors.contains_key(tensor) && !read.unread.contains_key(tensor) {
                return Err(wrong(format!("it says that `{name}` holds `{tensor}`, which it does not")));
            }
        }
        whole.order.extend(read.order);
        whole.tensors.extend(read.tensors);
        whole.unread.extend(read.unread);
    }
    Ok(whole)
}
