//! The host's view of a plugin library: opens it, and makes ordinary trait objects of what it exports.

use super::root::{self, LibraryHeader, RootRef};
use super::wire::{inward, pack, unpack};
use super::{agent, dataset, learner, log, net};
use crate::agent::Agent;
use crate::dataset::check::CheckReport;
use crate::dataset::{Dataset, DatasetInfo};
use crate::error::{Error, ErrorKind, Result};
use crate::learner::Learner;
use crate::net::Net;
use crate::option::Value;
use crate::plugin::{Declaration, PluginKind};
use crate::settings::Settings;
use abi_stable::library::{AbiHeaderRef, LibraryError, RawLibrary};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// One plugin of a library, as far as it could say what it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Declared {
    pub kind: PluginKind,
    pub name: String,
    /// The error: its `options()` panicked.
    pub result: Result<Declaration, Error>,
}

/// Why a file is no usable plugin library.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the system cannot load it: {0}")]
    Load(String),
    #[error("it exports no plugins: it has no `{ROOT_SYMBOL}` (`pocketflow::export!()` makes it)")]
    NoRoot,
    #[error("its tables have another layout than this host's; rebuild it against the `pocketflow` of this host")]
    Layout,
    #[error("it does not start: {0}")]
    Start(String),
}

const ROOT_SYMBOL: &str = "POCKETFLOW_ROOT";

/// A plugin library, or the plugins linked into this program. What is loaded stays loaded until the process ends.
#[derive(Clone, Copy)]
pub struct Library {
    root: RootRef,
}

impl Library {
    /// Loads a library. This runs code of it: its constructors, before any check but those that the caller made with the
    /// [handshake](super::Handshake).
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let short = |error: LibraryError| match error {
            LibraryError::OpenError { err, .. } => OpenError::Load(err.to_string()),
            LibraryError::GetSymbolError { .. } => OpenError::NoRoot,
            LibraryError::RootModule { err, .. } => OpenError::Start(err.to_string()),
            other => {
                tracing::debug!("`{}`: {other}", path.display());
                OpenError::Layout
            }
        };
        let raw = RawLibrary::load_at(path).map_err(short)?;
        // Closing would run destructors of thread-locals and of libtorch in an order nobody controls.
        let raw: &'static RawLibrary = Box::leak(Box::new(raw));
        // SAFETY: a symbol of this name is the header that `export!` makes; `upgrade` checks what it begins with.
        let header = unsafe { raw.get::<AbiHeaderRef>(ROOT_SYMBOL.as_bytes()) }.map_err(short)?;
        let header: &'static LibraryHeader = header.upgrade().map_err(short)?;
        let root: RootRef = header.init_root_module().map_err(short)?;
        inward((root.start())(log::sink())).map_err(|error| OpenError::Start(error.to_string()))?;
        Ok(Self { root })
    }

    /// What is linked into this program, behind the same functions.
    pub fn linked() -> Self {
        Self { root: root::root() }
    }

    /// All plugins of the library, by kind and name.
    ///
    /// # Errors
    /// The library's answer cannot be read.
    pub fn declarations(&self) -> Result<Vec<Declared>> {
        unpack("declarations", &inward((self.root.declarations())())?)
    }

    /// # Errors
    /// No learner of that name here; what the learner says to the settings.
    pub fn learner(&self, name: &str, settings: &Settings) -> Result<Box<dyn Learner>> {
        let settings = pack("settings", settings)?;
        inward((self.root.learner())(name.into(), settings.as_rslice())).map(learner::consume)
    }

    /// # Errors
    /// No net of that name here; what the net says to the settings.
    pub fn net(&self, name: &str, settings: &Settings) -> Result<Box<dyn Net>> {
        let settings = pack("settings", settings)?;
        inward((self.root.net())(name.into(), settings.as_rslice())).map(|net| net::consume(net, name))
    }

    /// # Errors
    /// No data set of that name here; what it says to the settings, [`crate::ErrorKind::DataNotFound`] among others.
    pub fn dataset(&self, name: &str, settings: &Settings) -> Result<Box<dyn Dataset>> {
        let settings = pack("settings", settings)?;
        inward((self.root.dataset())(name.into(), settings.as_rslice())).and_then(dataset::consume)
    }

    /// The options that a net recognises in names and shapes of weights ([`Net::recognise`]); none in an older library.
    ///
    /// # Errors
    /// No net of that name here.
    pub fn recognise(&self, name: &str, weights: &[(String, Vec<usize>)]) -> Result<Vec<(String, Value)>> {
        let Some(recognise) = self.root.recognise() else { return Ok(Vec::new()) };
        let weights = pack("names of weights", &weights)?;
        unpack("options", &inward(recognise(name.into(), weights.as_rslice()))?)
    }

    /// What a data set is without its images ([`Dataset::describe`]).
    ///
    /// # Errors
    /// No data set of that name here; it cannot tell.
    pub fn describe(&self, name: &str, settings: &Settings) -> Result<DatasetInfo> {
        let describe = self.root.describe().ok_or_else(|| older(name))?;
        let settings = pack("settings", settings)?;
        dataset::described(&inward(describe(name.into(), settings.as_rslice()))?)
    }

    /// Has a data set check its files ([`Dataset::check`]).
    ///
    /// # Errors
    /// No data set of that name here; its own.
    pub fn check(
        &self,
        name: &str,
        settings: &Settings,
        progress: impl Fn(u64, u64) + Send + Sync + 'static,
    ) -> Result<CheckReport> {
        let check = self.root.check().ok_or_else(|| older(name))?;
        let settings = pack("settings", settings)?;
        let progress = dataset::progress(progress);
        unpack("a report", &inward(check(name.into(), settings.as_rslice(), progress))?)
    }

    /// # Errors
    /// No agent of that name here; what the agent says to the settings.
    pub fn agent(&self, name: &str, settings: &Settings) -> Result<Box<dyn Agent>> {
        let settings = pack("settings", settings)?;
        inward((self.root.agent())(name.into(), settings.as_rslice())).map(agent::consume)
    }
}

fn older(name: &str) -> Error {
    let text = format!("the library of `{name}` is older than this question; rebuild it");
    Error::new(ErrorKind::DataNotFound, text)
}
