//! Where encoded images come from: files read by index, whatever their layout. Nothing here
//! decodes.

use pocketflow::Error;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

/// The largest encoded image or record, in bytes. More is taken for damage, before memory is asked
/// for.
pub const ENCODED_MAX: u64 = 32 << 20;

/// Why there is no image at an index.
#[derive(Debug)]
pub enum Fault {
    /// This one image is damaged; others need not be. What is wrong, without the place.
    Damaged(String),
    /// Nothing can be read, or nothing that is read would be right: with the place.
    Failed(Error),
}

/// Encoded images by index.
pub trait Source: Send + Sync {
    /// The number of images.
    fn count(&self) -> u64;

    /// Replaces the contents of `encoded` by image `index` and returns its label.
    ///
    /// # Errors
    /// [`Fault::Damaged`] for an image that fails its checks; [`Fault::Failed`] for files that are
    /// gone, for labels that the classes do not have, for an index out of range.
    fn read(&self, index: u64, encoded: &mut Vec<u8>) -> Result<u32, Fault>;

    /// Where image `index` lies, for people: a path, or an archive with name and byte.
    fn place(&self, index: u64) -> String;
}

/// Something wrong with a data set, and where.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// A path, with byte or name inside where there is one.
    pub place: String,
    /// What is wrong, without the place.
    pub text: String,
}

impl Problem {
    /// Puts the two together.
    pub fn new(place: impl Into<String>, text: impl Into<String>) -> Self {
        Self { place: place.into(), text: text.into() }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// Replaces the contents of `bytes` by a part of a file.
///
/// # Errors
/// A file that ends early is damage; a file that is gone or cannot be read is a failure.
pub fn read_part(path: &Path, offset: u64, length: u64, bytes: &mut Vec<u8>) -> Result<(), Fault> {
    let read = |bytes: &mut Vec<u8>| -> io::Result<()> {
        let mut file = File::open(path)?;
        if offset > 0 {
            file.seek(SeekFrom::Start(offset))?;
        }
        bytes.clear();
        file.take(length).read_to_end(bytes)?;
        match bytes.len() as u64 == length {
            true => Ok(()),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    };
    read(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => Fault::Damaged(format!("the file ends {} bytes into {length}", bytes.len())),
        _ => Fault::Failed(Error::from(error).context(format!("cannot read {}", path.display()))),
    })
}

/// Replaces the contents of `bytes` by an image file.
///
/// # Errors
/// A file that is empty or too large to be an image is damage; one that is gone or cannot be read
/// is a failure.
pub fn read_whole(path: &Path, bytes: &mut Vec<u8>) -> Result<(), Fault> {
    let length = std::fs::metadata(path)
        .map_err(|error| Fault::Failed(Error::from(error).context(format!("cannot read {}", path.display()))))?;
    match length.len() {
        0 => Err(Fault::Damaged("the file is empty".into())),
        length if length > ENCODED_MAX => {
            Err(Fault::Damaged(format!("{length} bytes are too many for an image; at most {ENCODED_MAX} are taken")))
        }
        length => read_part(path, 0, length, bytes),
    }
}

/// The failure of asking for an image that is not there.
pub fn no_such_image(index: u64, count: u64) -> Fault {
    Fault::Failed(Error::failed(format!("there is no image {index}: there are {count}")))
}
