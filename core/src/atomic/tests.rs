//! One file at a time; several together are tried in `together/tests.rs`.

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
    assert!(message(&below).starts_with(&format!("cannot write {}; a part of the path is a file", below.display())));
    assert!(message(folder.path()).contains("this is a folder"));
    assert!(message(Path::new("/")).contains("this is a folder"));
    assert!(message(&folder.path().join("new/")).contains("this is a folder"));
    let empty = write_atomically(Path::new(""), b"x").unwrap_err();
    assert_eq!(empty.kind(), ErrorKind::Config);
    assert!(empty.to_string().contains("the path is empty"), "{empty}");
    assert_eq!(names(folder.path()), ["file"]);
}

/// A file system of 64 KiB, where one may be mounted (as root, outside of most containers).
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(folder.path()).output();
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
        assert!(message.contains("the previous file is unchanged; choose a path that you may write to"), "{message}");
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
    let message = explain(Path::new("m"), &error.into()).to_string();
    assert_eq!(
        message,
        "cannot write m; free some space, or choose a path on another disk: No space left on device (os error 28)"
    );
}

/// What a rename would replace by a file.
#[cfg(unix)]
#[test]
fn devices_pipes_sockets_and_links_to_nothing_are_left_alone() {
    use std::os::unix::fs::FileTypeExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    assert!(Command::new("mkfifo").arg(path("pipe")).status().unwrap().success());
    let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
    std::os::unix::fs::symlink("nowhere/model.ckpt", path("dangling")).unwrap();
    std::os::unix::fs::symlink("/dev/null", path("null")).unwrap();
    for (name, said) in [("pipe", "a pipe"), ("socket", "a socket"), ("dangling", "nowhere"), ("null", "a device")] {
        let message = write_atomically(&path(name), b"x").unwrap_err().to_string();
        assert!(message.contains(said), "{name}: {message}");
        let tried = try_to_write(&path(name)).unwrap_err().to_string();
        assert!(tried.contains(said), "{name}: {tried}");
    }
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    assert!(fs::symlink_metadata(path("dangling")).unwrap().is_symlink());
    assert_eq!(names(folder.path()).len(), 4);
}

#[cfg(unix)]
#[test]
fn a_file_keeps_its_permissions() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.ckpt");
    for mode in [0o600, 0o664, 0o400] {
        fs::write(&path, "one").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        write_atomically(&path, b"two").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode);
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn names_as_long_as_they_may_be() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(format!("{}.ckpt", "m".repeat(250)));
    try_to_write(&path).unwrap();
    write_atomically(&path, b"one").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"one");
    let longer = folder.path().join("m".repeat(256));
    assert_eq!(try_to_write(&longer).unwrap_err().advice(), "choose a shorter name");
    assert!(write_atomically(&longer, b"x").is_err());
    assert_eq!(names(folder.path()).len(), 1);
}

#[cfg(unix)]
#[test]
fn names_that_are_not_unicode() {
    use std::os::unix::ffi::OsStrExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(OsStr::from_bytes(b"m\xff.ckpt"));
    write_atomically(&path, b"one").unwrap();
    write_atomically(&path, b"two").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"two");
}

#[test]
fn a_try_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    try_to_write(&folder.path().join("a/b/model.ckpt")).unwrap();
    assert_eq!(names(folder.path()), [""; 0]);
    fs::write(folder.path().join("file"), "").unwrap();
    assert!(try_to_write(&folder.path().join("file/model.ckpt")).unwrap_err().advice().contains("is a file"));
}
