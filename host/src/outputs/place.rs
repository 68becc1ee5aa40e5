//! Where a path leads, so that two ways of writing it are known as the same: links, `./`, second
//! names of one file.

use pocketflow::tensors::MAGIC;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::path::{Component, Path, PathBuf};

/// A place in the file system, where something may or may not be.
#[derive(Debug)]
pub struct Place {
    /// Without links as far as it exists.
    path: PathBuf,
    existing: Option<Metadata>,
}

impl Place {
    pub fn of(path: &Path) -> Self {
        Self { path: resolved(path), existing: fs::metadata(path).ok() }
    }

    pub fn exists(&self) -> bool {
        self.existing.is_some()
    }

    pub fn is_folder(&self) -> bool {
        self.existing.as_ref().is_some_and(Metadata::is_dir)
    }

    /// Whether both are one file.
    pub fn is(&self, other: &Self) -> bool {
        let same_file = match (&self.existing, &other.existing) {
            (Some(one), Some(other)) => one.is_file() && same(one, other),
            _ => false,
        };
        self.path == other.path || same_file
    }

    /// Whether both cannot be files.
    pub fn collides(&self, other: &Self) -> bool {
        self.is(other) || self.lies_in(other) || other.lies_in(self)
    }

    pub fn lies_in(&self, folder: &Self) -> bool {
        self.within(folder).is_some()
    }

    /// The way from a folder to here; `None` where it lies elsewhere, or is the folder.
    pub fn within(&self, folder: &Self) -> Option<&Path> {
        self.path.strip_prefix(&folder.path).ok().filter(|rest| !rest.as_os_str().is_empty())
    }

    /// Whether a file is what a run leaves: a model, a checkpoint, a bit plan.
    pub fn is_result(&self) -> bool {
        if self.path.extension().is_some_and(|extension| extension == "toml") {
            return true;
        }
        let mut head = [0; MAGIC.len()];
        let is_file = self.existing.as_ref().is_some_and(Metadata::is_file);
        is_file && File::open(&self.path).and_then(|mut file| file.read_exact(&mut head)).is_ok() && head == MAGIC
    }
}

/// Absolute, and without links as far as it exists.
fn resolved(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut resolved = PathBuf::new();
    for part in absolute.components() {
        match part {
            // What leads here is without links already, or will be made as a folder.
            Component::ParentDir => drop(resolved.pop()),
            part => resolved.push(part),
        }
        if let Ok(real) = fs::canonicalize(&resolved) {
            resolved = real;
        }
    }
    resolved
}

#[cfg(unix)]
fn same(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(not(unix))]
fn same(_one: &Metadata, _other: &Metadata) -> bool {
    false
}
