//! What a file holds, as one number: verdicts on libraries are kept by it, so that a file that was
//! only touched, moved or copied is not tried again.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{File, FileType, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

/// The SHA-256 of a file's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ContentHash([u8; 32]);

impl ContentHash {
    /// # Errors
    /// It is no regular file; it cannot be read.
    pub fn of(path: &Path) -> io::Result<Self> {
        let mut file = open_regular(path)?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 18];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => return Ok(Self(hash.finalize().into())),
                Ok(count) => hash.update(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// 64 hexadecimal digits.
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Opens a regular file for reading; never waits, as opening a pipe does.
///
/// # Errors
/// It is something else: the text says what.
pub fn open_regular(path: &Path) -> io::Result<File> {
    regular(std::fs::metadata(path)?.file_type())?;
    let mut options = OpenOptions::new();
    options.read(true);
    // Between the look and the opening it may have become a pipe.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK | libc::O_NOCTTY);
    let file = options.open(path)?;
    regular(file.metadata()?.file_type())?;
    Ok(file)
}

fn regular(kind: FileType) -> io::Result<()> {
    match special(kind) {
        _ if kind.is_file() => Ok(()),
        what => Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it is {what}, no file"))),
    }
}

#[cfg(unix)]
fn special(kind: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    match () {
        () if kind.is_dir() => "a folder",
        () if kind.is_fifo() => "a pipe",
        () if kind.is_socket() => "a socket",
        () if kind.is_char_device() || kind.is_block_device() => "a device",
        () => "something special",
    }
}

#[cfg(not(unix))]
fn special(kind: FileType) -> &'static str {
    if kind.is_dir() { "a folder" } else { "something special" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_bytes_have_equal_hashes() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b, c] = ["a", "b", "c"].map(|name| dir.path().join(name));
        std::fs::write(&a, "one").unwrap();
        std::fs::write(&b, "one").unwrap();
        std::fs::write(&c, "two").unwrap();
        assert_eq!(ContentHash::of(&a).unwrap(), ContentHash::of(&b).unwrap());
        assert_ne!(ContentHash::of(&a).unwrap(), ContentHash::of(&c).unwrap());
        // Of `printf one | sha256sum`.
        let known = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed";
        assert_eq!(ContentHash::of(&a).unwrap().hex(), known);
    }

    #[test]
    fn what_is_no_file_is_named_and_never_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
        for (path, what) in [(pipe.as_path(), "a pipe"), (dir.path(), "a folder"), (Path::new("/dev/zero"), "a device")]
        {
            assert_eq!(open_regular(path).unwrap_err().to_string(), format!("it is {what}, no file"));
        }
    }
}
