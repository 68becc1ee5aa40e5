//! Several files of one folder that belong together: all are replaced or none, also where the
//! process is killed, the disk is full, or a rename fails in between.
//!
//! All new files are complete under temporary names, and the old ones have second names, before a
//! journal is written; then come the renames. With the journal there, an interrupted switch is
//! completed by the next process that looks; where that fails, all old files come back.

use super::target::Target;
use super::{Staged, explain, stage, sync_folder, temporary, write_atomically};
use crate::error::{Context, Error, Result};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

/// There only while a switch is under way.
pub const JOURNAL: &str = ".export.journal";
/// How long the folder may be looked after by others, who only remove left files.
const PATIENCE: Duration = Duration::from_secs(2);

/// A folder in which this process alone replaces files together, until dropped.
#[derive(Debug)]
pub struct Together {
    folder: PathBuf,
    _lock: Option<File>,
}

/// What the journal says of one file: names in the folder that the file lies in.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    name: String,
    new: String,
    /// `None`: there was no file before.
    old: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Journal {
    files: Vec<Entry>,
}

impl Together {
    /// Takes the folder, completes a switch that was interrupted, and removes what killed processes
    /// left.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Config`] where another process replaces files there; an interrupted
    /// switch that can be neither completed nor taken back.
    pub fn begin(folder: &Path) -> Result<Self> {
        let lock = take(folder)?;
        let begun = Self { folder: folder.to_owned(), _lock: lock };
        if begun.settle()? {
            tracing::warn!("an export into {} was interrupted; it is completed now", folder.display());
        }
        Ok(begun)
    }

    /// Replaces these files, by name, or none of them; the last one last.
    ///
    /// # Errors
    /// Names the file that cannot be written. All old files are there then, and nothing new.
    pub fn write(&self, files: &[(&str, &[u8])]) -> Result<()> {
        let mut staged: Vec<Staged> = Vec::new();
        for (name, bytes) in files {
            let path = self.folder.join(name);
            let made = stage(&path, |file| file.write_all(bytes));
            staged.push(made.map_err(|problem| explain(&path, &problem))?);
        }
        let kept: Result<Vec<_>> = staged
            .iter()
            .map(|staged| match &staged.target.existing {
                Some(_) => temporary::keep(staged.target.folder(), staged.name(), &staged.target.path)
                    .map(Some)
                    .map_err(|error| explain(&staged.target.path, &error.into())),
                None => Ok(None),
            })
            .collect();
        let kept = kept?;
        let entries = files.iter().zip(&staged).zip(&kept).map(|(((file, _), staged), kept)| {
            let name = (*file).to_owned();
            let old = kept.as_ref().map(|kept| last_part(kept.path())).transpose()?;
            Ok(Entry { name, new: last_part(staged.file.path())?, old })
        });
        let journal = Journal { files: entries.collect::<Result<_>>()? };
        let text = serde_json::to_vec(&journal).map_err(|error| Error::failed(error.to_string()))?;
        write_atomically(&self.folder.join(JOURNAL), &text)?;
        // From here on the files are the journal's: an error of this process is handled as a kill
        // is.
        for file in staged {
            file.file.keep().map_err(|error| Error::from(error.error))?;
        }
        for file in kept.into_iter().flatten() {
            file.keep().map_err(|error| Error::from(error.error))?;
        }
        self.settle().map(|_| ())
    }

