//! The files under temporary names that become the files of a run, and those that killed processes
//! left.
//!
//! A temporary file is locked while its process lives, so that another process, also one in another
//! container, can tell what a killed one left. Where the file system has no locks, nothing is
//! removed.

use super::together;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use tempfile::NamedTempFile;

/// The end of all names of temporary files.
pub const SUFFIX: &str = ".pocketflow.part";
/// Of a file's name, as much as its temporary name repeats: the rest must fit into what file
/// systems allow for a name.
const STEM_BYTES: usize = 100;

/// Makes an empty file, locked, that is to take the place of `name` in `folder`, with the
/// permissions and the owner of the file that is `there`; a new file has what the umask says.
pub fn create(folder: &Path, name: &OsStr, there: Option<&Metadata>) -> io::Result<NamedTempFile> {
    let prefix = prefix(name);
    loop {
        let file = builder(&prefix, there).tempfile_in(folder)?;
        match file.as_file().try_lock() {
            Ok(()) => {}
            // Another process took it for one that a killed process left.
            Err(TryLockError::WouldBlock) => continue,
            Err(TryLockError::Error(error)) => {
                tracing::debug!("{} is not locked: {error}", file.path().display());
            }
        }
        // The same, before the lock was taken.
        if file.path().exists() {
            if let Some(there) = there {
                dress(file.as_file(), there)?;
            }
            return Ok(file);
        }
    }
}

/// A second name in `folder` for the file at `path`, or a copy of it where the file system has no
/// such names.
pub fn keep(folder: &Path, name: &OsStr, path: &Path) -> io::Result<NamedTempFile<()>> {
    builder(&prefix(name), None).make_in(folder, |second| match fs::hard_link(path, second) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        Err(_) => fs::copy(path, second).map(|_| ()),
        Ok(()) => Ok(()),
    })
}

/// Whether a name is that of a temporary file of ours.
pub fn is_temporary(name: &OsStr) -> bool {
    let bytes = name.as_encoded_bytes();
    bytes.starts_with(b".") && bytes.ends_with(SUFFIX.as_bytes())
}

/// Removes the temporary files in `folder` whose processes are gone.
pub fn clear(folder: &Path) {
    // Files of a switch that was interrupted are its only copies: whoever completes it removes
    // them.
    if let Some(_lock) = together::undisturbed(folder) {
        clear_taken(folder);
    }
}

/// [`clear`] for who holds the folder.
pub fn clear_taken(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if !is_file || !is_temporary(&entry.file_name()) {
            continue;
        }
        let path = entry.path();
        let Ok(file) = OpenOptions::new().read(true).write(true).open(&path) else { continue };
        if file.try_lock().is_ok() {
            match fs::remove_file(&path) {
                Ok(()) => tracing::debug!("removed {}, which a killed process left", path.display()),
                Err(error) => tracing::debug!("cannot remove {}: {error}", path.display()),
            }
        }
    }
}

/// The beginning of the temporary names for `name`.
fn prefix(name: &OsStr) -> OsString {
    let bytes = name.as_encoded_bytes();
    let mut prefix = OsString::from(".");
    match bytes.len() <= STEM_BYTES {
        true => prefix.push(name),
        // Only to be recognised by people; names need not differ, as random letters follow.
        false => prefix.push(String::from_utf8_lossy(&bytes[..STEM_BYTES]).replace(char::REPLACEMENT_CHARACTER, "_")),
    }
    prefix.push(".");
    prefix
}

fn builder<'a>(prefix: &'a OsStr, there: Option<&Metadata>) -> tempfile::Builder<'a, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix).suffix(SUFFIX);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // As any other file, subject to the umask: tempfile's own 0600 would hide models from the
        // user's group.
        let mode = there.map_or(0o666, |there| there.permissions().mode() & 0o777);
        builder.permissions(fs::Permissions::from_mode(mode));
    }
    builder
}

/// Gives a file the permissions and the owner of the one that it replaces.
#[cfg(unix)]
fn dress(file: &File, there: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
    let own = file.metadata()?;
    if (own.uid(), own.gid()) != (there.uid(), there.gid())
        && let Err(error) = fchown(file, Some(there.uid()), Some(there.gid()))
    {
        // Only root may give a file to another user.
        tracing::debug!("the new file has another owner than the old one: {error}");
    }
    file.set_permissions(fs::Permissions::from_mode(there.permissions().mode() & 0o777))
}

#[cfg(not(unix))]
fn dress(_file: &File, _there: &Metadata) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_name_is_never_longer_than_a_name_may_be() {
        for name in ["m".repeat(255), "é".repeat(127), "model.ckpt".into()] {
            let length = prefix(OsStr::new(&name)).len() + 6 + SUFFIX.len();
            // Some encrypting file systems take 143 bytes.
            assert!(length <= 143, "{length} bytes for {name}");
        }
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_what_a_living_one_writes_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let alive = create(folder.path(), OsStr::new("model.ckpt"), None).unwrap();
        let left = folder.path().join(format!(".model.ckpt.abcdef{SUFFIX}"));
        let others =
            [".model.ckpt.abcdef.part", "model.ckpt", "a.pocketflow.part"].map(|name| folder.path().join(name));
        for path in others.iter().chain([&left]) {
            fs::write(path, "x").unwrap();
        }
        clear(folder.path());
        assert!(!left.exists(), "nobody holds it");
        assert!(alive.path().exists() && others.iter().all(|path| path.exists()), "not ours, or in use");
    }
}
