//! Private copies of libraries: what this process has loaded is nobody else's to change. `cp` onto
//! a library file changes the code that runs, or takes it away, in the middle of a run.
//!
//! | loaded is | where |
//! |---|---|
//! | a copy | `$XDG_CACHE_HOME/pocketflow/libraries/HASH/NAME`, made before the first use, compared with its hash at each |
//! | a copy in memory | where that folder cannot be written, or programs cannot be loaded from it |
//! | the file itself | where it looks for libraries beside itself (`$ORIGIN` in its run path), which only the file finds; where there is no memory either |
//!
//! A copy is read only and replaced as a whole: other processes may have it loaded. What no known
//! library holds any more is removed when the next copy is made.

use super::cache::{self, Cache};
use super::content::{ContentHash, open_regular};
use super::neighbours;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Copies that were used since then stay, whatever they hold: somebody may be about to load them.
const JUST_USED: Duration = Duration::from_secs(3600);

/// Why nothing can be loaded.
#[derive(Debug)]
pub enum NotThere {
    /// The file holds something else now.
    Changed,
    Unreadable(io::Error),
}

/// Why there is no copy of one kind.
enum Failed {
    Changed,
    System(io::Error),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// The file to load for a library that held `content` when it was looked at.
///
/// # Errors
/// See [`NotThere`].
pub fn to_load(library: &Path, content: &ContentHash) -> Result<PathBuf, NotThere> {
    let folder = cache::folder().map(|folder| folder.join("pocketflow").join("libraries"));
    to_load_from(folder.as_deref(), library, content)
}

fn to_load_from(folder: Option<&Path>, library: &Path, content: &ContentHash) -> Result<PathBuf, NotThere> {
    let shown = library.display();
    if neighbours::are_looked_for(library) {
        tracing::debug!("`{shown}` looks for libraries beside itself: it is loaded from where it lies");
        return in_place(library, content);
    }
    let kept = match folder {
        Some(folder) => in_folder(folder, library, content),
        None => Err(io::Error::other("neither XDG_CACHE_HOME nor HOME names a folder").into()),
    };
    match kept {
        Ok(path) => return Ok(path),
        Err(Failed::Changed) => return Err(NotThere::Changed),
        Err(Failed::System(error)) => {
            tracing::debug!("no copy of `{shown}` is kept ({error}): a copy in memory is loaded");
        }
    }
    match in_memory(library, content) {
        Ok(path) => Ok(path),
        Err(Failed::Changed) => Err(NotThere::Changed),
        Err(Failed::System(error)) => {
            let loaded = in_place(library, content)?;
            tracing::warn!(
                "`{shown}` is loaded from where it lies, as it cannot be copied ({error}): writing over it ends this program"
            );
            Ok(loaded)
        }
    }
}

fn in_place(library: &Path, content: &ContentHash) -> Result<PathBuf, NotThere> {
    match ContentHash::of(library) {
        Ok(now) if now == *content => Ok(library.to_owned()),
        Ok(_) => Err(NotThere::Changed),
        Err(error) => Err(NotThere::Unreadable(error)),
    }
}

/// The copy in the user's cache, made where it is missing or damaged.
fn in_folder(folder: &Path, library: &Path, content: &ContentHash) -> Result<PathBuf, Failed> {
    let own = folder.join(content.hex());
    // Debuggers and messages of the system tell people the name.
    let copy = own.join(library.file_name().unwrap_or(OsStr::new("library")));
    create(folder)?;
    may_load_from(folder)?;
    if holds(&copy, content)? {
        return Ok(copy);
    }
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    if ContentHash::copied(open_regular(library)?, &mut file)? != *content {
        return Err(Failed::Changed);
    }
    create(&own)?;
    protect(file.as_file())?;
    let _: File = file.persist(&copy).map_err(|error| error.error)?;
    let mut held: BTreeSet<String> = Cache::open().held().map(ContentHash::hex).collect();
    held.insert(content.hex());
    remove_old(folder, &held);
    Ok(copy)
}

/// Whether there is a copy, and what it should be; a use is marked by its time.
fn holds(copy: &Path, content: &ContentHash) -> io::Result<bool> {
    let file = match open_regular(copy) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let sound = ContentHash::copied(&file, io::sink())? == *content;
    if sound {
        // Where that cannot be kept, the copy may be removed too early, and is made again.
        let _ = file.set_modified(SystemTime::now());
    }
    Ok(sound)
}

/// A folder for this user alone.
fn create(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

#[cfg(unix)]
fn protect(file: &File) -> io::Result<()> {
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o400))
}

#[cfg(not(unix))]
fn protect(_: &File) -> io::Result<()> {
    Ok(())
}

/// Systems can be told to load no code from a disk.
#[cfg(target_os = "linux")]
fn may_load_from(folder: &Path) -> io::Result<()> {
    let flags = rustix::fs::statvfs(folder)?.f_flag;
    match flags.contains(rustix::fs::StatVfsMountFlags::NOEXEC) {
        true => Err(io::Error::other(format!("the disk of {} is mounted `noexec`", folder.display()))),
        false => Ok(()),
    }
}

#[cfg(not(target_os = "linux"))]
fn may_load_from(_: &Path) -> io::Result<()> {
    Ok(())
}

