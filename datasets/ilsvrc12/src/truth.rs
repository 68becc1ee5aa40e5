//! The labels of the validation archive, which holds none itself.

use crate::classes::{Classes, is_wnid};
use crate::devkit;
use pocketflow::error::Context as _;
use pocketflow::{Error, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The development kit's own file: one of its own class numbers (not the labels) for each image.
const DEVKIT: &str = "ILSVRC2012_validation_ground_truth.txt";
/// Files with a label for each image, in the order of the images' names.
const FILES: [&str; 3] = ["val_labels.txt", "imagenet_2012_validation_synset_labels.txt", DEVKIT];
/// Translates the development kit's class numbers.
const META: &str = "meta.mat";
/// Where they may lie in the data set's folder: the development kit unpacks to folders of its own.
const FOLDERS: [&str; 3] = ["", "ILSVRC2012_devkit_t12/data", "data"];
const BYTES_MAX: u64 = 16 << 20;

/// Reads the labels from the first of the files that is in `data_dir`.
///
/// # Errors
/// None of the files there; a line that names no class: with file and line.
pub fn labels(data_dir: &Path, classes: &Classes) -> Result<Vec<u32>> {
    let Some((path, devkit)) = find(data_dir) else {
        return Err(Error::failed(format!(
            "{}: the labels of the validation images are missing; put {} there, a line for each image in the order of \
             their names with the class's WordNet id (or its label, 1 to 1000), or {DEVKIT} with {META} from \
             ILSVRC2012_devkit_t12.tar.gz",
            data_dir.display(),
            FILES[0],
        )));
    };
    let place = path.display();
    let size = fs::metadata(&path).with_context(|| place.to_string())?.len();
    if size > BYTES_MAX {
        return Err(Error::failed(format!("{place}: {size} bytes are no list of labels")));
    }
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read the labels {place}"))?;
    let numbers = if devkit && !text.trim_start().starts_with('n') { Some(translation(&path)?) } else { None };
    let mut labels = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let label = label(line, classes, numbers.as_ref());
        labels.push(label.map_err(|problem| Error::failed(format!("{place}, line {}: {problem}", number + 1)))?);
    }
    Ok(labels)
}

fn find(data_dir: &Path) -> Option<(PathBuf, bool)> {
    let places = FILES.iter().flat_map(|file| FOLDERS.iter().map(move |folder| (*folder, *file)));
    places.map(|(folder, file)| (data_dir.join(folder).join(file), file == DEVKIT)).find(|(path, _)| path.is_file())
}

/// WordNet ids by the development kit's class numbers.
fn translation(truth: &Path) -> Result<BTreeMap<u32, String>> {
    let meta = truth.with_file_name(META);
    if !meta.is_file() {
        return Err(Error::failed(format!(
            "{}: its numbers are the development kit's own, not the labels; put {META} of the same kit beside it, or \
             write the WordNet ids into {}",
            truth.display(),
            FILES[0]
        )));
    }
    devkit::wnids(&meta)
}

/// The label that a line gives: a WordNet id or a number, alone or after the name of the image.
fn label(line: &str, classes: &Classes, numbers: Option<&BTreeMap<u32, String>>) -> Result<u32, String> {
    let mut words = line.split([' ', '\t', ',']).filter(|word| !word.is_empty());
    let first = words.next().unwrap_or_default().trim();
    let word =
        if pocketflow_pictures::folders::is_image(first) { words.next().unwrap_or_default().trim() } else { first };
    let of_wnid =
        |wnid: &str| classes.label(wnid).ok_or_else(|| format!("the class {wnid} is not in the list of classes"));
    if is_wnid(word) {
        return of_wnid(word);
    }
    let number: u32 = word.parse().map_err(|_| format!("`{word}` is no WordNet id and no label"))?;
    match numbers {
        Some(numbers) => of_wnid(numbers.get(&number).ok_or_else(|| format!("the kit has no class {number}"))?),
        None if number >= 1 => Ok(number),
        None => Err("label 0 is the background; labels count from 1".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &str, text: &str) -> Result<Vec<u32>> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(file), text).unwrap();
        let wnids = ["n01440764", "n01443537", "n01484850"].map(str::to_owned).into();
        labels(folder.path(), &Classes::from_wnids(&wnids))
    }

    #[test]
    fn every_notation() {
        let text = "n01443537\nILSVRC2012_val_00000002.JPEG n01440764\n3\nILSVRC2012_val_00000004.JPEG,2\n";
        assert_eq!(read("val_labels.txt", text).unwrap(), [2, 1, 3, 2]);
        assert_eq!(read("imagenet_2012_validation_synset_labels.txt", "n01484850\n").unwrap(), [3]);
        assert_eq!(read(DEVKIT, "n01484850\n").unwrap(), [3]);
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let problem = |file: &str, text: &str| read(file, text).unwrap_err().to_string();
        assert!(
            problem("other.txt", "1").contains("the labels of the validation images are missing; put val_labels.txt")
        );
        assert!(problem("val_labels.txt", "1\n\nn01440765").contains("line 3: the class n01440765 is not in the list"));
        assert!(problem("val_labels.txt", "1\ncat").contains("line 2: `cat` is no WordNet id and no label"));
        assert!(problem("val_labels.txt", "0").contains("line 1: label 0 is the background"));
        assert!(problem(DEVKIT, "490\n361\n").contains("put meta.mat of the same kit beside it"));
    }
}
