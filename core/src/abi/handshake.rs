//! The handshake: a constant in every plugin library that the host reads from the file, before any
//! code of the library runs.

/// The interface of plugins that are built now. It counts the changes that an older host or plugin
/// cannot live with: to the functions that cross (a test compares their layout with the committed
/// one), and to the meaning of the data that do (`wire` says which changes need no new number).
pub const INTERFACE: u32 = 1;

/// The oldest interface that this host still understands. It follows [`INTERFACE`] where the layout
/// of the functions changes, and stays where only the data do.
pub const OLDEST_INTERFACE: u32 = 1;

const _: () = assert!(OLDEST_INTERFACE <= INTERFACE);

/// How an interface stands to those that this host understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Understood {
    /// From [`OLDEST_INTERFACE`] to [`INTERFACE`]: the plugin can be used.
    Yes,
    /// Older than [`OLDEST_INTERFACE`]: the plugin is to be rebuilt.
    TooOld,
    /// Newer than [`INTERFACE`]: the host is to be updated.
    TooNew,
}

impl Understood {
    /// Compares an interface version with those that this host understands.
    pub const fn of(interface: u32) -> Self {
        Self::within(OLDEST_INTERFACE, INTERFACE, interface)
    }

    const fn within(oldest: u32, newest: u32, interface: u32) -> Self {
        if interface < oldest {
            Self::TooOld
        } else if interface > newest {
            Self::TooNew
        } else {
            Self::Yes
        }
    }
}

/// The exported name of a library's [`Handshake`].
pub const HANDSHAKE_SYMBOL: &str = "POCKETFLOW_HANDSHAKE";

const MAGIC: [u8; 16] = *b"PocketFlow/Rust\0";
const TEXT: usize = 28;

/// What a library says of itself. The layout never changes, so that every host understands every
/// plugin's; no pointers, so that nothing needs relocation and the bytes in the file are the value.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handshake {
    magic: [u8; 16],
    interface: u32,
    libtorch: [u8; TEXT],
}

impl Handshake {
    /// Bytes of a handshake in a library's file.
    pub const SIZE: usize = size_of::<Self>();

    /// Of a library built now; `libtorch` is the version it needs (`2.11.0`), or nothing.
    ///
    /// # Panics
    /// In the build, for a version of more than 28 bytes.
    pub const fn new(libtorch: &str) -> Self {
        Self::with_interface(INTERFACE, libtorch)
    }

    const fn with_interface(interface: u32, libtorch: &str) -> Self {
        let version = libtorch.as_bytes();
        assert!(version.len() <= TEXT, "a libtorch version has at most 28 bytes");
        let mut text = [0; TEXT];
        let mut at = 0;
        while at < version.len() {
            text[at] = version[at];
            at += 1;
        }
        Self { magic: MAGIC, interface, libtorch: text }
    }

    /// Takes it from the bytes of a file; `None` if they are something else.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk::<16>()?;
        let (interface, rest) = rest.split_first_chunk::<4>()?;
        let libtorch = *rest.first_chunk::<TEXT>()?;
        (*magic == MAGIC).then_some(Self { magic: MAGIC, interface: u32::from_ne_bytes(*interface), libtorch })
    }

    /// The interface version that the library was built with; see [`INTERFACE`].
    pub fn interface(&self) -> u32 {
        self.interface
    }

    /// The version of libtorch that the library was built for; `None` if it uses none.
    pub fn libtorch(&self) -> Option<String> {
        let text = self.libtorch.split(|byte| *byte == 0).next().unwrap_or_default();
        (!text.is_empty()).then(|| String::from_utf8_lossy(text).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(handshake: &Handshake) -> Vec<u8> {
        [&handshake.magic[..], &handshake.interface.to_ne_bytes(), &handshake.libtorch].concat()
    }

    #[test]
    fn all_interfaces_from_the_oldest_to_the_newest_are_understood() {
        let understood = [2, 3, 4, 5, 6].map(|interface| Understood::within(3, 5, interface));
        use Understood::{TooNew, TooOld, Yes};
        assert_eq!(understood, [TooOld, Yes, Yes, Yes, TooNew]);
        assert_eq!(Understood::of(INTERFACE), Yes);
        assert_eq!(Understood::of(OLDEST_INTERFACE), Yes);
    }

    #[test]
    fn the_layout_has_no_gaps() {
        assert_eq!(bytes(&Handshake::new("")).len(), Handshake::SIZE);
    }

    proptest! {
        #[test]
        fn comes_back(interface in any::<u32>(), version in "[0-9.]{0,28}") {
            let handshake = Handshake::with_interface(interface, &version);
            let back = Handshake::read(&bytes(&handshake)).unwrap();
            prop_assert_eq!(back.interface(), interface);
            prop_assert_eq!(back.libtorch().unwrap_or_default(), version);
        }

        #[test]
        fn garbage_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            prop_assert_eq!(Handshake::read(&bytes), None);
        }
    }
}
