//! The images of any folder, wherever they lie in it: without classes, for whoever needs pixels
//! alone.

use crate::folders::is_image;
use crate::source::{Fault, Problem, Source, no_such_image, read_whole};
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A folder with more images is a mistake, as the root of a disk is.
const IMAGES_MAX: usize = 10_000_000;

/// Images below a folder, by path.
pub struct Loose {
    paths: Vec<PathBuf>,
}

impl Loose {
    /// Finds the images in `root` and in the folders within it, but hidden ones. A link to a folder
    /// is followed; each folder counts once, so that links in circles come to an end. What cannot
    /// be listed is left out and the problem returned.
    pub fn open(root: &Path) -> (Self, Vec<Problem>) {
        let mut paths = Vec::new();
        let mut problems = Vec::new();
        let mut seen = HashSet::new();
        let mut waiting = vec![root.to_owned()];
        while let Some(folder) = waiting.pop() {
            let mut problem = |place: &Path, text: String| {
                problems.push(Problem::new(place.display().to_string(), text));
            };
            let entries = match fs::canonicalize(&folder).and_then(|own| Ok((own, fs::read_dir(&folder)?))) {
                // Seen under another name.
                Ok((own, _)) if !seen.insert(own.clone()) => continue,
                Ok((_, entries)) => entries,
                Err(error) => {
                    problem(&folder, error.to_string());
                    continue;
                }
            };
            for entry in entries {
                let path = match entry {
                    Ok(entry) => entry.path(),
                    Err(error) => {
                        problem(&folder, error.to_string());
                        break;
                    }
                };
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                if name.starts_with('.') {
                    continue;
                }
                if path.is_dir() {
                    waiting.push(path);
                } else if is_image(&name) {
                    paths.push(path);
                }
            }
            if paths.len() > IMAGES_MAX {
                problem(root, format!("holds more than {IMAGES_MAX} images, of which no more are used"));
                paths.truncate(IMAGES_MAX);
                break;
            }
        }
        paths.sort_unstable();
        (Self { paths }, problems)
    }

    fn path(&self, index: u64) -> Option<&PathBuf> {
        self.paths.get(usize::try_from(index).ok()?)
    }
}

impl Source for Loose {
    fn count(&self) -> u64 {
        self.paths.len() as u64
    }

    /// Every label is 0.
    fn read(&self, index: u64, encoded: &mut Vec<u8>) -> Result<u32, Fault> {
        let path = self.path(index).ok_or_else(|| no_such_image(index, self.count()))?;
        match fs::metadata(path) {
            Ok(_) => read_whole(path, encoded).map(|()| 0),
            // One file of many that may be anywhere, as a link that leads nowhere.
            Err(error) => Err(Fault::Damaged(error.to_string())),
        }
    }

    fn place(&self, index: u64) -> String {
        self.path(index).map_or_else(|| format!("image {index}"), |path| path.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn images_at_any_depth_are_found_once() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        for place in ["b", "a/1", "a/.hidden"] {
            fs::create_dir_all(dir.join(place)).unwrap();
        }
        for name in ["1.jpg", "b/2.PNG", "a/1/3.gif", "a/.hidden/4.jpg", "a/._5.jpg", "a/6.txt"] {
            fs::write(dir.join(name), name).unwrap();
        }
        symlink(dir, dir.join("a/loop")).unwrap();
        symlink(dir.join("b"), dir.join("again")).unwrap();
        symlink("/nowhere.jpg", dir.join("b/lost.jpg")).unwrap();
        symlink("self.jpg", dir.join("b/self.jpg")).unwrap();
        let (loose, problems) = Loose::open(dir);
        assert_eq!(problems, []);
        let places: Vec<_> =
            (0..loose.count()).map(|index| loose.place(index).rsplit('/').next().unwrap().to_owned()).collect();
        assert_eq!(places.len(), 5, "{places:?}");
        for name in ["1.jpg", "2.PNG", "3.gif", "lost.jpg", "self.jpg"] {
            assert!(places.iter().any(|place| place == name), "{name} in {places:?}");
        }
        let mut bytes = Vec::new();
        for (index, name) in places.iter().enumerate() {
            let read = loose.read(index as u64, &mut bytes);
            match name.as_str() {
                "lost.jpg" | "self.jpg" => assert!(matches!(read, Err(Fault::Damaged(_))), "{name}: {read:?}"),
                _ => assert_eq!(read.unwrap(), 0),
            }
        }
        let (none, problems) = Loose::open(&dir.join("nowhere"));
        assert_eq!((none.count(), problems.len()), (0, 1));
    }
}