/// A file without a name, which nobody can change any more.
#[cfg(target_os = "linux")]
fn in_memory(library: &Path, content: &ContentHash) -> Result<PathBuf, Failed> {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
    use std::os::fd::IntoRawFd;
    let name = library.file_name().unwrap_or(OsStr::new("library"));
    let made = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).map_err(io::Error::from)?;
    let file = File::from(made);
    if ContentHash::copied(open_regular(library)?, &file)? != *content {
        return Err(Failed::Changed);
    }
    let all = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
    fcntl_add_seals(&file, all).map_err(io::Error::from)?;
    // Open until the process ends, as the library is.
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.into_raw_fd()));
    fs::metadata(&path)?;
    Ok(path)
}

#[cfg(not(target_os = "linux"))]
fn in_memory(_: &Path, _: &ContentHash) -> Result<PathBuf, Failed> {
    Err(io::Error::from(io::ErrorKind::Unsupported).into())
}

/// Removes copies that no known library holds, and what killed processes left. What cannot be
/// removed stays; a process that has loaded it keeps it.
fn remove_old(folder: &Path, held: &BTreeSet<String>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.filter_map(Result::ok) {
        if entry.file_name().to_str().is_some_and(|name| held.contains(name)) {
            continue;
        }
        let path = entry.path();
        let Ok(about) = entry.metadata() else { continue };
        let within = fs::read_dir(&path).into_iter().flatten().filter_map(|file| file.ok()?.metadata().ok());
        let used = within.chain([about.clone()]).filter_map(|about: Metadata| about.modified().ok()).max();
        let old = used.and_then(|used| used.elapsed().ok()).is_some_and(|age| age > JUST_USED);
        let removed = match (old, about.is_dir()) {
            (false, _) => continue,
            (true, true) => fs::remove_dir_all(&path),
            (true, false) => fs::remove_file(&path),
        };
        if let Err(error) = removed {
            tracing::debug!("{} stays: {error}", path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A library, its content, and a folder for copies.
    fn library() -> (tempfile::TempDir, PathBuf, ContentHash, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let (path, folder) = (dir.path().join("a.so"), dir.path().join("cache/libraries"));
        fs::write(&path, "one").unwrap();
        let content = ContentHash::of(&path).unwrap();
        (dir, path, content, folder)
    }

    #[test]
    fn a_copy_outlives_what_becomes_of_the_library() {
        let (_dir, path, content, folder) = library();
        let copy = to_load_from(Some(&folder), &path, &content).unwrap();
        assert_eq!(copy, folder.join(content.hex()).join("a.so"));
        fs::write(&path, "two").unwrap();
        assert_eq!(to_load_from(Some(&folder), &path, &content).unwrap(), copy);
        assert_eq!(fs::read(&copy).unwrap(), b"one");
        // What is there now is another library.
        fs::remove_file(&copy).unwrap();
        let now = to_load_from(Some(&folder), &path, &content);
        assert!(matches!(now, Err(NotThere::Changed)), "{now:?}");
        fs::remove_file(&path).unwrap();
        let now = to_load_from(Some(&folder), &path, &content);
        assert!(matches!(now, Err(NotThere::Unreadable(_))), "{now:?}");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "no part of a copy is left");
    }

    #[test]
    fn a_damaged_copy_is_replaced_not_changed() {
        let (_dir, path, content, folder) = library();
        let copy = to_load_from(Some(&folder), &path, &content).unwrap();
        fs::remove_file(&copy).unwrap();
        fs::write(&copy, "on").unwrap();
        let loaded = File::open(&copy).unwrap();
        assert_eq!(to_load_from(Some(&folder), &path, &content).unwrap(), copy);
        assert_eq!(fs::read(&copy).unwrap(), b"one");
        assert_eq!(io::read_to_string(loaded).unwrap(), "on", "who has loaded it keeps it");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn without_a_folder_the_copy_is_in_memory() {
        let (_dir, path, content, _) = library();
        for folder in [None, Some(path.join("below/a/file"))] {
            fs::write(&path, "one").unwrap();
            let copy = to_load_from(folder.as_deref(), &path, &content).unwrap();
            assert!(copy.starts_with("/proc/self/fd"), "{}", copy.display());
            assert!(fs::write(&copy, "three").is_err(), "nobody writes to it");
            fs::write(&path, "two").unwrap();
            assert_eq!(fs::read(&copy).unwrap(), b"one");
            let now = to_load_from(folder.as_deref(), &path, &content);
            assert!(matches!(now, Err(NotThere::Changed)), "{now:?}");
        }
    }

    #[test]
    fn what_nobody_holds_is_removed_when_it_was_not_used_for_long() {
        let (_dir, path, content, folder) = library();
        let copy = to_load_from(Some(&folder), &path, &content).unwrap();
        fs::write(folder.join("left by a killed process"), "on").unwrap();
        let count = || fs::read_dir(&folder).unwrap().count();
        remove_old(&folder, &BTreeSet::new());
        assert_eq!(count(), 2, "all is new");
        let before = SystemTime::now() - 2 * JUST_USED;
        for place in [copy.as_path(), &folder.join("left by a killed process"), &folder.join(content.hex())] {
            File::open(place).unwrap().set_modified(before).unwrap();
        }
        remove_old(&folder, &BTreeSet::from([content.hex()]));
        assert_eq!(count(), 1);
        // A use counts.
        to_load_from(Some(&folder), &path, &content).unwrap();
        remove_old(&folder, &BTreeSet::new());
        assert!(copy.exists());
        File::open(&copy).unwrap().set_modified(before).unwrap();
        remove_old(&folder, &BTreeSet::new());
        assert_eq!(count(), 0);
    }
}
