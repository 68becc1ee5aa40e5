//! Files that are there whole or not at all: a run killed at any moment, or a full disk, leaves the
//! previous file as it was.

mod target;
mod temporary;
pub mod together;

use crate::error::{Error, ErrorKind, Result};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use target::Target;
pub use target::Unwritable;
use tempfile::NamedTempFile;
pub use temporary::SUFFIX as LEFT_SUFFIX;

/// Writes a file under a temporary name in the same folder, syncs it and renames it to `path`;
/// missing folders are made. If `path` is a symbolic link, the file that it points to is replaced.
/// Permissions and, where the system allows it, the owner of a file that is replaced are kept.
///
/// # Errors
/// Names the path and what to do about it: a folder, a device, a pipe, a link to nothing; what the
/// disk says. The previous file is untouched then, and the temporary one gone.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomically_after(path, bytes, || Ok(()))
}

/// As [`write_atomically`]; `prepare` runs once the new bytes are on the disk, before they take the
/// place of the file.
///
/// # Errors
/// As there; those of `prepare`, which leave the previous file in its place.
pub fn write_atomically_after(path: &Path, bytes: &[u8], prepare: impl FnOnce() -> io::Result<()>) -> Result<()> {
    write_with(path, |file| file.write_all(bytes), prepare).map_err(|problem| explain(path, &problem))
}

/// Tries whether [`write_atomically`] could write a file at `path`, and leaves nothing behind.
///
/// # Errors
/// Why it could not.
pub fn try_to_write(path: &Path) -> Result<(), Unwritable> {
    let target = Target::of(path)?;
    let made = make_folders(target.folder())?;
    let tried = temporary::create(target.folder(), target.name(), target.existing.as_ref());
    let tried = tried.map_err(Unwritable::from).and_then(|file| {
        target.expect_replaceable(&file.as_file().metadata()?)?;
        // The name itself may be too long where its temporary name is not.
        match fs::symlink_metadata(&target.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    });
    for folder in made.iter().rev() {
        // Another process may have begun to use it.
        let _ = fs::remove_dir(folder);
    }
    tried
}

/// Removes the temporary files in `folder` that killed processes left; those of living ones stay.
pub fn clear_left_files(folder: &Path) {
    temporary::clear(folder);
}

/// A file that is complete under a temporary name beside its place; removed when dropped.
#[derive(Debug)]
struct Staged {
    file: NamedTempFile,
    target: Target,
}

impl Staged {
    fn name(&self) -> &OsStr {
        self.target.name()
    }
}

fn stage(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> Result<Staged, Unwritable> {
    let target = Target::of(path)?;
    make_folders(target.folder())?;
    let mut file = temporary::create(target.folder(), target.name(), target.existing.as_ref())?;
    fill(file.as_file_mut())?;
    file.as_file_mut().flush()?;
    file.as_file().sync_all()?;
    Ok(Staged { file, target })
}

fn write_with(
    path: &Path,
    fill: impl FnOnce(&mut File) -> io::Result<()>,
    prepare: impl FnOnce() -> io::Result<()>,
) -> Result<(), Unwritable> {
    let Staged { file, target } = stage(path, fill)?;
    prepare()?;
    file.persist(&target.path).map_err(|error| error.error)?;
    sync_folder(target.folder());
    Ok(())
}

/// The folders that had to be made, the outermost first.
fn make_folders(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let missing = folder.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists());
    let mut missing: Vec<PathBuf> = missing.map(Path::to_path_buf).collect();
    missing.reverse();
    fs::create_dir_all(folder)?;
    Ok(missing)
}

fn sync_folder(folder: &Path) {
    // The files are in place; that some file systems cannot sync a folder is no reason to call them
    // lost.
    if let Err(error) = File::open(folder).and_then(|folder| folder.sync_all()) {
        tracing::debug!("cannot sync the folder {}: {error}", folder.display());
    }
}

fn explain(path: &Path, problem: &Unwritable) -> Error {
    let kept = if path.is_file() { "; the previous file is unchanged" } else { "" };
    let kind = match problem {
        Unwritable::Empty => ErrorKind::Config,
        _ => ErrorKind::Failed,
    };
    Error::new(kind, problem.to_string()).context(format!(
        "cannot write {}{kept}; {}",
        path.display(),
        problem.advice()
    ))
}

#[cfg(test)]
mod tests;
