//! Files that are there whole or not at all: a run killed at any moment, or a full disk, leaves the previous file as it was.

use crate::error::{Error, ErrorKind, Result};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Writes a file under a temporary name in the same folder, syncs it and renames it to `path`; missing folders are made.
/// If `path` is a symbolic link, the file that it points to is replaced.
///
/// # Errors
/// Names the path and what to do about it. The previous file is untouched then, and the temporary one gone.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomically_after(path, bytes, || Ok(()))
}

/// As [`write_atomically`]; `prepare` runs once the new bytes are on the disk, before they take the place of the file.
///
/// # Errors
/// As there; those of `prepare`, which leave the previous file in its place.
pub fn write_atomically_after(path: &Path, bytes: &[u8], prepare: impl FnOnce() -> io::Result<()>) -> Result<()> {
    write_with(path, |file| file.write_all(bytes), prepare).map_err(|error| explain(path, &error))
}

fn write_with(
    path: &Path,
    fill: impl FnOnce(&mut File) -> io::Result<()>,
    prepare: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    // A rename would replace a link by the file; a models folder linked to a bigger disk must stay a link.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let name = target.file_name().ok_or(io::ErrorKind::IsADirectory)?.to_string_lossy().into_owned();
    if target.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let folder = match target.parent() {
        Some(parent) if parent != Path::new("") => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    fs::create_dir_all(&folder)?;
    let prefix = format!(".{name}.");
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(".part");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // As any other file, subject to the umask: tempfile's own 0600 would hide models from the user's group.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    // Dropping it on the way out of an error removes it.
    let mut temporary = builder.tempfile_in(&folder)?;
    fill(temporary.as_file_mut())?;
    temporary.as_file_mut().flush()?;
    temporary.as_file().sync_all()?;
    prepare()?;
    temporary.persist(&target).map_err(|error| error.error)?;
    // The file is in place; that some file systems cannot sync a folder is no reason to call it lost.
    if let Err(error) = File::open(&folder).and_then(|folder| folder.sync_all()) {
        tracing::debug!("cannot sync the folder {}: {error}", folder.display());
    }
    Ok(())
}

fn explain(path: &Path, error: &io::Error) -> Error {
    let advice = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free some space, or choose a path on another disk"
        }
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            "choose a path that you may write to, or change the permissions of its folder"
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            "a part of the path is a file, not a folder: choose another path, or move that file away"
        }
        io::ErrorKind::IsADirectory => "this is a folder: give the path of a file",
        io::ErrorKind::FileTooLarge => "raise the limit on file sizes (`ulimit -f`), or choose another disk",
        _ => "check the disk, or choose another path",
    };
    let kept = if path.is_file() { "; the previous file is unchanged" } else { "" };
    let message = format!("cannot write {}{kept}; {advice}", path.display());
    Error::from_error(ErrorKind::Failed, error).context(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn makes_folders_and_replaces() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/model.ckpt");
        write_atomically(&path, b"one").unwrap();
        write_atomically(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(names(path.parent().unwrap()), ["model.ckpt"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_a_link_and_permissions_are_ordinary() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let (real, link, plain) = (folder.path().join("real"), folder.path().join("link"), folder.path().join("plain"));
        fs::write(&plain, "").unwrap();
        write_atomically(&real, b"one").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        write_atomically(&link, b"two").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&real).unwrap(), b"two");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&real), mode(&plain));
    }

    #[test]
    fn a_failure_midway_keeps_the_previous_file_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.ckpt");
        write_atomically(&path, b"good").unwrap();
        let fill = |file: &mut File| {
            file.write_all(b"half of")?;
            Err(io::ErrorKind::StorageFull.into())
        };
        let error = write_with(&path, fill, || Ok(())).unwrap_err();
        let message = explain(&path, &error).to_string();
        assert!(message.starts_with(&format!("cannot write {}; the previous file is unchanged; free", path.display())));
        assert_eq!(fs::read(&path).unwrap(), b"good");
        assert_eq!(names(folder.path()), ["model.ckpt"]);
    }

    #[test]
    fn paths_that_cannot_be() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let message = |path: &Path| write_atomically(path, b"x").unwrap_err().to_string();
        let below = file.join("model.ckpt");
        assert!(
            message(&below).starts_with(&format!("cannot write {}; a part of the path is a file", below.display()))
        );
        assert!(message(folder.path()).contains("this is a folder"));
        assert!(message(Path::new("/")).contains("this is a folder"));
        assert!(message(Path::new("")).contains("cannot write"));
        assert_eq!(names(folder.path()), ["file"]);
    }

    /// A file system of 64 KiB, where one may be mounted (as root, outside of most containers).
    struct SmallDisk(tempfile::TempDir);

    impl SmallDisk {
        fn new() -> Option<Self> {
            let folder = tempfile::tempdir().unwrap();
            let mount =
                Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(folder.path()).output();
            mount.is_ok_and(|output| output.status.success()).then_some(Self(folder))
        }

        fn make_read_only(&self) -> bool {
            let mount = Command::new("mount").args(["-o", "remount,ro"]).arg(self.0.path()).output();
            mount.is_ok_and(|output| output.status.success())
        }
    }

    impl Drop for SmallDisk {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg(self.0.path()).output();
        }
    }

    #[test]
    fn a_full_and_a_read_only_disk() {
        let Some(disk) = SmallDisk::new() else {
            eprintln!("skipped: cannot mount a small disk here");
            return;
        };
        let path = disk.0.path().join("model.ckpt");
        write_atomically(&path, b"good").unwrap();
        let message = write_atomically(&path, &[0; 1 << 20]).unwrap_err().to_string();
        assert!(message.contains("the previous file is unchanged; free some space"), "{message}");
        assert_eq!(fs::read(&path).unwrap(), b"good");
        assert_eq!(names(disk.0.path()), ["model.ckpt"]);
        if disk.make_read_only() {
            let message = write_atomically(&path, b"new").unwrap_err().to_string();
            assert!(
                message.contains("the previous file is unchanged; choose a path that you may write to"),
                "{message}"
            );
            assert_eq!(fs::read(&path).unwrap(), b"good");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_without_permission() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o555)).unwrap();
        if File::create(folder.path().join("probe")).is_ok() {
            eprintln!("skipped: this user may write anywhere");
            return;
        }
        let message = write_atomically(&folder.path().join("model.ckpt"), b"x").unwrap_err().to_string();
        assert!(message.contains("choose a path that you may write to"), "{message}");
    }

    /// The error that a full disk really gives, on any machine.
    #[cfg(target_os = "linux")]
    #[test]
    fn the_kernels_no_space_is_recognised() {
        let error = File::options().write(true).open("/dev/full").unwrap().write_all(b"x").unwrap_err();
        let message = explain(Path::new("m"), &error).to_string();
        assert_eq!(
            message,
            "cannot write m; free some space, or choose a path on another disk: No space left on device (os error 28)"
        );
    }
}
