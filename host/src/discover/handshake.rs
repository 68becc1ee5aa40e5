//! Reads a library's handshake from the file, so that what does not fit is told without running
//! code of it.

use super::content::open_regular;
use object::read::{ReadCache, ReadRef};
use object::{Object, ObjectKind, ObjectSegment, ObjectSymbol};
use pocketflow::abi::{HANDSHAKE_SYMBOL, Handshake, INTERFACE, OLDEST_INTERFACE, Understood};
use std::path::Path;

/// Why a file is refused unloaded.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    #[error("cannot be read: {0}")]
    Read(#[from] std::io::Error),
    #[error("is not a library: {0}")]
    NotALibrary(String),
    #[error("is a library for {found}; this program runs on {ours}")]
    Machine { found: String, ours: &'static str },
    #[error("is no PocketFlow plugin: it has no handshake (`pocketflow::export!()` makes it)")]
    NoHandshake,
    #[error(
        "speaks interface version {found}, this host understands none before {OLDEST_INTERFACE}: rebuild it against the \
         `pocketflow` of this host"
    )]
    TooOld { found: u32 },
    #[error(
        "speaks interface version {found}, this host understands none after {INTERFACE}: update the host, or rebuild it \
         against the `pocketflow` of this host"
    )]
    TooNew { found: u32 },
}

impl HandshakeError {
    /// It is the file's own fault, and will be until the file changes.
    pub fn is_lasting(&self) -> bool {
        !matches!(self, Self::Read(_))
    }
}

/// # Errors
/// See [`HandshakeError`].
pub fn read(path: &Path) -> Result<Handshake, HandshakeError> {
    let cache = ReadCache::new(open_regular(path)?);
    let handshake = find(&cache)?;
    let found = handshake.interface();
    match Understood::of(found) {
        Understood::Yes => Ok(handshake),
        Understood::TooOld => Err(HandshakeError::TooOld { found }),
        Understood::TooNew => Err(HandshakeError::TooNew { found }),
    }
}

fn find<'data>(data: impl ReadRef<'data>) -> Result<Handshake, HandshakeError> {
    let file = object::File::parse(data).map_err(|error| HandshakeError::NotALibrary(error.to_string()))?;
    if file.kind() != ObjectKind::Dynamic {
        return Err(HandshakeError::NotALibrary(format!("it is of the kind {:?}", file.kind())));
    }
    let machine = format!("{:?}", file.architecture()).to_lowercase();
    let ours = std::env::consts::ARCH;
    if machine != ours {
        return Err(HandshakeError::Machine { found: machine, ours });
    }
    // Mach-O puts an underscore before each name.
    let named = |name: &str| name.strip_prefix('_').unwrap_or(name) == HANDSHAKE_SYMBOL;
    let symbol = file.dynamic_symbols().find(|symbol| symbol.is_definition() && symbol.name().is_ok_and(named));
    let symbol = symbol.ok_or(HandshakeError::NoHandshake)?;
    // By segment, not by section: section headers may be stripped.
    let at = |segment: object::Segment<'data, '_, _>| {
        segment.data_range(symbol.address(), Handshake::SIZE as u64).ok().flatten()
    };
    let bytes = file.segments().find_map(at).ok_or(HandshakeError::NoHandshake)?;
    Handshake::read(bytes).ok_or(HandshakeError::NoHandshake)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn files_that_are_no_libraries() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.so");
        std::fs::write(&path, "just text").unwrap();
        assert!(read(&path).unwrap_err().to_string().starts_with("is not a library: "));
        std::fs::write(&path, "").unwrap();
        assert!(matches!(read(&path), Err(HandshakeError::NotALibrary(_))));
        assert!(matches!(read(dir.path()), Err(HandshakeError::Read(_) | HandshakeError::NotALibrary(_))));
        // This test is an executable (position-independent: of the same kind as a library) that
        // exports no handshake.
        assert!(read(&std::env::current_exe().unwrap()).is_err());
    }

    proptest! {
        #[test]
        fn garbage_in_the_form_of_an_elf_file(tail in prop::collection::vec(any::<u8>(), 0..400)) {
            let bytes = [&b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0\x01\0\0\0"[..], &tail].concat();
            prop_assert!(find(&bytes[..]).is_err());
        }
    }
}
