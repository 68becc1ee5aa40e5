//! What a file holds, as one number: verdicts on libraries are kept by it, so that a file that was
//! only touched, moved or copied is not tried again; and so are their private copies.

use serde::{Deserialize, Serialize};
use std::fs::{File, FileType, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

/// The BLAKE3 of a file's bytes: several times as fast as SHA-256, which each start of a run would
/// notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ContentHash([u8; 32]);

impl ContentHash {
    /// # Errors
    /// It is no regular file; it cannot be read.
    pub fn of(path: &Path) -> io::Result<Self> {
        Self::copied(open_regular(path)?, io::sink())
    }

    /// Copies all bytes; the hash is of those that were written.
    ///
    /// # Errors
    /// They cannot be read; they cannot be written.
    pub fn copied(mut from: impl Read, mut to: impl Write) -> io::Result<Self> {
        let mut hash = blake3::Hasher::new();
        let mut buffer = vec![0; 1 << 18];
        loop {
            match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    hash.update(&buffer[..count]);
                    to.write_all(&buffer[..count])?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        to.flush()?;
        Ok(Self(hash.finalize().into()))
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
        // Of `b3sum /dev/null`.
        std::fs::write(&a, "").unwrap();
        let known = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert_eq!(ContentHash::of(&a).unwrap().hex(), known);
        let mut copy = Vec::new();
        assert_eq!(ContentHash::copied(File::open(&c).unwrap(), &mut copy).unwrap(), ContentHash::of(&c).unwrap());
        assert_eq!(copy, b"two");
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
