//! The stable binary boundary between host and plugin libraries; the only user of `abi_stable`.
//!
//! A plugin library and the host are built apart, each with its own copy of this crate, of the
//! standard library and of `tracing`. What passes between them is: numbers, slices, [`Buffer`]s,
//! objects with a table of C functions, and everything else (settings, graphs, reports, errors, …)
//! as MessagePack, which unlike JSON has infinities and not-a-numbers.
//!
//! | module | what it holds |
//! |---|---|
//! | [`handshake`](Handshake) | what the host reads from a file before it runs any of its code |
//! | `root` | the table of functions that a library exports, served from [`crate::plugin::linked`] |
//! | [`declared`](Declared) | what a library says of its plugins, read so that an older host still uses the rest |
//! | [`library`](Library) | the host's view of a library: makes ordinary trait objects |
//! | `learner`, `net`, `dataset`, `agent`, `services` | per trait an object type, its provider (wraps a trait object) and its consumer (is one) |
//! | [`call`](Call) | which plugin is being called |
//! | `guard` | a panic becomes an error on the side where it happens |
//! | `log` | a plugin's events go to the host's subscriber |
//!
//! Providers and consumers work in both directions: a learner's net, data set and
//! [`crate::job::Host`] are provided by the host and consumed by the plugin.

// `sabi_trait` of abi_stable 0.11 expands to impls inside of constants.
#![allow(non_local_definitions)]

mod agent;
mod buffer;
mod call;
mod dataset;
mod declared;
mod guard;
mod handshake;
mod learner;
mod library;
mod log;
mod net;
mod root;
mod services;
mod wire;

pub use buffer::Buffer;
pub use call::Call;
pub use declared::Declared;
pub(crate) use guard::Owner;
pub use guard::catch;
pub use handshake::{HANDSHAKE_SYMBOL, Handshake, INTERFACE, OLDEST_INTERFACE, Understood};
pub use library::{Library, OpenError};
#[doc(hidden)]
pub use root::{LibraryHeader, header};

/// Makes a `cdylib` crate a plugin library: exports every plugin that is linked into it.
///
/// The crate names the crates whose plugins it exports, or the linker drops them:
///
/// ```ignore
/// use pocketflow_synthetic as _;
/// pocketflow::export!();
/// ```
///
/// A library that uses libtorch says for which version it was built:
/// `pocketflow::export!(libtorch = pocketflow_torch::LIBTORCH_VERSION);`
#[macro_export]
macro_rules! export {
    () => {
        $crate::export!(libtorch = "");
    };
    (libtorch = $version:expr) => {
        $crate::plugin!(@unwinds);
        /// What a host reads before it trusts the table of functions.
        // SAFETY: the names begin with the project's; a library has one of each.
        #[unsafe(no_mangle)]
        pub static POCKETFLOW_HANDSHAKE: $crate::abi::Handshake = $crate::abi::Handshake::new($version);
        /// The table of functions.
        // SAFETY: as above.
        #[unsafe(no_mangle)]
        pub static POCKETFLOW_ROOT: $crate::abi::LibraryHeader = $crate::abi::header();
    };
}
