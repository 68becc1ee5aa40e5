//! TFRecord files: where their records lie, and reading one with its checksums verified.
//!
//! A record is its length (8 bytes, little endian), a masked CRC-32C of those 8 bytes, the data,
//! and a masked CRC-32C of the data
//! (<https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details>).

use crate::example;
use pocketflow::Error;
use pocketflow_pictures::parallel;
use pocketflow_pictures::source::{ENCODED_MAX, Fault, Problem, Source, no_such_image, read_part};
use std::fs::File;
use std::io::{self, BufReader, Read as _};
use std::path::{Path, PathBuf};

const HEADER: u64 = 12;
const FOOTER: u64 = 4;

/// What is wrong with a file of records; the caller adds the path.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error("record {record} (from 0) at byte {at}: {problem}")]
    Damaged { record: usize, at: u64, problem: String },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Where a record's data lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Of the data, in bytes from the start of the file.
    pub offset: u64,
    pub length: u32,
}

/// The checksum as TFRecord files store it: rotated, so that a checksum of data with checksums in
/// it stays useful.
fn masked_crc(data: &[u8]) -> u32 {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// Finds the records of a file; verifies lengths and their checksums, not the data.
///
/// # Errors
/// A record that is cut, longer than the file or than [`ENCODED_MAX`], or whose length fails its
/// checksum: with its number and byte. What follows it cannot be found then.
pub fn scan(path: &Path) -> Result<Vec<Record>, RecordError> {
    let file = File::open(path)?;
    let total = file.metadata()?.len();
    let mut reader = BufReader::with_capacity(4096, file);
    let mut records = Vec::new();
    let mut at = 0;
    while at < total {
        let damaged = |problem: String| RecordError::Damaged { record: records.len(), at, problem };
        let left = total - at;
        if left < HEADER + FOOTER {
            return Err(damaged(format!(
                "truncated, {left} bytes are left for a record of at least {}",
                HEADER + FOOTER
            )));
        }
        let (mut length, mut crc) = ([0; 8], [0; 4]);
        reader.read_exact(&mut length)?;
        reader.read_exact(&mut crc)?;
        if masked_crc(&length) != u32::from_le_bytes(crc) {
            return Err(damaged("the checksum of its length is wrong; damaged, or no TFRecord file".into()));
        }
        let length = u64::from_le_bytes(length);
        if length > ENCODED_MAX {
            return Err(damaged(format!("absurd length of {length} bytes; at most {ENCODED_MAX} are taken")));
        }
        if length > left - HEADER - FOOTER {
            return Err(damaged(format!(
                "truncated, {length} bytes of data announced and {left} bytes left in the file"
            )));
        }
        records.push(Record { offset: at + HEADER, length: length as u32 });
        reader.seek_relative((length + FOOTER) as i64)?;
        at += HEADER + length + FOOTER;
    }
    Ok(records)
}

/// Reads a record's data and verifies them.
///
/// # Errors
/// A wrong checksum, or a file that has become shorter, is damage.
pub fn read_record(path: &Path, record: Record, data: &mut Vec<u8>) -> Result<(), Fault> {
    let length = u64::from(record.length);
    read_part(path, record.offset, length + FOOTER, data)?;
    let crc = data.split_off(length as usize);
    let stored = <[u8; 4]>::try_from(crc.as_slice()).map(u32::from_le_bytes);
    match stored.is_ok_and(|stored| stored == masked_crc(data)) {
        true => Ok(()),
        false => Err(Fault::Damaged("the checksum of the data is wrong".into())),
    }
}

/// The failure of a label that the classes do not have.
fn label_out_of_range(place: &str, label: i64, classes: u32) -> Fault {
    Fault::Failed(Error::failed(format!(
        "{place}: label {label} is not among the {classes} classes (0 to {}); set --nb-classes to one more than the \
         largest label, or remake the file with the labels 1 to 1000 of ILSVRC-12",
        classes.saturating_sub(1)
    )))
}

/// The images of a set of TFRecord files, in the order of files and records.
pub struct Shards {
    paths: Vec<PathBuf>,
    /// Index of the first record of each file.
    starts: Vec<u64>,
    records: Vec<Record>,
    classes: u32,
}

impl Shards {
    /// Finds the records of all files. A file with a problem is left out and the problem returned.
    /// 16 bytes of memory a record.
    pub fn open(paths: Vec<PathBuf>, classes: u32, threads: usize) -> (Self, Vec<Problem>) {
        let scanned = parallel::map(&paths, threads, |path| scan(path));
        let mut problems = Vec::new();
        let mut shards = Self { paths: Vec::new(), starts: Vec::new(), records: Vec::new(), classes };
        for (path, records) in paths.into_iter().zip(scanned) {
            match records {
                Ok(records) if records.is_empty() => problems.push(Problem::new(path.display().to_string(), "empty")),
                Ok(records) => {
                    shards.paths.push(path);
                    shards.starts.push(shards.records.len() as u64);
                    shards.records.extend(records);
                }
                Err(error) => problems.push(Problem::new(path.display().to_string(), error.to_string())),
            }
        }
        shards.records.shrink_to_fit();
        (shards, problems)
    }

    fn find(&self, index: u64) -> Option<(&Path, u64, Record)> {
        let record = *self.records.get(usize::try_from(index).ok()?)?;
        let shard = self.starts.partition_point(|start| *start <= index).checked_sub(1)?;
        Some((&self.paths[shard], index - self.starts[shard], record))
    }
}

impl Source for Shards {
    fn count(&self) -> u64 {
        self.records.len() as u64
    }

    fn read(&self, index: u64, encoded: &mut Vec<u8>) -> Result<u32, Fault> {
        let (path, _, record) = self.find(index).ok_or_else(|| no_such_image(index, self.count()))?;
        read_record(path, record, encoded)?;
        let (image, label) = example::parse(encoded).map_err(|error| Fault::Damaged(error.to_string()))?;
        *encoded = image;
        match u32::try_from(label) {
            Ok(label) if label < self.classes => Ok(label),
            _ => Err(label_out_of_range(&self.place(index), label, self.classes)),
        }
    }

    fn place(&self, index: u64) -> String {
        match self.find(index) {
            Some((path, number, record)) => {
                format!("{}: record {number} (from 0) at byte {}", path.display(), record.offset - HEADER)
            }
            None => format!("image {index}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    fn record(data: &[u8]) -> Vec<u8> {
        let length = (data.len() as u64).to_le_bytes();
        let crcs = [masked_crc(&length), masked_crc(data)].map(u32::to_le_bytes);
        [&length[..], &crcs[0], data, &crcs[1]].concat()
    }

    fn scan_bytes(bytes: &[u8]) -> Result<Vec<Record>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shard");
        fs::write(&path, bytes).unwrap();
        scan(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn reads_what_tensorflow_writes() {
        // TensorFlow 2.21: TFRecordWriter(…).write(b"hello").
        let by_tensorflow =
            [0x05, 0, 0, 0, 0, 0, 0, 0, 0xea, 0xb2, 0x04, 0x3e, 0x68, 0x65, 0x6c, 0x6c, 0x6f, 0xbb, 0x1f, 0x1c, 0x19];
        assert_eq!(record(b"hello"), by_tensorflow);
        assert_eq!(scan_bytes(&by_tensorflow).unwrap(), [Record { offset: 12, length: 5 }]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shard");
        let mut damaged = by_tensorflow;
        damaged[14] ^= 1;
        fs::write(&path, damaged).unwrap();
        let mut data = Vec::new();
        let problem = read_record(&path, Record { offset: 12, length: 5 }, &mut data).unwrap_err();
        assert!(matches!(problem, Fault::Damaged(text) if text == "the checksum of the data is wrong"));
        fs::write(&path, by_tensorflow).unwrap();
        read_record(&path, Record { offset: 12, length: 5 }, &mut data).unwrap();
        assert_eq!(data, b"hello");
    }

    #[test]
    fn damage_is_located() {
        let good = record(b"some data");
        let mut wrong = good.clone();
        wrong[0] ^= 1;
        let length = (1u64 << 40).to_le_bytes();
        let absurd = [&length[..], &masked_crc(&length).to_le_bytes(), &[0; 100]].concat();
        let cases = [
            (
                [&good[..], &good[..9]].concat(),
                "record 1 (from 0) at byte 25: truncated, 9 bytes are left for a record of at least 16",
            ),
            (
                [&good[..], &good[..20]].concat(),
                "record 1 (from 0) at byte 25: truncated, 9 bytes of data announced and 20 bytes left in the file",
            ),
            (wrong, "record 0 (from 0) at byte 0: the checksum of its length is wrong; damaged, or no TFRecord file"),
            (absurd, "record 0 (from 0) at byte 0: absurd length of 1099511627776 bytes; at most 33554432 are taken"),
        ];
        for (bytes, problem) in cases {
            assert_eq!(scan_bytes(&bytes).unwrap_err(), problem);
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = scan_bytes(&bytes);
        }

        #[test]
        fn records_are_found(lengths in prop::collection::vec(0usize..5000, 0..20), cut in 1usize..16) {
            let mut bytes: Vec<u8> = lengths.iter().flat_map(|length| record(&vec![7; *length])).collect();
            let found = scan_bytes(&bytes).unwrap();
            prop_assert_eq!(found.iter().map(|record| record.length as usize).collect::<Vec<_>>(), lengths.clone());
            if !lengths.is_empty() {
                bytes.truncate(bytes.len() - cut);
                prop_assert!(scan_bytes(&bytes).is_err());
            }
        }
    }
}
