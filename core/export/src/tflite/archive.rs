//! Files packed behind a model: an uncompressed zip archive at the end of the file, its offsets
//! counted from the file's start, as the Task Library reads labels without unpacking.

use pocketflow::error::{Context, Error, Result};
use std::io::{Cursor, Read, Seek, SeekFrom, Write};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

/// Of the end record without its comment.
const END_RECORD: usize = 22;
const MAX_COMMENT: usize = u16::MAX as usize;
/// A model carries a few; thousands are a forgery.
const MAX_FILES: usize = 1000;

/// `model` with the files behind it.
pub(super) fn append(model: Vec<u8>, files: &[(String, Vec<u8>)]) -> Result<Vec<u8>> {
    if files.is_empty() {
        return Ok(model);
    }
    let cannot = |error: &dyn std::fmt::Display| Error::failed(format!("cannot pack files behind the model: {error}"));
    let mut cursor = Cursor::new(model);
    cursor.seek(SeekFrom::End(0)).map_err(|error| cannot(&error))?;
    let mut writer = ZipWriter::new(cursor);
    // The same model makes the same bytes: no time of today.
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::default());
    for (name, contents) in files {
        writer.start_file(name.as_str(), options).map_err(|error| cannot(&error))?;
        writer.write_all(contents).map_err(|error| cannot(&error))?;
    }
    Ok(writer.finish().map_err(|error| cannot(&error))?.into_inner())
}

/// The files behind a model; none where no archive ends the file.
pub(super) fn files(bytes: &[u8]) -> Result<Vec<(String, Vec<u8>)>> {
    if !ends_with_archive(bytes) {
        return Ok(Vec::new());
    }
    let mut archive = ZipArchive::new(Cursor::new(bytes))
        .map_err(|error| Error::failed(format!("the archive at its end is damaged: {error}")))?;
    if archive.len() > MAX_FILES {
        return Err(Error::failed(format!("the archive at its end holds {} files", archive.len())));
    }
    let mut files = Vec::new();
    let mut room = bytes.len();
    for index in 0..archive.len() {
        let damaged = |error: &dyn std::fmt::Display| {
            Error::failed(format!("file {index} of the archive at its end is damaged: {error}"))
        };
        let file = archive.by_index(index).map_err(|error| damaged(&error))?;
        if file.compression() != CompressionMethod::Stored {
            let message = format!("`{}` in the archive at its end is compressed; pack it uncompressed", file.name());
            return Err(Error::failed(message));
        }
        // Entries of a forged archive may lie over each other.
        if file.size() > room as u64 {
            return Err(damaged(&format!("{} bytes do not fit the file", file.size())));
        }
        let (name, size) = (file.name().to_owned(), file.size());
        let mut contents = Vec::new();
        file.take(size).read_to_end(&mut contents).with_context(|| format!("`{name}` at its end is damaged"))?;
        room -= contents.len();
        files.push((name, contents));
    }
    Ok(files)
}

/// Whether the bytes end with a zip archive's end record: its signature and a comment that goes on
/// to the very end.
fn ends_with_archive(bytes: &[u8]) -> bool {
    let first = bytes.len().saturating_sub(END_RECORD + MAX_COMMENT);
    let mut records = (first..(bytes.len() + 1).saturating_sub(END_RECORD)).rev();
    records.any(|at| {
        let record = &bytes[at..];
        let comment = usize::from(u16::from_le_bytes([record[20], record[21]]));
        record.starts_with(b"PK\x05\x06") && record.len() == END_RECORD + comment
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn files_come_back() {
        let model = b"some model".to_vec();
        let packed = [("labels.txt".to_owned(), b"cat\ndog\n".to_vec()), ("empty".to_owned(), Vec::new())];
        let bytes = append(model.clone(), &packed).unwrap();
        assert!(bytes.starts_with(&model));
        assert_eq!(files(&bytes).unwrap(), packed);
        assert_eq!(files(&model).unwrap(), []);
        assert_eq!(append(model.clone(), &packed).unwrap(), bytes, "the same bytes every time");
    }

    proptest! {
        #[test]
        fn damage_makes_errors(at in any::<prop::sample::Index>(), to: u8, cut in any::<prop::sample::Index>()) {
            let mut bytes = append(vec![7; 50], &[("labels.txt".to_owned(), vec![65; 100])]).unwrap();
            let at = at.index(bytes.len());
            bytes[at] = to;
            let total: usize = files(&bytes).map_or(0, |files| files.iter().map(|(_, file)| file.len()).sum());
            prop_assert!(total <= bytes.len());
            bytes.truncate(cut.index(bytes.len()));
            let _ = files(&bytes);
        }
    }
}
