//! The six files of CIFAR-10's binary version: where they lie, whether they are whole, and what is
//! in them.
//!
//! A file is 10,000 records of 3,073 bytes: a label, then the red, green and blue planes of a 32×32
//! image, row by row (<https://www.cs.toronto.edu/~kriz/cifar.html>).

use pocketflow::dataset::images::ImagesInMemory;
use pocketflow::error::Context as _;
use pocketflow::graph::Shape;
use pocketflow::{Error, ErrorKind, Result};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// `[channels, height, width]`.
pub const SHAPE: Shape = [3, 32, 32];
pub const LABELS: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];
/// In one file.
pub const RECORDS: u64 = 10_000;

const PLANE: usize = 32 * 32;
pub const RECORD: usize = 1 + 3 * PLANE;
pub const FILE_BYTES: u64 = RECORDS * RECORD as u64;
pub const TRAINING: [&str; 5] =
    ["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"];
pub const TEST: &str = "test_batch.bin";
/// The folder that the archive unpacks to.
const UNPACKED: &str = "cifar-10-batches-bin";
const ARCHIVE: &str = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz";

/// The folder that holds the files.
#[derive(Debug, Clone)]
pub struct Files {
    folder: PathBuf,
}

impl Files {
    /// Looks for the files in `data_dir` and in the folder of the archive below it, and checks that
    /// all are there and have the right size. Reads none of them.
    ///
    /// # Errors
    /// [`ErrorKind::DataNotFound`] where there is no folder or none of the files; otherwise which
    /// file is missing, or truncated, or too long.
    pub fn find(data_dir: &Path) -> Result<Self> {
        let names = || TRAINING.into_iter().chain([TEST]);
        for folder in candidates(data_dir) {
            let mut missing = Vec::new();
            let mut found = Vec::new();
            for name in names() {
                match fs::metadata(folder.join(name)) {
                    Ok(metadata) => found.push((folder.join(name), metadata)),
                    Err(error) if is_absent(&error) => missing.push(name),
                    Err(error) => return Err(error).with_context(|| folder.join(name).display().to_string()),
                }
            }
            if found.is_empty() {
                continue;
            }
            if !missing.is_empty() {
                let (folder, missing) = (folder.display(), missing.join(", "));
                return Err(Error::failed(format!("{folder}: {missing} missing; {}", how_to_get(data_dir))));
            }
            for (path, metadata) in found {
                check_size(&path, &metadata)?;
            }
            return Ok(Self { folder });
        }
        Err(nothing_in(data_dir))
    }

    /// The first `count` training images.
    ///
    /// # Errors
    /// A file that cannot be read or has changed its size, a label over 9: with file, record and
    /// byte.
    pub fn training(&self, count: u64) -> Result<ImagesInMemory> {
        self.read(&TRAINING, count)
    }

    /// The first `count` test images.
    ///
    /// # Errors
    /// As [`Files::training`].
    pub fn test(&self, count: u64) -> Result<ImagesInMemory> {
        self.read(&[TEST], count)
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn read(&self, names: &[&str], count: u64) -> Result<ImagesInMemory> {
        let available = RECORDS * names.len() as u64;
        if count > available {
            return Err(Error::config(format!("{count} images are wanted, the files hold {available}")));
        }
        let mut images = Decoded::with_capacity(count as usize);
        for (file, name) in names.iter().enumerate() {
            let wanted = count.saturating_sub(file as u64 * RECORDS).min(RECORDS);
            if wanted == 0 {
                break;
            }
            let path = self.folder.join(name);
            let records = read_start(&path, wanted as usize * RECORD)?;
            images.decode(&records).map_err(|problem| Error::failed(format!("{}: {problem}", path.display())))?;
        }
        ImagesInMemory::new(SHAPE, images.pixels, images.labels)
    }
}

/// Where the files may lie.
pub fn candidates(data_dir: &Path) -> [PathBuf; 2] {
    [data_dir.to_owned(), data_dir.join(UNPACKED)]
}

/// That there are none of the files.
pub fn nothing_in(data_dir: &Path) -> Error {
    let place = data_dir.display();
    let problem = match fs::metadata(data_dir) {
        Ok(metadata) if !metadata.is_dir() => {
            return Error::config(format!("`data_dir`: {place} is not a folder; name the one with the images"));
        }
        Ok(_) => "holds none of its files (data_batch_1.bin to data_batch_5.bin, test_batch.bin)",
        Err(_) => "is not there",
    };
    let text = format!("no CIFAR-10 images: the folder {place} {problem}; {}", how_to_get(data_dir));
    Error::new(ErrorKind::DataNotFound, text)
}

/// True where the path leads nowhere, also because a part of it is a file.
pub fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn how_to_get(data_dir: &Path) -> String {
    let place = data_dir.display();
    format!(
        "get the binary version from {ARCHIVE} and unpack it: mkdir -p {place} && tar -xzf cifar-10-binary.tar.gz -C {place}"
    )
}

pub fn check_size(path: &Path, metadata: &fs::Metadata) -> Result<()> {
    let (place, bytes) = (path.display(), metadata.len());
    if !metadata.is_file() {
        return Err(Error::failed(format!("{place}: not a file")));
    }
    let problem = match bytes.cmp(&FILE_BYTES) {
        std::cmp::Ordering::Less => "truncated",
        std::cmp::Ordering::Equal => return Ok(()),
        std::cmp::Ordering::Greater => "too long",
    };
    Err(Error::failed(format!(
        "{place}: {problem}, {bytes} bytes instead of {FILE_BYTES} ({RECORDS} records of {RECORD}); get it again from {ARCHIVE}"
    )))
}

fn read_start(path: &Path, bytes: usize) -> Result<Vec<u8>> {
    let place = || path.display().to_string();
    let file = File::open(path).with_context(place)?;
    // Again, since it may have been replaced after it was found.
    check_size(path, &file.metadata().with_context(place)?)?;
    let mut start = Vec::with_capacity(bytes);
    file.take(bytes as u64).read_to_end(&mut start).with_context(place)?;
    Ok(start)
}

/// Images as batches want them: height, width, channels.
struct Decoded {
    pixels: Vec<u8>,
    labels: Vec<u32>,
}

impl Decoded {
    fn with_capacity(count: usize) -> Self {
        Self { pixels: Vec::with_capacity(count * 3 * PLANE), labels: Vec::with_capacity(count) }
    }

