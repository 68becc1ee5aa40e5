//! Named tensors in one file: the container of models and of training checkpoints.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | [`MAGIC`] |
//! | 4 | version, u32 (all numbers are little endian) |
//! | 8 | length of the whole file, u64, so that a cut is told from other damage |
//! | 4 | length of the compressed header, u32 |
//! | 1 + n | length of the kind, and the kind: `model` or `checkpoint` |
//! | … | zstd of the JSON `{"header": …, "tensors": [[name, shape, encoding], …]}`, names ascending |
//! | … | the tensors in that order, without gaps |
//! | 4 | CRC-32 of everything before |
//!
//! A full tensor is its f32 bit patterns. A packed one is its codes ([`crate::packing`]), then of
//! each bucket two numbers, α and β or scale and zero point, or its codebook. Reading trusts
//! nothing: no length in the file makes it allocate more than a multiple of the file's own size.

mod stored;

pub(crate) use stored::Entry;
pub use stored::Stored;

use crate::atomic::write_atomically;
use crate::error::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// Not text, and damaged visibly by transfers that convert line ends (as PNG's).
pub const MAGIC: [u8; 8] = *b"\x89PFT\r\n\x1a\n";
/// The version that is written, and the only one that is read.
pub const VERSION: u32 = 1;

/// Magic, version, file length, header length, kind length.
const FRONT: usize = 25;
const CHECKSUM: usize = 4;
/// Uncompressed. A graph with its plan takes some ten kilobytes; this bounds what a forged header
/// can make us allocate.
const MAX_HEADER: usize = 64 << 20;
const ZSTD_LEVEL: i32 = 19;
/// A window beyond [`MAX_HEADER`] cannot be needed.
const ZSTD_WINDOW_LOG: u32 = 26;

/// Why bytes are no tensor file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The file begins with other bytes than [`MAGIC`].
    #[error("it is not a model or checkpoint of PocketFlow")]
    NotOurs,
    /// The file is shorter than it says.
    #[error("it is cut at byte {at} of {of}")]
    Cut {
        /// Length of the file in bytes.
        at: u64,
        /// Length that its front states, in bytes.
        of: u64,
    },
    /// The file ends within its front, which states the length.
    #[error("it is cut at byte {at}, within its first {FRONT} bytes")]
    CutInFront {
        /// Length of the file in bytes.
        at: u64,
    },
    /// So many bytes follow the last of the file.
    #[error("it has {0} bytes too many at its end")]
    TooLong(u64),
    /// Another version than [`VERSION`].
    #[error("it has format version {0}; this program reads version {VERSION}")]
    Version(u32),
    /// The CRC-32 at the end is not that of the bytes before it.
    #[error("its checksum does not match: some of its bytes have changed")]
    Checksum,
    /// Header and table are not what this version writes; the text says where.
    #[error("it is malformed: {0}")]
    Malformed(String),
    /// One tensor's row of the table, or its bytes, are wrong.
    #[error("tensor `{tensor}`: {problem}")]
    Tensor {
        /// Its name.
        tensor: String,
        /// What is wrong, to go behind the name.
        problem: String,
    },
}

impl FormatError {
    fn advice(&self) -> &'static str {
        match self {
            Self::NotOurs => "give the path of a file that PocketFlow saved",
            Self::Version(_) => "use the program that wrote it, or train again with this one",
            _ => "copy it again from where it came, or train again",
        }
    }
}

impl From<FormatError> for Error {
    fn from(error: FormatError) -> Self {
        // A path to something else is the user's mistake; damage is not.
        let kind = if error == FormatError::NotOurs { ErrorKind::Config } else { ErrorKind::Failed };
        Self::from_error(kind, &error)
    }
}

#[derive(Serialize)]
struct HeaderOut<'a> {
    header: &'a serde_json::Value,
    tensors: &'a [Entry],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderIn {
    header: serde_json::Value,
    tensors: Vec<Entry>,
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorFile {
    /// `model` or `checkpoint`; at most 255 bytes.
    pub kind: String,
    /// Whatever belongs to the tensors. Numbers that are not finite become null, as always in JSON.
    pub header: serde_json::Value,
    /// By name.
    pub tensors: BTreeMap<String, Stored>,
}

