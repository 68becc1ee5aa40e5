//! Finds ILSVRC-12 in a folder, in any of the forms that people have it in, and opens it.

use crate::archives::{self, Archive};
use crate::classes::{Classes, LISTS, is_wnid};
use crate::tfrecord::Shards;
use crate::truth;
use pocketflow::error::Context as _;
use pocketflow::{Error, ErrorKind, Result};
use pocketflow_pictures::folders::{Folders, is_image, names};
use pocketflow_pictures::source::{Problem, Source};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One of the two sets of images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Set {
    Training,
    Validation,
}

impl Set {
    /// What its TFRecord files are named after.
    fn shard(self) -> &'static str {
        match self {
            Self::Training => "train",
            Self::Validation => "validation",
        }
    }

    fn folders(self) -> &'static [&'static str] {
        match self {
            Self::Training => &["train"],
            Self::Validation => &["val", "validation"],
        }
    }

    fn archive(self) -> &'static str {
        match self {
            Self::Training => "ILSVRC2012_img_train.tar",
            Self::Validation => "ILSVRC2012_img_val.tar",
        }
    }
}

/// The form and place of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// The files that are there, and the names of those that are not.
    Shards {
        folder: PathBuf,
        files: Vec<PathBuf>,
        missing: Vec<String>,
    },
    /// A folder with one for each class.
    Folders {
        root: PathBuf,
        wnids: Vec<String>,
    },
    Archive {
        path: PathBuf,
    },
}

impl Form {
    /// For people.
    pub fn describe(&self) -> String {
        match self {
            Self::Shards { folder, files, .. } => format!("{} TFRecord files in {}", files.len(), folder.display()),
            Self::Folders { root, wnids } => format!("{} folders in {}", wnids.len(), root.display()),
            Self::Archive { path } => format!("the archive {}", path.display()),
        }
    }
}

/// An opened set of images.
pub struct Opened {
    pub form: Form,
    pub source: Arc<dyn Source>,
    /// What was left out of `source`, and why.
    pub problems: Vec<Problem>,
}

/// What a folder holds.
pub struct Found {
    pub training: Option<Opened>,
    pub validation: Option<Opened>,
    pub classes: Classes,
}

/// Looks for both sets in `data_dir` and opens what is there. `list` names a list of classes;
/// without it one in `data_dir` is used, and without that the classes are numbered in the order of
/// their ids. `labels` is the number of labels with the background, which those of the images must
/// be below.
///
/// # Errors
/// [`ErrorKind::DataNotFound`] where neither set is there; a list of classes that is none; a folder
/// that is not named after a class; labels of the validation archive that are missing. What
/// concerns some of the images only is in [`Opened::problems`].
pub fn open(data_dir: &Path, list: Option<&Path>, labels: u32, threads: usize) -> Result<Found> {
    let training = find(data_dir, Set::Training)?;
    let validation = find(data_dir, Set::Validation)?;
    if training.is_none() && validation.is_none() {
        return Err(nothing_found(data_dir));
    }
    let classes = classes(data_dir, list, [&training, &validation])?;
    let open = |form: Option<Form>, set| match form {
        Some(form) => open_form(data_dir, form, set, &classes, labels, threads).map(Some),
        None => Ok(None),
    };
    let (training, validation) = (open(training, Set::Training)?, open(validation, Set::Validation)?);
    Ok(Found { training, validation, classes })
}

fn open_form(data_dir: &Path, form: Form, set: Set, classes: &Classes, labels: u32, threads: usize) -> Result<Opened> {
    let too_few = |last: u32| match last < labels {
        true => Ok(()),
        false => Err(Error::config(format!(
            "`nb_classes` = {labels}: {} has labels up to {last}; set --nb-classes to {} or more",
            form.describe(),
            last.saturating_add(1)
        ))),
    };
    let (source, problems): (Arc<dyn Source>, Vec<Problem>) = match &form {
        Form::Shards { folder, files, missing } => {
            let (shards, mut problems) = Shards::open(files.clone(), labels, threads);
            problems
                .extend(missing.iter().map(|name| Problem::new(folder.join(name).display().to_string(), "missing")));
            (Arc::new(shards), problems)
        }
        Form::Folders { root, wnids } => {
            too_few(wnids.iter().filter_map(|wnid| classes.label(wnid)).max().unwrap_or(0))?;
            let labelled: Vec<_> = wnids.iter().map(|wnid| (wnid.clone(), classes.label(wnid))).collect();
            let (folders, problems) = Folders::open(root, &labelled, threads);
            (Arc::new(folders), problems)
        }
        Form::Archive { path } => {
            let (archive, problems) = match set {
                Set::Training => {
                    too_few(classes.last())?;
                    Archive::training(path, classes, threads)
                }
                Set::Validation => {
                    let truth = truth::labels(data_dir, classes)?;
                    too_few(truth.iter().copied().max().unwrap_or(0))?;
                    Archive::validation(path, &truth)
                }
            };
            (Arc::new(archive), problems)
        }
    };
    Ok(Opened { form, source, problems })
}