    /// Appends the images of whole records; on failure says where, counting from the start of
    /// `records`.
    fn decode(&mut self, records: &[u8]) -> Result<(), String> {
        let (records, rest) = records.as_chunks::<RECORD>();
        for (number, record) in records.iter().enumerate() {
            let (label, planes) = (record[0], &record[1..]);
            if usize::from(label) >= LABELS.len() {
                let offset = number * RECORD;
                return Err(format!(
                    "record {number} (from 0) at byte {offset}: label {label} is over 9; damaged, or no binary version of CIFAR-10"
                ));
            }
            self.labels.push(label.into());
            let (red, rest) = planes.split_at(PLANE);
            let (green, blue) = rest.split_at(PLANE);
            let start = self.pixels.len();
            self.pixels.resize(start + 3 * PLANE, 0);
            let pixels = self.pixels[start..].as_chunks_mut::<3>().0;
            for (((pixel, red), green), blue) in pixels.iter_mut().zip(red).zip(green).zip(blue) {
                *pixel = [*red, *green, *blue];
            }
        }
        match rest.len() {
            0 => Ok(()),
            bytes => Err(format!("record {} (from 0) ends after {bytes} of {RECORD} bytes", records.len())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(records: &[u8]) -> Result<Decoded, String> {
        let mut images = Decoded::with_capacity(0);
        images.decode(records).map(|()| images)
    }

    #[test]
    fn planes_become_pixels() {
        let mut record = vec![3];
        record.extend((0..3 * PLANE).map(|byte| (byte / PLANE * 80 + byte % PLANE % 71) as u8));
        let images = decode(&record).unwrap();
        assert_eq!(images.labels, [3]);
        for (place, pixel) in images.pixels.chunks(3).enumerate() {
            let first = (place % 71) as u8;
            assert_eq!(pixel, [first, first + 80, first + 160]);
        }
    }

    #[test]
    fn damage_is_located() {
        let mut records = vec![0; 3 * RECORD];
        records[2 * RECORD] = 10;
        assert_eq!(
            decode(&records).err().unwrap(),
            "record 2 (from 0) at byte 6146: label 10 is over 9; damaged, or no binary version of CIFAR-10"
        );
        assert_eq!(decode(&records[..RECORD + 5]).err().unwrap(), "record 1 (from 0) ends after 5 of 3073 bytes");
    }

    proptest! {
        #[test]
        fn garbage_never_panics(
            labels in prop::collection::vec(0u8..14, 0..4), filling: u8, cut in 0usize..RECORD, length in 0usize..200,
        ) {
            let mut records: Vec<u8> = Vec::new();
            for label in &labels {
                records.push(*label);
                records.extend((1..RECORD).map(|byte| filling.wrapping_mul(byte as u8)));
            }
            records.truncate(records.len().saturating_sub(cut.saturating_sub(length)));
            let whole = records.len().is_multiple_of(RECORD);
            let valid = whole && records.chunks(RECORD).all(|record| record[0] < 10);
            match decode(&records) {
                Ok(images) => {
                    prop_assert!(valid);
                    prop_assert_eq!(images.pixels.len(), images.labels.len() * 3 * PLANE);
                }
                Err(_) => prop_assert!(!valid),
            }
        }
    }
}
