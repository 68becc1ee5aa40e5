//! The files of PyTorch before 1.6, as torchvision still offers some: pickles of a magic number, a
//! version, the machine's properties, the object and the storages' keys, then the storages in the
//! order of the keys, each with its length in front.

use super::{Storages, collect};
use crate::WeightsFile;
use crate::error::WeightsError;
use crate::pickle::{self, Loaded, Node, StorageKind, StorageRef};
use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom};

/// The magic number as a pickle, after the two bytes of the protocol, and from protocol 4 on the
/// nine of a frame.
const MAGIC: &[u8] = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
const PROTOCOL: usize = 2;
const FRAME: usize = 9;
const VERSION: i64 = 1001;

/// Whether a file that begins with `front` (32 bytes) is of this format.
pub fn is_legacy(front: &[u8]) -> bool {
    front.first() == Some(&0x80) && magic_end(front).is_some()
}

fn magic_end(front: &[u8]) -> Option<usize> {
    let begins = [PROTOCOL, PROTOCOL + FRAME].into_iter();
    let begin = begins.into_iter().find(|begin| front.get(*begin..).is_some_and(|rest| rest.starts_with(MAGIC)));
    Some(begin? + MAGIC.len())
}

/// Reads all tensors of a file that [`is_legacy`]; `key` chooses among several state dictionaries.
///
/// # Errors
/// See [`crate::read`].
pub fn read(mut file: impl Read + Seek, key: Option<&str>) -> Result<WeightsFile, WeightsError> {
    let length = file.seek(SeekFrom::End(0))?;
    let mut front = [0; PROTOCOL + FRAME + 16];
    file.rewind()?;
    let read = file.by_ref().take(front.len() as u64).read(&mut front)?;
    let mut at = magic_end(&front[..read]).ok_or(WeightsError::Unknown)? as u64;
    let version = pickle(&mut file, &mut at)?;
    if version.int(version.root) != Some(VERSION) {
        return Err(WeightsError::Malformed(format!("its version is not {VERSION}")));
    }
    let machine = pickle(&mut file, &mut at)?;
    let little = machine.pairs(machine.root).find(|(name, _)| *name == "little_endian");
    if little.is_some_and(|(_, value)| machine.nodes[value] == Node::Bool(false)) {
        return Err(WeightsError::Malformed("its numbers are not little-endian".into()));
    }
    let loaded = pickle(&mut file, &mut at)?;
    let keys = pickle(&mut file, &mut at)?;
    let places = places(&mut file, at, length, &loaded, &keys)?;
    collect(&loaded, &mut Run { file, places }, length, key)
}

/// The pickle at `at`, which moves behind it.
fn pickle(file: &mut (impl Read + Seek), at: &mut u64) -> Result<Loaded, WeightsError> {
    file.seek(SeekFrom::Start(*at))?;
    let mut bytes = Vec::new();
    file.take(pickle::MAX_LENGTH as u64).read_to_end(&mut bytes)?;
    let loaded = pickle::load(&bytes)?;
    *at += loaded.length as u64;
    Ok(loaded)
}

/// Where each storage's numbers begin, and how many there are.
fn places(
    file: &mut (impl Read + Seek),
    mut at: u64,
    length: u64,
    loaded: &Loaded,
    keys: &Loaded,
) -> Result<HashMap<String, (u64, u64)>, WeightsError> {
    let kinds: HashMap<&str, StorageKind> =
        loaded.storages.iter().map(|storage| (&*storage.key, storage.kind)).collect();
    let Node::List(list) = &keys.nodes[keys.root] else {
        return Err(WeightsError::Malformed("it lists no storages".into()));
    };
    let mut places = HashMap::new();
    for key in list {
        let key = keys.text(*key).ok_or_else(|| WeightsError::Malformed("a storage's key is no text".into()))?;
        let cut = || WeightsError::Malformed(format!("it is cut off in its storage `{key}`, at byte {length}"));
        let Some(kind) = kinds.get(key) else {
            return Err(WeightsError::Malformed(format!("no tensor tells what its storage `{key}` holds")));
        };
        let begin = at.checked_add(8).filter(|begin| *begin <= length).ok_or_else(cut)?;
        file.seek(SeekFrom::Start(at))?;
        let mut count = [0; 8];
        file.read_exact(&mut count)?;
        let count = u64::from_le_bytes(count);
        let end = count.checked_mul(kind.size() as u64).and_then(|bytes| begin.checked_add(bytes));
        at = end.filter(|end| *end <= length).ok_or_else(cut)?;
        places.insert(key.to_owned(), (begin, count));
    }
    Ok(places)
}

struct Run<F> {
    file: F,
    places: HashMap<String, (u64, u64)>,
}

impl<F: Read + Seek> Storages for Run<F> {
    fn bytes(&mut self, storage: &StorageRef) -> Result<Vec<u8>, WeightsError> {
        let key = &*storage.key;
        let (begin, count) = match self.places.get(key) {
            Some(place) if place.1 == storage.len as u64 => *place,
            Some((_, count)) => {
                let what = format!("its storage `{key}` has {count} numbers, not {}", storage.len);
                return Err(WeightsError::Malformed(what));
            }
            None => return Err(WeightsError::Malformed(format!("its storage `{key}` is missing"))),
        };
        self.file.seek(SeekFrom::Start(begin))?;
        let length = count * storage.kind.size() as u64;
        let mut bytes = Vec::new();
        self.file.by_ref().take(length).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}
