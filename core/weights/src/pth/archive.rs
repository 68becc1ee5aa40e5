//! The zip archive of PyTorch 1.6 and later: `NAME/data.pkl`, `NAME/data/KEY` for each storage,
//! `NAME/byteorder`. PyTorch stores without compression, so nothing here can grow beyond the file:
//! what is compressed is refused.

use super::{Storages, collect};
use crate::WeightsFile;
use crate::error::WeightsError;
use crate::pickle::{self, StorageRef};
use pocketflow::names::shown;
use std::io::{Read, Seek, SeekFrom};
use zip::ZipArchive;
use zip::result::ZipError;

/// Names of what an archive holds that a message can carry.
const NAMED: usize = 5;

/// Reads all tensors of an archive; `key` chooses among several state dictionaries.
///
/// # Errors
/// See [`crate::read`].
pub fn read(mut file: impl Read + Seek, key: Option<&str>) -> Result<WeightsFile, WeightsError> {
    let length = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    let mut archive = ZipArchive::new(file).map_err(damaged)?;
    let pickle_name = archive.file_names().find(|name| name.rsplit('/').next() == Some("data.pkl")).map(str::to_owned);
    let Some(pickle_name) = pickle_name else {
        let names: Vec<String> = archive.file_names().take(NAMED).map(|name| format!("`{}`", shown(name))).collect();
        let more = if archive.len() > NAMED { ", …" } else { "" };
        return Err(WeightsError::Other(format!(
            "it is a zip archive without `data.pkl`, so not one of torch.save; it holds {}{more}: unpack it, and give the \
             file of weights in it",
            if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
        )));
    };
    let folder = pickle_name.strip_suffix("data.pkl").unwrap_or_default().to_owned();
    let order = format!("{folder}byteorder");
    if archive.index_for_name(&order).is_some() && entry(&mut archive, &order, 16)? != b"little" {
        return Err(WeightsError::Malformed("its numbers are not little-endian".into()));
    }
    let pickle = entry(&mut archive, &pickle_name, pickle::MAX_LENGTH as u64)?;
    let loaded = pickle::load(&pickle)?;
    collect(&loaded, &mut Archive { archive, folder, left: length }, length, key)
}

struct Archive<F> {
    archive: ZipArchive<F>,
    folder: String,
    /// Bytes of the file that no storage has claimed. Forged entries may overlap, and would
    /// otherwise be read without end.
    left: u64,
}

impl<F: Read + Seek> Storages for Archive<F> {
    fn bytes(&mut self, storage: &StorageRef) -> Result<Vec<u8>, WeightsError> {
        let name = format!("{}data/{}", self.folder, storage.key);
        let wanted = (storage.len as u64).checked_mul(storage.kind.size() as u64);
        let left = wanted.and_then(|wanted| self.left.checked_sub(wanted));
        let (Some(wanted), Some(left)) = (wanted, left) else {
            return Err(WeightsError::Malformed(format!(
                "its storage `{}` should have {} numbers, more than the file can hold",
                storage.key, storage.len
            )));
        };
        self.left = left;
        let bytes = entry(&mut self.archive, &name, wanted)?;
        match bytes.len() as u64 == wanted {
            true => Ok(bytes),
            false => Err(WeightsError::Malformed(format!("`{name}` has {} bytes, not {wanted}", bytes.len()))),
        }
    }
}

/// An entry of at most `limit` bytes, its checksum verified.
fn entry(archive: &mut ZipArchive<impl Read + Seek>, name: &str, limit: u64) -> Result<Vec<u8>, WeightsError> {
    let index = archive.index_for_name(name);
    let index = index.ok_or_else(|| WeightsError::Malformed(format!("`{name}` is missing in it")))?;
    // Raw, so that a compressed entry is told from a damaged one.
    let compression = archive.by_index_raw(index).map_err(damaged)?.compression();
    if compression != zip::CompressionMethod::Stored {
        let what = format!("`{name}` is compressed ({compression:?}), which torch.save never does");
        return Err(WeightsError::Malformed(what));
    }
    let file = archive.by_index(index).map_err(damaged)?;
    if file.size() > limit {
        return Err(WeightsError::Malformed(format!("`{name}` has {} bytes, more than {limit}", file.size())));
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidData => WeightsError::Malformed(format!("`{name}`: {error}")),
        std::io::ErrorKind::UnexpectedEof => WeightsError::Malformed(format!("`{name}` is cut off")),
        _ => WeightsError::Io(error),
    })?;
    Ok(bytes)
}

fn damaged(error: ZipError) -> WeightsError {
    match error {
        ZipError::Io(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => WeightsError::Io(error),
        error => WeightsError::Malformed(format!("as a zip archive: {error}")),
    }
}
