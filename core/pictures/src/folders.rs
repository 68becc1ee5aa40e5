//! Images in a folder for each class: `train/n01440764/n01440764_18.JPEG`, `train/cat/12.png`.

use crate::interleave::interleave;
use crate::parallel;
use crate::source::{Fault, Problem, Source, no_such_image, read_whole};
use pocketflow::Result;
use pocketflow::error::Context as _;
use std::fs;
use std::path::{Path, PathBuf};

const EXTENSIONS: [&str; 6] = ["jpeg", "jpg", "png", "webp", "bmp", "gif"];
/// The same for people.
pub const NAMES: &str = "*.jpg, *.jpeg, *.png, *.webp, *.bmp, *.gif";

/// True for a name of an image file. Hidden files, as some systems leave them beside images, are
/// none.
pub fn is_image(name: &str) -> bool {
    let extension = name.rsplit_once('.').map(|(stem, extension)| (stem, extension.to_ascii_lowercase()));
    matches!(extension, Some((stem, extension)) if !stem.is_empty() && !name.starts_with('.')
        && EXTENSIONS.contains(&extension.as_str()))
}

#[derive(Clone, Copy)]
struct File {
    /// Into `folders`.
    class: u16,
    length: u16,
    /// Into `names`.
    start: u32,
}

/// The images of one split: the first of every class, then the second of every class, and so on,
/// each class by name.
pub struct Folders {
    root: PathBuf,
    /// Name and label of each.
    folders: Vec<(String, u32)>,
    /// All file names in one piece: a million strings of their own would take twice the memory.
    names: String,
    files: Vec<File>,
}

impl Folders {
    /// Lists the folders `classes` in `root`, each with the label of its images. A folder without a
    /// label, that is empty or cannot be listed is left out and the problem returned.
    pub fn open(root: &Path, classes: &[(String, Option<u32>)], threads: usize) -> (Self, Vec<Problem>) {
        let listed = parallel::map(classes, threads, |(name, _)| list(&root.join(name)));
        let mut problems = Vec::new();
        let mut folders = Vec::new();
        let mut names = String::new();
        let mut grouped = Vec::new();
        for ((name, label), listing) in classes.iter().zip(listed) {
            let place = root.join(name).display().to_string();
            let (files, rejected) = match (*label, listing) {
                (None, _) => {
                    problems.push(Problem::new(place, "a class that is not in the list of classes"));
                    continue;
                }
                (_, Err(error)) => {
                    problems.push(Problem::new(place, error.to_string()));
                    continue;
                }
                (Some(label), Ok(listing)) => {
                    folders.push((name.clone(), label));
                    listing
                }
            };
            if files.is_empty() {
                problems.push(Problem::new(place.clone(), format!("holds no images ({NAMES})")));
            }
            problems
                .extend(rejected.into_iter().map(|(name, problem)| Problem::new(format!("{place}/{name}"), problem)));
            let class = (folders.len() - 1) as u16;
            let mut group = Vec::with_capacity(files.len());
            for name in files {
                group.push(File { class, length: name.len() as u16, start: names.len() as u32 });
                names.push_str(&name);
            }
            grouped.push(group);
        }
        names.shrink_to_fit();
        (Self { root: root.to_owned(), folders, names, files: interleave(grouped) }, problems)
    }

    /// Folder and file name of an image, and its label.
    pub fn image(&self, index: u64) -> Option<(&str, &str, u32)> {
        let file = self.files.get(usize::try_from(index).ok()?)?;
        let (folder, label) = self.folders.get(usize::from(file.class))?;
        let name = self.names.get(file.start as usize..)?.get(..usize::from(file.length))?;
        Some((folder, name, *label))
    }

    fn path(&self, index: u64) -> Option<(PathBuf, u32)> {
        let (folder, name, label) = self.image(index)?;
        Some((self.root.join(folder).join(name), label))
    }
}

/// Names in a folder that are text and not hidden: of folders or of the rest. None if it is not
/// there.
///
/// # Errors
/// A folder that cannot be listed.
pub fn names(folder: &Path, folders: bool) -> Result<Vec<String>> {
    let place = || format!("cannot list {}", folder.display());
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(place)? {
        let entry = entry.with_context(place)?;
        // A link counts as what it leads to.
        let is_folder = entry.path().is_dir();
        if let Ok(name) = entry.file_name().into_string()
            && is_folder == folders
            && !name.starts_with('.')
        {
            found.push(name);
        }
    }
    Ok(found)
}

/// What in a folder has a name that is no text, as well as it can be shown.
///
/// # Errors
/// A folder that cannot be listed.
pub fn unusable(folder: &Path) -> std::io::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        if let Err(name) = entry?.file_name().into_string() {
            found.push(name.to_string_lossy().into_owned());
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Names of files, and names that are left out, each with the reason.
type Listing = (Vec<String>, Vec<(String, &'static str)>);

/// The image files of a folder by name, and what is left out of it with the reason: names that are
/// no text or too long to be kept, and folders, whose images nobody reads.
fn list(folder: &Path) -> std::io::Result<Listing> {
    const NAME: &str = "a name that cannot be used";
    const NOWHERE: &str = "a link that leads nowhere";
    const FOLDER: &str = "a folder within a class; images in it are not read, move them up into the class's folder";
    let (mut files, mut rejected) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type();
        let (is_folder, is_link) = kind.map_or((false, false), |kind| (kind.is_dir(), kind.is_symlink()));
        match entry.file_name().into_string() {
            // Hidden folders are those of other programs.
            Ok(name) if is_folder && !name.starts_with('.') => rejected.push((name, FOLDER)),
            Ok(name) if is_folder || !is_image(&name) => {}
            Ok(name) if is_link && fs::metadata(entry.path()).is_err() => rejected.push((name, NOWHERE)),
            Ok(name) if name.len() <= usize::from(u16::MAX) => files.push(name),
            Ok(name) => rejected.push((name, NAME)),
            Err(name) => rejected.push((name.to_string_lossy().into_owned(), NAME)),
        }
    }
    files.sort_unstable();
    Ok((files, rejected))
}

impl Source for Folders {
    fn count(&self) -> u64 {
        self.files.len() as u64
    }

    fn read(&self, index: u64, encoded: &mut Vec<u8>) -> std::result::Result<u32, Fault> {
        let (path, label) = self.path(index).ok_or_else(|| no_such_image(index, self.count()))?;
        read_whole(&path, encoded).map(|()| label)
    }

    fn place(&self, index: u64) -> String {
        self.path(index).map_or_else(|| format!("image {index}"), |(path, _)| path.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::is_image;

    #[test]
    fn names_of_images() {
        for name in ["n01440764_18.JPEG", "a.jpg", "b.PNG", "a.b.jpeg", "c.WebP", "d.bmp", "e.GIF"] {
            assert!(is_image(name), "{name}");
        }
        for name in ["readme.txt", ".JPEG", "._n01440764_18.JPEG", "jpeg", "a.jpeg.part", ""] {
            assert!(!is_image(name), "{name}");
        }
    }
}
