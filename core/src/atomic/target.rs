//! What a path that is to be written stands for: the file that will be replaced, or why none can be
//! written there. Devices, pipes and folders are never replaced by a file.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, FileType, Metadata};
use std::io;
use std::path::{Path, PathBuf};

/// The file that a path leads to, links followed.
#[derive(Debug)]
pub struct Target {
    pub path: PathBuf,
    /// `None`: there is no file yet.
    pub existing: Option<Metadata>,
}

/// Why no file can be written at a path.
#[derive(Debug)]
pub enum Unwritable {
    /// The path has no characters.
    Empty,
    /// A folder is there.
    Folder,
    /// With the word for what it is.
    Special(&'static str),
    /// A link to this path, where there is nothing.
    DanglingLink(PathBuf),
    /// A file system is mounted at the file, which cannot be renamed then.
    Mounted,
    /// The folder lets only the owner of a file replace it.
    NotOwner,
    /// The system does not say what is there, or refuses the folder.
    Io(io::Error),
}

impl From<io::Error> for Unwritable {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for Unwritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the path is empty"),
            Self::Folder => f.write_str("it is a folder"),
            Self::Special(what) => write!(f, "it is {what}, which no file may replace"),
            Self::DanglingLink(to) => write!(f, "it is a link to `{}`, which does not exist", to.display()),
            Self::Mounted => f.write_str("it is a mount point, which cannot be replaced"),
            Self::NotOwner => {
                f.write_str("it belongs to another user, in a folder where only the owner may replace it")
            }
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl Unwritable {
    /// What to do about it.
    pub fn advice(&self) -> &'static str {
        use io::ErrorKind as Kind;
        let error = match self {
            Self::Io(error) => error,
            Self::DanglingLink(_) => return "create the folder that it points into, or remove the link",
            Self::Mounted | Self::NotOwner => return "choose another path",
            Self::Folder => return "this is a folder: give the path of a file",
            Self::Empty | Self::Special(_) => return "give the path of a file",
        };
        match error.kind() {
            Kind::StorageFull | Kind::QuotaExceeded => "free some space, or choose a path on another disk",
            Kind::ReadOnlyFilesystem | Kind::PermissionDenied => {
                "choose a path that you may write to, or change the permissions of its folder"
            }
            Kind::NotADirectory | Kind::AlreadyExists => {
                "a part of the path is a file, not a folder: choose another path, or move that file away"
            }
            Kind::InvalidFilename => "choose a shorter name",
            Kind::FileTooLarge => "raise the limit on file sizes (`ulimit -f`), or choose another disk",
            _ => "check the disk, or choose another path",
        }
    }
}

impl Target {
    /// # Errors
    /// An empty path, a folder, a device, a pipe, a socket, a link to nothing, and what the system
    /// says of the path.
    pub fn of(path: &Path) -> Result<Self, Unwritable> {
        if path.as_os_str().is_empty() {
            return Err(Unwritable::Empty);
        }
        // `models/` can only be a folder, also where it does not exist.
        if path.file_name().is_none() || path.as_os_str().as_encoded_bytes().ends_with(b"/") {
            return Err(Unwritable::Folder);
        }
        let found = match fs::symlink_metadata(path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { path: path.to_owned(), existing: None });
            }
            Err(error) => return Err(error.into()),
        };
        // A rename would replace a link by the file; a models folder linked to a bigger disk must
        // stay a link.
        let target = match fs::canonicalize(path) {
            Ok(target) => target,
            Err(error) if error.kind() == io::ErrorKind::NotFound && found.is_symlink() => {
                return Err(Unwritable::DanglingLink(fs::read_link(path)?));
            }
            Err(error) => return Err(error.into()),
        };
        let existing = fs::metadata(&target)?;
        match existing.file_type() {
            kind if kind.is_dir() => Err(Unwritable::Folder),
            kind if kind.is_file() => Ok(Self { path: target, existing: Some(existing) }),
            kind => Err(Unwritable::Special(special(kind))),
        }
    }

    /// The last part of the path; a path without one is a folder, of which none is made.
    pub fn name(&self) -> &OsStr {
        self.path.file_name().unwrap_or_default()
    }

    pub fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        }
    }

    /// What a rename onto the file would fail at, as far as it shows beforehand. `own`: of a file
    /// that this process made in the same folder.
    #[cfg(unix)]
    pub fn expect_replaceable(&self, own: &Metadata) -> Result<(), Unwritable> {
        use std::os::unix::fs::MetadataExt as _;
        let Some(existing) = &self.existing else { return Ok(()) };
        let folder = fs::metadata(self.folder())?;
        let sticky = folder.mode() & 0o1000 != 0;
        if sticky && own.uid() != 0 && own.uid() != existing.uid() && own.uid() != folder.uid() {
            return Err(Unwritable::NotOwner);
        }
        // Not on every system; where it cannot be asked, the rename itself will tell.
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mounted =
            mounts.lines().filter_map(|line| line.split(' ').nth(4)).any(|place| Path::new(place) == self.path);
        if mounted { Err(Unwritable::Mounted) } else { Ok(()) }
    }

    #[cfg(not(unix))]
    pub fn expect_replaceable(&self, _own: &Metadata) -> Result<(), Unwritable> {
        Ok(())
    }
}

#[cfg(unix)]
fn special(kind: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt as _;
    match kind {
        kind if kind.is_fifo() => "a pipe",
        kind if kind.is_socket() => "a socket",
        kind if kind.is_block_device() || kind.is_char_device() => "a device",
        _ => "no ordinary file",
    }
}

#[cfg(not(unix))]
fn special(_kind: FileType) -> &'static str {
    "no ordinary file"
}