/// The classes: from the list, or from the names of folders and of the archives of classes.
fn classes(data_dir: &Path, list: Option<&Path>, forms: [&Option<Form>; 2]) -> Result<Classes> {
    let own = LISTS.iter().map(|name| data_dir.join(name)).find(|path| path.is_file());
    if let Some(list) = list.or(own.as_deref()) {
        return Classes::from_list(list);
    }
    let mut wnids = BTreeSet::new();
    for form in forms.into_iter().flatten() {
        let (place, found) = match form {
            Form::Shards { .. } => continue,
            Form::Folders { root, wnids } => (root.clone(), wnids.clone()),
            Form::Archive { path } if path.ends_with(Set::Training.archive()) => {
                let found = archives::wnids(path).with_context(|| path.display().to_string())?;
                (path.clone(), found)
            }
            Form::Archive { .. } => continue,
        };
        for wnid in found {
            if !is_wnid(&wnid) {
                return Err(Error::failed(format!(
                    "{}: not named after a class of ILSVRC-12 (n and eight digits, as n01440764); move it away, or list \
                     the classes in {}",
                    place.join(wnid).display(),
                    data_dir.join(LISTS[0]).display()
                )));
            }
            wnids.insert(wnid);
        }
    }
    Ok(Classes::from_wnids(&wnids))
}

fn find(data_dir: &Path, set: Set) -> Result<Option<Form>> {
    let folders = set.folders().iter().map(|name| data_dir.join(name));
    let places: Vec<PathBuf> = std::iter::once(data_dir.to_owned()).chain(folders).collect();
    for place in &places {
        if let Some(form) = find_shards(place, set)? {
            return Ok(Some(form));
        }
    }
    for root in &places[1..] {
        let mut wnids: Vec<String> = names(root, true)?;
        if !wnids.is_empty() {
            wnids.sort_unstable();
            return Ok(Some(Form::Folders { root: root.clone(), wnids }));
        }
        if names(root, false)?.iter().any(|name| is_image(name)) {
            return Err(Error::failed(format!(
                "{}: holds images, but no folders of classes; sort them into folders named after the classes' WordNet ids \
                 (n01440764), or keep them in {} with their labels in val_labels.txt",
                root.display(),
                set.archive()
            )));
        }
    }
    let path = data_dir.join(set.archive());
    Ok(path.is_file().then_some(Form::Archive { path }))
}

/// Files named `train-00000-of-01024`.
fn find_shards(folder: &Path, set: Set) -> Result<Option<Form>> {
    let number = |name: &str| -> Option<(u32, u32)> {
        let (shard, count) = name.strip_prefix(set.shard())?.strip_prefix('-')?.split_once("-of-")?;
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        digits(shard).zip(digits(count))
    };
    let mut counts: BTreeMap<u32, BTreeMap<u32, String>> = BTreeMap::new();
    for name in shard_names(folder)? {
        if let Some((shard, count)) = number(&name) {
            counts.entry(count).or_default().insert(shard, name);
        }
    }
    let Some((count, files)) = counts.pop_first() else { return Ok(None) };
    let strange = counts.pop_first().map(|(other, _)| format!("files of {count} and of {other} are mixed"));
    let strange = strange.or_else(|| {
        let (last, name) = files.last_key_value()?;
        (*last >= count).then(|| format!("{name} is numbered over its own count"))
    });
    if let Some(problem) = strange {
        let place = folder.display();
        return Err(Error::failed(format!("{place}: {problem}; keep the files of one conversion in a folder")));
    }
    let missing = (0..count).filter(|shard| !files.contains_key(shard));
    // A count of billions is a name, not a data set.
    let missing = missing.take(10_000).map(|shard| format!("{}-{shard:05}-of-{count:05}", set.shard())).collect();
    let files = files.into_values().map(|name| folder.join(name)).collect();
    Ok(Some(Form::Shards { folder: folder.to_owned(), files, missing }))
}

fn shard_names(folder: &Path) -> Result<Vec<String>> {
    let mut found = names(folder, false)?;
    found.retain(|name| name.contains("-of-"));
    Ok(found)
}

fn nothing_found(data_dir: &Path) -> Error {
    let place = data_dir.display();
    let problem = match fs::metadata(data_dir) {
        Ok(metadata) if !metadata.is_dir() => {
            return Error::config(format!("`data_dir`: {place} is not a folder; name the one with the images"));
        }
        Ok(_) => "holds none of its forms",
        Err(_) => "is not there",
    };
    Error::new(
        ErrorKind::DataNotFound,
        format!(
            "no ILSVRC-12 images: the folder {place} {problem}: TFRecord files train-00000-of-01024 and \
             validation-00000-of-00128 (there or in train and validation), folders train/n01440764 and val/n01440764 with \
             images, or the archives {} and {}; get the images from https://image-net.org/download-images (with an account)",
            Set::Training.archive(),
            Set::Validation.archive()
        ),
    )
}
