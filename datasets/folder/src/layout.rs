//! Finds the folders of classes below a folder: `train` and `val` with one for each class, or the
//! classes at once, to be divided.

use pocketflow::error::Context as _;
use pocketflow::{Error, ErrorKind, Result};
use pocketflow_pictures::folders::{Folders, NAMES, is_image, names, unusable};
use pocketflow_pictures::source::{Problem, Source as _};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const TRAINING: &str = "train";
/// In the order in which they are looked for.
const VALIDATION: [&str; 4] = ["val", "validation", "valid", "test"];
/// What some programs leave beside folders.
const LITTER: [&str; 1] = ["__MACOSX"];
/// A class has 16 bits in the list of files.
const CLASSES_MAX: usize = 1 << 16;

/// One set of images.
pub struct Set {
    pub root: PathBuf,
    pub images: Folders,
    /// What was left out, and why.
    pub problems: Vec<Problem>,
}

impl Set {
    /// For people.
    pub fn describe(&self) -> String {
        format!("{} images in {}", self.images.count(), self.root.display())
    }
}

/// What a folder holds.
pub struct Found {
    /// By label, in the order of their names, as PyTorch's `ImageFolder` numbers them.
    pub classes: Vec<String>,
    pub sets: Sets,
}

/// Where training and test images come from.
pub enum Sets {
    /// Each has a folder; one may be absent.
    Apart { training: Option<Set>, validation: Option<Set> },
    /// One folder, to be divided.
    Together(Set),
}

impl Sets {
    /// Each set with what it is called.
    pub fn named(&self) -> Vec<(&'static str, &Set)> {
        match self {
            Self::Apart { training, validation } => {
                let both = [("training", training), ("validation", validation)];
                both.into_iter().filter_map(|(name, set)| Some((name, set.as_ref()?))).collect()
            }
            Self::Together(set) => vec![("images", set)],
        }
    }
}

/// Looks for classes in `data_dir`, lists their images with `threads` threads.
///
/// # Errors
/// [`ErrorKind::DataNotFound`] where no folder of a class holds an image; images that lie in no
/// class; class names that cannot be shown; a folder that cannot be listed. What concerns some of
/// the images only is in [`Set::problems`].
pub fn open(data_dir: &Path, threads: usize) -> Result<Found> {
    let metadata = match fs::metadata(data_dir) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(nothing(data_dir, "is not there")),
        Err(error) => return Err(Error::from(error).context(format!("cannot read {}", data_dir.display()))),
    };
    if !metadata.is_dir() {
        let problem = format!("`data_dir`: {} is not a folder; name the one with the images", data_dir.display());
        return Err(Error::config(problem));
    }
    let folders = class_names(data_dir)?;
    let has = |name: &str| folders.iter().any(|folder| folder == name);
    let validation = VALIDATION.into_iter().find(|name| has(name));
    let is_set = |name: &String| name == TRAINING || VALIDATION.contains(&name.as_str());
    let found = if has(TRAINING) || (validation.is_some() && folders.iter().all(is_set)) {
        let training = has(TRAINING).then(|| data_dir.join(TRAINING));
        let validation = validation.map(|name| data_dir.join(name));
        let named = training.as_deref().or(validation.as_deref()).unwrap_or(data_dir);
        let classes = class_names(named)?;
        let set = |root: Option<PathBuf>| root.map(|root| set(root, &classes, threads)).transpose();
        let (training, validation) = (set(training)?, set(validation)?);
        match (training, validation) {
            (Some(only), None) => Found { classes, sets: Sets::Together(only) },
            (training, validation) => Found { classes, sets: Sets::Apart { training, validation } },
        }
    } else {
        let set = set(data_dir.to_owned(), &folders, threads)?;
        Found { classes: folders, sets: Sets::Together(set) }
    };
    let sets = found.sets.named();
    if sets.iter().all(|(_, set)| set.images.count() == 0) {
        let flat = sets.iter().map(|(_, set)| &set.root).find(|root| has_images(root));
        return Err(match flat {
            Some(root) => Error::failed(format!(
                "{}: holds images, but no folders of classes; sort them into folders named after their classes, as \
                 {}/cat/1.jpg",
                root.display(),
                root.display()
            )),
            None => nothing(data_dir, "holds no folder of a class with images"),
        });
    }
    if let Some(name) = found.classes.iter().find(|name| name.chars().any(char::is_control)) {
        return Err(Error::failed(format!(
            "{}: the class {name:?} has control characters in its name; rename its folder",
            data_dir.display()
        )));
    }
    if found.classes.len() > CLASSES_MAX {
        let (count, place) = (found.classes.len(), data_dir.display());
        return Err(Error::failed(format!("{place}: {count} folders are too many classes; at most {CLASSES_MAX}")));
    }
    Ok(found)
}

fn nothing(data_dir: &Path, problem: &str) -> Error {
    let place = data_dir.display();
    Error::new(
        ErrorKind::DataNotFound,
        format!(
            "no classes of images: the folder {place} {problem}: folders train/CLASS and val/CLASS, or CLASS alone, with \
             images ({NAMES}); name it by --data-dir"
        ),
    )
}

/// The folders in one, by name.
fn class_names(folder: &Path) -> Result<Vec<String>> {
    let mut found = names(folder, true)?;
    found.retain(|name| !LITTER.contains(&name.as_str()));
    found.sort_unstable();
    Ok(found)
}

fn has_images(folder: &Path) -> bool {
    names(folder, false).is_ok_and(|names| names.iter().any(|name| is_image(name)))
}

/// The images of the folders in `root`; those of `classes` have its numbers.
fn set(root: PathBuf, classes: &[String], threads: usize) -> Result<Set> {
    let mut labelled = Vec::new();
    let mut unknown = Vec::new();
    for name in class_names(&root)? {
        match classes.binary_search(&name) {
            Ok(label) => labelled.push((name, u32::try_from(label).ok())),
            Err(_) => unknown.push(name),
        }
    }
    let (images, mut problems) = Folders::open(&root, &labelled, threads);
    problems.extend(unknown.into_iter().map(|name| {
        Problem::new(root.join(name).display().to_string(), "a class that the training images do not have")
    }));
    let place = root.display().to_string();
    let unusable = unusable(&root).with_context(|| format!("cannot list {place}"))?;
    problems.extend(
        unusable
            .into_iter()
            .map(|name| Problem::new(format!("{place}/{name}"), "a name that is no Unicode text; rename it")),
    );
    let loose: BTreeSet<String> = names(&root, false)?.into_iter().filter(|name| is_image(name)).collect();
    if let Some(first) = loose.first().filter(|_| images.count() > 0) {
        let more = match loose.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more images)"),
        };
        problems.push(Problem::new(
            format!("{place}/{first}"),
            format!("lies in no folder of a class and is not read{more}; move it into one, or away"),
        ));
    }
    Ok(Set { root, images, problems })
}