impl TensorFile {
    /// Writes the file atomically and returns its size in bytes.
    ///
    /// # Errors
    /// As [`TensorFile::to_bytes`] and [`write_atomically`].
    pub fn write(&self, path: &Path) -> Result<u64> {
        write(path, &self.kind, &self.header, &self.tensors)
    }

    /// # Errors
    /// Names the file, what is wrong with it and what to do.
    pub fn read(path: &Path) -> Result<Self> {
        let shown = path.display();
        let unreadable = |error: std::io::Error| {
            let (kind, advice) = match error.kind() {
                std::io::ErrorKind::NotFound => (ErrorKind::Config, "check the path, or train and save it first"),
                _ => (ErrorKind::Failed, "check its permissions and the disk"),
            };
            Error::from_error(kind, &error).context(format!("cannot read {shown}; {advice}"))
        };
        // A device or a pipe might never end.
        if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
            return Err(Error::config(format!(
                "cannot read {shown}: it is not a file; give the path of a saved model"
            )));
        }
        let bytes = std::fs::read(path).map_err(unreadable)?;
        Self::from_bytes(&bytes).map_err(|error| {
            let advice = error.advice();
            Error::from(error).context(format!("cannot use {shown}; {advice}"))
        })
    }

    /// The file's bytes: the same for the same contents.
    ///
    /// # Errors
    /// A tensor whose parts do not fit each other; a kind or a header that is too long.
    pub fn to_bytes(&self) -> Result<Vec<u8>, FormatError> {
        encode(&self.kind, &self.header, &self.tensors)
    }

    /// # Errors
    /// Anything that [`TensorFile::to_bytes`] does not write.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FormatError> {
        let malformed = |what: &str| FormatError::Malformed(what.into());
        let length = bytes.len() as u64;
        let known = bytes.len().min(MAGIC.len());
        if bytes.is_empty() || bytes[..known] != MAGIC[..known] {
            return Err(FormatError::NotOurs);
        }
        let Some(front) = bytes.first_chunk::<FRONT>() else {
            return Err(FormatError::CutInFront { at: length });
        };
        let number = |at: usize| u32::from_le_bytes([front[at], front[at + 1], front[at + 2], front[at + 3]]);
        if number(8) != VERSION {
            return Err(FormatError::Version(number(8)));
        }
        let total = u64::from(number(12)) | u64::from(number(16)) << 32;
        if length < total {
            return Err(FormatError::Cut { at: length, of: total });
        }
        if length > total {
            return Err(FormatError::TooLong(length - total));
        }
        let (body, checksum) = bytes.split_last_chunk::<CHECKSUM>().ok_or(FormatError::Checksum)?;
        if u32::from_le_bytes(*checksum) != crc32fast::hash(body) {
            return Err(FormatError::Checksum);
        }

        let rest = body.get(FRONT..).ok_or_else(|| malformed("it has no header"))?;
        let (kind, rest) = rest.split_at_checked(front[24].into()).ok_or_else(|| malformed("its kind is cut"))?;
        let kind = std::str::from_utf8(kind).map_err(|_| malformed("its kind is no text"))?;
        let (header, mut rest) =
            rest.split_at_checked(number(20) as usize).ok_or_else(|| malformed("its header is cut"))?;
        let header: HeaderIn = serde_json::from_slice(&decompress(header)?)
            .map_err(|error| FormatError::Malformed(format!("its header: {error}")))?;

        let mut tensors = BTreeMap::new();
        for entry in &header.tensors {
            let name = &entry.0;
            let wrong = |problem: &str| FormatError::Tensor { tensor: name.clone(), problem: problem.into() };
            if tensors.last_key_value().is_some_and(|(last, _)| last >= name) {
                return Err(wrong("it is out of order"));
            }
            let (count, size) = entry.size().ok_or_else(|| wrong("its shape or encoding is impossible"))?;
            if size > rest.len() as u64 {
                return Err(wrong("it goes beyond the end of the file"));
            }
            let (payload, after) = rest.split_at(size as usize);
            // No more than 8 elements a byte, so it fits what a file in memory can hold.
            tensors.insert(name.clone(), entry.take(count as usize, payload).map_err(|problem| wrong(&problem))?);
            rest = after;
        }
        match rest {
            [] => Ok(Self { kind: kind.into(), header: header.header, tensors }),
            _ => Err(malformed("it holds bytes that belong to no tensor")),
        }
    }
}