    /// Completes what the journal says, or takes it back; whether there was one.
    fn settle(&self) -> Result<bool> {
        let path = self.folder.join(JOURNAL);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.clear();
                return Ok(false);
            }
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let damaged = || Error::failed(format!("{} is damaged; remove it, and export again", path.display()));
        let journal: Journal = serde_json::from_slice(&text).map_err(|_| damaged())?;
        let mut moves = Vec::new();
        for entry in &journal.files {
            moves.push(Move::of(&self.folder, entry).ok_or_else(damaged)?);
        }
        let done = moves.iter().try_for_each(|file| file.forward().map_err(|error| (file, error)));
        let failed = done.err().map(|(file, error)| explain(&file.target, &error.into()));
        if failed.is_some() {
            for file in moves.iter().rev() {
                file.back().with_context(|| {
                    format!("{}: a file is of another export than those beside it; export again", file.target.display())
                })?;
            }
        }
        for file in &moves {
            sync_folder(file.target.parent().unwrap_or(&self.folder));
        }
        fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        for left in moves.iter().flat_map(|file| [Some(&file.new), file.old.as_ref()]).flatten() {
            // What stays is removed as any other temporary file.
            let _ = fs::remove_file(left);
        }
        self.clear();
        failed.map_or(Ok(true), Err)
    }

    fn clear(&self) {
        if self._lock.is_some() {
            temporary::clear_taken(&self.folder);
        }
    }
}

/// Completes an interrupted switch in `folder`, if there is one; files are looked at after.
///
/// # Errors
/// As [`Together::begin`].
pub fn settle(folder: &Path) -> Result<()> {
    match folder.join(JOURNAL).exists() {
        true => Together::begin(folder).map(|_| ()),
        false => Ok(()),
    }
}

/// The lock of a folder in which nobody replaces files together and no switch waits for its
/// completion; `None`: somebody does, or it cannot be known.
pub fn undisturbed(folder: &Path) -> Option<File> {
    let lock = File::open(folder).ok()?;
    lock.try_lock().ok()?;
    (!folder.join(JOURNAL).exists()).then_some(lock)
}

/// `None` where the file system has no locks.
fn take(folder: &Path) -> Result<Option<File>> {
    let failed = || format!("cannot open the folder {}", folder.display());
    let lock = File::open(folder).with_context(failed)?;
    let start = Instant::now();
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(Some(lock)),
            Err(TryLockError::WouldBlock) if start.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(TryLockError::WouldBlock) => {
                let text = format!("another process writes files into {}; wait for it", folder.display());
                return Err(Error::config(text));
            }
            Err(TryLockError::Error(error)) => {
                tracing::debug!("the folder {} is not locked: {error}", folder.display());
                return Ok(None);
            }
        }
    }
}

/// The name of a temporary file, for the journal.
fn last_part(path: &Path) -> Result<String> {
    let name = path.file_name().and_then(OsStr::to_str).map(str::to_owned);
    name.ok_or_else(|| Error::config(format!("{}: the name of the file is not Unicode; rename it", path.display())))
}

/// One file's part in a switch.
struct Move {
    new: PathBuf,
    target: PathBuf,
    old: Option<PathBuf>,
}

impl Move {
    /// `None`: the entry names what no journal of ours names.
    fn of(folder: &Path, entry: &Entry) -> Option<Self> {
        let plain = |name: &str| {
            let mut parts = Path::new(name).components();
            matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None))
        };
        let ours = |name: &String| plain(name) && temporary::is_temporary(OsStr::new(name));
        if !plain(&entry.name) || !ours(&entry.new) || !entry.old.iter().all(ours) {
            return None;
        }
        let target = Target::of(&folder.join(&entry.name)).ok()?;
        let beside = |name: &String| target.folder().join(name);
        Some(Self { new: beside(&entry.new), old: entry.old.as_ref().map(beside), target: target.path.clone() })
    }

    fn forward(&self) -> io::Result<()> {
        // It is in its place already.
        if !self.new.exists() { Ok(()) } else { fs::rename(&self.new, &self.target) }
    }

    /// The state before, whether or not the file was moved.
    fn back(&self) -> io::Result<()> {
        if self.new.exists() {
            return Ok(());
        }
        match &self.old {
            Some(old) if old.exists() => fs::rename(old, &self.target),
            Some(_) => Ok(()),
            None => fs::remove_file(&self.target),
        }
    }
}

#[cfg(test)]
mod tests;
