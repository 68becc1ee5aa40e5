//! Fingerprints: of a file its content; of a folder of data the names, sizes and times of its
//! files, since images take too long to read.

use crate::discover::content::ContentHash;
use pocketflow::Result;
use pocketflow::dataset::DatasetInfo;
use pocketflow::error::Context;
use std::collections::VecDeque;
use std::fs::{self, File};
use std::path::Path;
use std::time::UNIX_EPOCH;

/// The fingerprint of a file that is not there.
pub const NOTHING: &str = "no file there";
/// Entries of a folder that are looked at; a data set of a million files begins with its folders,
/// whose times change with their contents.
const MOST_ENTRIES: usize = 10_000;

/// Of a file's content.
///
/// # Errors
/// The file is there and cannot be read.
pub fn file(path: &Path) -> Result<String> {
    let failed = || format!("cannot read {}", path.display());
    let file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(NOTHING.into()),
        opened => opened.with_context(failed)?,
    };
    if !file.metadata().with_context(failed)?.is_file() {
        // A pipe would be emptied, a device might never end.
        return Ok("not a file".into());
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file).with_context(failed)?;
    Ok(text(&hasher))
}

/// Of a content whose hash is known: as [`file`] of a file that holds it.
pub fn content(content: &ContentHash) -> String {
    half(&content.hex())
}

/// Of the names, sizes and times of what lies in a folder, level by level.
///
/// # Errors
/// A folder that cannot be read.
pub fn folder(path: &Path) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    let (mut waiting, mut seen) = (VecDeque::from([path.to_owned()]), 0);
    while let Some(folder) = waiting.pop_front().filter(|_| seen < MOST_ENTRIES) {
        let failed = || format!("cannot read the folder {}", folder.display());
        if !folder.is_dir() {
            hasher.update(file(&folder)?.as_bytes());
            continue;
        }
        let entries = fs::read_dir(&folder).with_context(failed)?.take(MOST_ENTRIES);
        let mut entries = entries.collect::<std::io::Result<Vec<_>>>().with_context(failed)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        seen += entries.len();
        for entry in entries {
            let path = entry.path();
            // A link to nothing has no size; that it is there counts all the same.
            let meta = fs::metadata(&path).ok();
            let time = meta.as_ref().and_then(|meta| meta.modified().ok()?.duration_since(UNIX_EPOCH).ok());
            let size = meta.as_ref().filter(|meta| meta.is_file()).map_or(0, fs::Metadata::len);
            let name = entry.file_name();
            hasher.update(name.as_encoded_bytes()).update(&[0]).update(&size.to_le_bytes());
            hasher.update(&time.unwrap_or_default().as_nanos().to_le_bytes());
            if meta.is_some_and(|meta| meta.is_dir()) {
                waiting.push_back(path);
            }
        }
    }
    Ok(text(&hasher))
}

/// What a data set says of itself that a training depends on.
pub fn data(info: &DatasetInfo) -> String {
    let [channels, height, width] = info.shape;
    let DatasetInfo { name, train, val, eval, labels, .. } = info;
    let mut hasher = blake3::Hasher::new();
    for label in labels {
        hasher.update(label.as_bytes()).update(&[0]);
    }
    for value in info.mean.iter().chain(&info.std) {
        hasher.update(&value.to_le_bytes());
    }
    format!(
        "{name}: {train} training images, {val} of them for validation, {eval} test images, {width} x {height} x {channels}, {} classes, \
         {}",
        labels.len(),
        text(&hasher)
    )
}

fn text(hasher: &blake3::Hasher) -> String {
    half(&hasher.finalize().to_hex())
}

/// Half of the hash: nobody makes two such files by accident.
fn half(hash: &str) -> String {
    format!("blake3 {}", &hash[..32])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    #[test]
    fn of_a_file_it_is_the_content_that_counts() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| dir.path().join(name));
        assert_eq!(file(&a).unwrap(), NOTHING);
        fs::write(&a, "one").unwrap();
        fs::write(&b, "one").unwrap();
        assert_eq!(file(&a).unwrap(), file(&b).unwrap());
        assert_eq!(file(&a).unwrap(), content(&ContentHash::of(&a).unwrap()));
        fs::write(&b, "two").unwrap();
        assert_ne!(file(&a).unwrap(), file(&b).unwrap());
        assert_eq!(file(dir.path()).unwrap(), "not a file");
    }

    #[test]
    fn of_a_folder_names_sizes_and_times_count_at_every_level() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("train/0/image");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "one").unwrap();
        let begun = folder(dir.path()).unwrap();
        assert_eq!(folder(dir.path()).unwrap(), begun);
        let changed = |what: &str| assert_ne!(folder(dir.path()).unwrap(), begun, "{what}");
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(5);
        File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        changed("another time");
        fs::write(&path, "longer").unwrap();
        changed("another size");
        fs::rename(&path, path.with_file_name("other")).unwrap();
        changed("another name");
    }
}
