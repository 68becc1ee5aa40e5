//! The host's view of a plugin library: opens it, and makes ordinary trait objects of what it
//! exports.

use super::call::Callee;
use super::declared::{self, Declared};
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
use crate::plugin::PluginKind;
use crate::settings::Settings;
use abi_stable::library::{AbiHeaderRef, LibraryError};
use std::path::Path;

/// Why a file is no usable plugin library.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The system's loader refuses it; the text is the loader's.
    #[error("the system cannot load it: {0}")]
    Load(String),
    /// It has no symbol of the table of functions.
    #[error("it exports no plugins: it has no `{ROOT_SYMBOL}` (`pocketflow::export!()` makes it)")]
    NoRoot,
    /// Header or tables have another version or layout than those that this host was built with.
    #[error("its tables have another layout than this host's; rebuild it against the `pocketflow` of this host")]
    Layout,
    /// Its table could not be made, or its start failed; the text says how.
    #[error("it does not start: {0}")]
    Start(String),
}

const ROOT_SYMBOL: &str = "POCKETFLOW_ROOT";

/// A plugin library, or the plugins linked into this program. What is loaded stays loaded until the
/// process ends.
#[derive(Clone, Copy)]
pub struct Library {
    root: RootRef,
    /// What its functions are called by before it has made anything.
    callee: Callee,
}

impl Library {
    /// Loads a library from a file; `known_as` is the file that people know, of which it may be a
    /// copy. This runs code of it: its constructors, before any check but those that the caller
    /// made with the [handshake](super::Handshake).
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(path: &Path, known_as: &Path) -> Result<Self, OpenError> {
        let short = |error: LibraryError| match error {
            LibraryError::RootModule { err, .. } => OpenError::Start(err.to_string()),
            other => {
                tracing::debug!("`{}`: {other}", known_as.display());
                OpenError::Layout
            }
        };
        let callee = Callee::new(format!("the library `{}`", known_as.display()));
        // SAFETY: its constructors run, whatever they do; the caller has tried them in another
        // process.
        let raw = callee.call("constructors", || unsafe { libloading::Library::new(path) });
        let raw = raw.map_err(|error| OpenError::Load(reason(&error)))?;
        // Closing would run destructors of thread-locals and of libtorch in an order nobody
        // controls.
        let raw: &'static libloading::Library = Box::leak(Box::new(raw));
        // SAFETY: a symbol of this name is the header that `export!` makes; `upgrade` checks what
        // it begins with.
        let header = unsafe { raw.get::<AbiHeaderRef>(ROOT_SYMBOL.as_bytes()) }.map_err(|_| OpenError::NoRoot)?;
        let header: &'static LibraryHeader = header.upgrade().map_err(short)?;
        let root: RootRef = callee.call("root", || header.init_root_module()).map_err(short)?;
        let started = callee.call("start", || (root.start())(log::sink()));
        inward(started).map_err(|error| OpenError::Start(error.to_string()))?;
        Ok(Self { root, callee })
    }

    /// What is linked into this program, behind the same functions.
    pub fn linked() -> Self {
        Self { root: root::root(), callee: Callee::new("this program".into()) }
    }

    /// All plugins of the library, by kind and name.
    ///
    /// # Errors
    /// The library's answer cannot be read.
    pub fn declarations(&self) -> Result<Vec<Declared>> {
        declared::read(&inward(self.callee.call("options", || (self.root.declarations())()))?)
    }

    /// # Errors
    /// No learner of that name here; what the learner says to the settings.
    pub fn learner(&self, name: &str, settings: &Settings) -> Result<Box<dyn Learner>> {
        let settings = pack("settings", settings)?;
        let callee = named(PluginKind::Learner, name);
        let made = callee.call("configure", || (self.root.learner())(name.into(), settings.as_rslice()));
        inward(made).map(|object| learner::consume(callee, object))
    }

    /// # Errors
    /// No net of that name here; what the net says to the settings.
    pub fn net(&self, name: &str, settings: &Settings) -> Result<Box<dyn Net>> {
        let settings = pack("settings", settings)?;
        let callee = named(PluginKind::Net, name);
        let made = callee.call("configure", || (self.root.net())(name.into(), settings.as_rslice()));
        inward(made).map(|object| net::consume(callee, object, name))
    }

    /// # Errors
    /// No data set of that name here; what it says to the settings,
    /// [`crate::ErrorKind::DataNotFound`] among others.
    pub fn dataset(&self, name: &str, settings: &Settings) -> Result<Box<dyn Dataset>> {
        let settings = pack("settings", settings)?;
        let callee = named(PluginKind::Dataset, name);
        let made = callee.call("configure", || (self.root.dataset())(name.into(), settings.as_rslice()));
        inward(made).and_then(|object| dataset::consume(callee, object))
    }

    /// The options that a net recognises in names and shapes of weights ([`Net::recognise`]); none
    /// in an older library.
    ///
    /// # Errors
    /// No net of that name here.
    pub fn recognise(&self, name: &str, weights: &[(String, Vec<usize>)]) -> Result<Vec<(String, Value)>> {
        let Some(recognise) = self.root.recognise() else { return Ok(Vec::new()) };
        let weights = pack("names of weights", &weights)?;
        let callee = named(PluginKind::Net, name);
        let asked = callee.call("recognise", || recognise(name.into(), weights.as_rslice()));
        unpack("options", &inward(asked)?)
    }

    /// What a data set is without its images ([`Dataset::describe`]).
    ///
    /// # Errors
    /// No data set of that name here; it cannot tell.
    pub fn describe(&self, name: &str, settings: &Settings) -> Result<DatasetInfo> {
        let describe = self.root.describe().ok_or_else(|| older(name))?;
        let settings = pack("settings", settings)?;
        let callee = named(PluginKind::Dataset, name);
        let asked = callee.call("describe", || describe(name.into(), settings.as_rslice()));
        dataset::described(&inward(asked)?)
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
        let callee = named(PluginKind::Dataset, name);
        let asked = callee.call("check", || check(name.into(), settings.as_rslice(), progress));
        unpack("a report", &inward(asked)?)
    }

    /// # Errors
    /// No agent of that name here; what the agent says to the settings.
    pub fn agent(&self, name: &str, settings: &Settings) -> Result<Box<dyn Agent>> {
        let settings = pack("settings", settings)?;
        let callee = named(PluginKind::Agent, name);
        let made = callee.call("configure", || (self.root.agent())(name.into(), settings.as_rslice()));
        inward(made).map(|object| agent::consume(callee, object))
    }
}

fn named(kind: PluginKind, name: &str) -> Callee {
    Callee::new(format!("{kind} `{name}`"))
}

/// What the system says of a library that it cannot load.
fn reason(error: &libloading::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

fn older(name: &str) -> Error {
    let text = format!("the library of `{name}` is older than this question; rebuild it");
    Error::new(ErrorKind::DataNotFound, text)
}