/// [`TensorFile::write`] for one who keeps the tensors.
pub(crate) fn write(
    path: &Path,
    kind: &str,
    header: &serde_json::Value,
    tensors: &BTreeMap<String, Stored>,
) -> Result<u64> {
    let bytes = encode(kind, header, tensors)
        .map_err(|error| Error::from(error).context(format!("cannot save {}", path.display())))?;
    write_atomically(path, &bytes)?;
    Ok(bytes.len() as u64)
}

fn encode(kind: &str, header: &serde_json::Value, tensors: &BTreeMap<String, Stored>) -> Result<Vec<u8>, FormatError> {
    for (name, tensor) in tensors {
        tensor.check().map_err(|problem| FormatError::Tensor { tensor: name.clone(), problem })?;
    }
    let entries: Vec<Entry> = tensors.iter().map(|(name, tensor)| tensor.entry(name)).collect();
    let (mut out, total) = front(kind, header, &entries)?;
    // The tensors are in memory, so their bytes can be as well.
    out.reserve_exact(total as usize - out.len());
    tensors.values().for_each(|tensor| tensor.put(&mut out));
    let checksum = crc32fast::hash(&out);
    out.extend_from_slice(&checksum.to_le_bytes());
    Ok(out)
}

/// Everything before the tensors, and the length of the whole file.
pub(crate) fn front(kind: &str, header: &serde_json::Value, entries: &[Entry]) -> Result<(Vec<u8>, u64), FormatError> {
    let malformed = |what: String| FormatError::Malformed(what);
    let kind_len = u8::try_from(kind.len()).map_err(|_| malformed(format!("the kind `{kind}` is too long")))?;
    let plain = serde_json::to_vec(&HeaderOut { header, tensors: entries })
        .map_err(|error| malformed(format!("its header: {error}")))?;
    if plain.len() > MAX_HEADER {
        return Err(malformed(format!("its header has {} bytes; {MAX_HEADER} are allowed", plain.len())));
    }
    let packed = zstd::bulk::compress(&plain, ZSTD_LEVEL).map_err(|error| malformed(format!("its header: {error}")))?;
    let payload = entries.iter().try_fold(0u64, |sum, entry| sum.checked_add(entry.size()?.1));
    let ends = FRONT + kind.len() + packed.len() + CHECKSUM;
    let total = payload.and_then(|payload| payload.checked_add(ends as u64));
    let total = total.ok_or_else(|| malformed("its tensors are too large for a file".into()))?;
    let packed_len = u32::try_from(packed.len()).map_err(|_| malformed("its header is too long".into()))?;

    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&total.to_le_bytes());
    out.extend_from_slice(&packed_len.to_le_bytes());
    out.push(kind_len);
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(&packed);
    Ok((out, total))
}

/// Grows with what comes out, up to [`MAX_HEADER`], whatever size the frame claims.
fn decompress(packed: &[u8]) -> Result<Vec<u8>, FormatError> {
    let broken = |error: std::io::Error| FormatError::Malformed(format!("its header: {error}"));
    let mut decoder = zstd::stream::read::Decoder::with_buffer(packed).map_err(broken)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(broken)?;
    let mut plain = Vec::new();
    decoder.take(MAX_HEADER as u64 + 1).read_to_end(&mut plain).map_err(broken)?;
    match plain.len() {
        0..=MAX_HEADER => Ok(plain),
        _ => Err(FormatError::Malformed(format!("its header is beyond {MAX_HEADER} bytes"))),
    }
}

#[cfg(test)]
mod tests;
