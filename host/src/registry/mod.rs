//! All plugins there are, loaded from files or linked in, by kind and name.
//!
//! Plugins from files are described from the cache where it knows them, else tried in a process of
//! their own, and loaded into this one when the first of theirs is made.

mod check;
mod claims;
mod examine;
mod loader;

pub use check::Check;

use crate::discover::cache::Cache;
use crate::discover::content::ContentHash;
use crate::discover::copies::{self, NotThere};
use crate::discover::{self, PluginDirs};
use crate::refused::{Refused, why_missing};
use claims::Claims;
pub use claims::Reserved;
use examine::{Described, Memory, examine};
use loader::Loader;
use pocketflow::abi::Library;
use pocketflow::agent::Agent;
use pocketflow::dataset::check::CheckReport;
use pocketflow::dataset::{Dataset, DatasetInfo};
use pocketflow::learner::Learner;
use pocketflow::names;
use pocketflow::net::Net;
use pocketflow::option::Value;
use pocketflow::plugin::{Declaration, PluginKind, linked};
use pocketflow::settings::Settings;
use pocketflow::{Error, Result};
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

// A crate that nothing names is not linked, and registers nothing.
#[cfg(feature = "static")]
use {
    pocketflow_cifar10 as _, pocketflow_folder as _, pocketflow_full_prec as _, pocketflow_ilsvrc12 as _,
    pocketflow_mobilenet as _, pocketflow_resnet_cifar10 as _, pocketflow_resnet_ilsvrc12 as _,
    pocketflow_rl_agent as _, pocketflow_synthetic as _, pocketflow_uniform as _, pocketflow_uniform_tf as _,
};

/// A usable plugin.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What the plugin says of itself.
    pub declaration: Declaration,
    /// Where it comes from.
    pub source: Source,
}

/// Where a plugin comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Part of this program.
    Linked,
    /// Of a library; the path is canonical.
    File(PathBuf),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Linked => f.write_str("this program"),
            Self::File(path) => write!(f, "`{}`", path.display()),
        }
    }
}

/// A file, or one plugin of a file, that is not usable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The library, or the folder that cannot be read; for a plugin that is part of this program,
    /// the program.
    pub path: PathBuf,
    /// Why, in words.
    pub reason: String,
    /// The plugin that is refused; `None` where the whole file is.
    pub plugin: Option<Refused>,
}

impl Failure {
    /// The failure of a whole file.
    pub fn of_file(path: PathBuf, reason: String) -> Self {
        Self { path, reason, plugin: None }
    }
}

/// The plugins. Shared by everything that makes one.
#[derive(Default)]
pub struct Registry {
    entries: Vec<Entry>,
    failures: Vec<Failure>,
    /// Files whose plugins are among the entries.
    libraries: Mutex<HashMap<PathBuf, Known>>,
}

/// A library as the entries describe it.
struct Known {
    described: Described,
    /// Once a plugin of it was made.
    loaded: Option<Library>,
}

impl Registry {
    /// Finds and describes all plugins. What fails is listed in [`Registry::failures`]; the rest
    /// works. `reserved` are the keys that no plugin may declare.
    pub fn discover(dirs: &PluginDirs, reserved: &Reserved) -> Self {
        let mut registry = Self::default();
        let mut claims = Claims::new(reserved);
        registry.add_linked(&mut claims);
        let found = discover::files(dirs);
        registry.failures.extend(found.failures);
        let mut cache = Cache::open();
        let examined = examine(&found.files, &mut cache, Memory::Use);
        cache.save();
        for (path, examined) in found.files.into_iter().zip(examined) {
            match examined {
                Ok(described) => registry.add_file(path, described, &mut claims),
                Err(reason) => registry.fail(&path, reason),
            }
        }
        registry.entries.sort_by(|a, b| {
            let key = |entry: &Entry| (entry.declaration.kind, entry.declaration.name.clone());
            key(a).cmp(&key(b))
        });
        registry
    }

    fn add_linked(&mut self, claims: &mut Claims) {
        if linked().next().is_none() {
            return;
        }
        let program = std::env::current_exe().unwrap_or_else(|_| "this program".into());
        match Library::linked().declarations() {
            Ok(declared) => {
                for declared in declared {
                    let named = format!("{} `{}`", declared.kind, declared.name);
                    match declared.result {
                        Ok(declaration) => self.admit(declaration, Source::Linked, &program, claims),
                        Err(error) => self.fail(&program, format!("{named}: {error}")),
                    }
                }
            }
            Err(error) => self.fail(&program, error.to_string()),
        }
    }

    fn add_file(&mut self, path: PathBuf, described: Described, claims: &mut Claims) {
        for reason in &described.failures {
            self.fail(&path, reason.clone());
        }
        for declaration in &described.declarations {
            self.admit(declaration.clone(), Source::File(path.clone()), &path, claims);
        }
        let libraries = self.libraries.get_mut().unwrap_or_else(PoisonError::into_inner);
        libraries.insert(path, Known { described, loaded: None });
    }

    fn admit(&mut self, declaration: Declaration, source: Source, path: &Path, claims: &mut Claims) {
        let same = |entry: &Entry| entry.source == Source::Linked && entry.declaration == declaration;
        if self.entries.iter().any(same) {
            // A program with its plugins linked in, beside the libraries of the same build.
            return tracing::debug!("{} `{}` is part of this program", declaration.kind, declaration.name);
        }
        match claims.admit(&declaration, &source) {
            Ok(()) => self.entries.push(Entry { declaration, source }),
            Err(reason) => {
                let plugin = Some(Refused::new(&declaration, &reason));
                self.failures.push(Failure { path: path.to_owned(), reason, plugin });
            }
        }
    }

    fn fail(&mut self, path: &Path, reason: String) {
        self.failures.push(Failure::of_file(path.to_owned(), reason));
    }

    /// The usable plugins, by kind and name.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What was found and is not usable.
    pub fn failures(&self) -> &[Failure] {
        &self.failures
    }

    /// The plugins that were found and refused, one by one.
    pub fn refused(&self) -> Vec<Refused> {
        self.failures.iter().filter_map(|failure| failure.plugin.clone()).collect()
    }

    /// The plugin of that name or alias; `_` and `-` are the same.
    ///
    /// # Errors
    /// There is none; the message says which there are, and whether a file that failed might hold
    /// it.
    pub fn find(&self, kind: PluginKind, name: &str) -> Result<&Entry> {
        let of_kind = || self.entries.iter().filter(|entry| entry.declaration.kind == kind);
        if let Some(entry) = of_kind().find(|entry| entry.declaration.is_called(name)) {
            return Ok(entry);
        }
        if let Some(why) = why_missing(&self.refused(), kind, name) {
            return Err(Error::config(format!("there is no {kind} `{}`: {why}", names::shown(name))));
        }
        let known: Vec<&str> = of_kind().map(|entry| entry.declaration.name.as_str()).collect();
        let hint = names::hint(name, known.iter().copied());
        let there = match known.is_empty() {
            true => format!("no {kind} is installed"),
            false => format!("there are {}", known.join(", ")),
        };
        let failed = match self.failures.len() {
            0 => "",
            _ => "; some plugins could not be loaded, see `host plugins list`",
        };
        Err(Error::config(format!("there is no {kind} `{}`{hint} ({there}{failed})", names::shown(name))))
    }

    /// Makes a learner.
    ///
    /// # Errors
    /// No such learner; its library cannot be loaded; what it says to the settings.
    pub fn learner(&self, name: &str, settings: &Settings) -> Result<Box<dyn Learner>> {
        let (library, name) = self.library(PluginKind::Learner, name)?;
        library.learner(name, settings)
    }

    /// Makes a net.
    ///
    /// # Errors
    /// As [`Registry::learner`].
    pub fn net(&self, name: &str, settings: &Settings) -> Result<Box<dyn Net>> {
        let (library, name) = self.library(PluginKind::Net, name)?;
        library.net(name, settings)
    }

    /// Opens a data set.
    ///
    /// # Errors
    /// As [`Registry::learner`]; [`pocketflow::ErrorKind::DataNotFound`] where its files are not
    /// there.
    pub fn dataset(&self, name: &str, settings: &Settings) -> Result<Arc<dyn Dataset>> {
        let (library, name) = self.library(PluginKind::Dataset, name)?;
        library.dataset(name, settings).map(Arc::from)
    }

    /// The options under which a net has weights of these names and shapes.
    ///
    /// # Errors
    /// No such net; its library cannot be loaded.
    pub fn recognise(&self, name: &str, weights: &[(String, Vec<usize>)]) -> Result<Vec<(String, Value)>> {
        let (library, name) = self.library(PluginKind::Net, name)?;
        library.recognise(name, weights)
    }

    /// What a data set is without its images.
    ///
    /// # Errors
    /// As [`Registry::learner`]; it cannot tell.
    pub fn describe(&self, name: &str, settings: &Settings) -> Result<DatasetInfo> {
        let (library, name) = self.library(PluginKind::Dataset, name)?;
        library.describe(name, settings)
    }

    /// Has a data set check its files; `progress` is told how many images of how many are done.
    ///
    /// # Errors
    /// As [`Registry::learner`]; [`pocketflow::ErrorKind::DataNotFound`] where there are none of
    /// its files.
    pub fn check_data(
        &self,
        name: &str,
        settings: &Settings,
        progress: impl Fn(u64, u64) + Send + Sync + 'static,
    ) -> Result<CheckReport> {
        let (library, name) = self.library(PluginKind::Dataset, name)?;
        library.check(name, settings, progress)
    }

    /// Makes an agent.
    ///
    /// # Errors
    /// As [`Registry::learner`].
    pub fn agent(&self, name: &str, settings: &Settings) -> Result<Box<dyn Agent>> {
        let (library, name) = self.library(PluginKind::Agent, name)?;
        library.agent(name, settings)
    }

    /// What the library of a plugin holds that this program loads or has loaded, whatever becomes
    /// of its file, and the libtorch that it needs; `None` for a plugin that is part of this
    /// program.
    pub fn content(&self, entry: &Entry) -> Option<(ContentHash, Option<String>)> {
        let Source::File(path) = &entry.source else { return None };
        let libraries = self.libraries.lock().unwrap_or_else(PoisonError::into_inner);
        let described = &libraries.get(path)?.described;
        Some((described.content, described.libtorch.clone()))
    }

    /// The loaded library of a plugin, and the name that the library knows it by.
    fn library(&self, kind: PluginKind, name: &str) -> Result<(Library, &str)> {
        let Entry { declaration, source } = self.find(kind, name)?;
        let Source::File(path) = source else { return Ok((Library::linked(), &declaration.name)) };
        let mut libraries = self.libraries.lock().unwrap_or_else(PoisonError::into_inner);
        let known = libraries.get_mut(path);
        let known = known.ok_or_else(|| Error::failed(format!("`{}` was not looked at", path.display())))?;
        let described = match known.loaded {
            Some(library) => return Ok((library, &declaration.name)),
            None => &known.described,
        };
        let unusable = |reason: String| Error::failed(format!("{kind} `{name}`: `{}`: {reason}", path.display()));
        let again = "it is not what it was when its options were read; give the command again";
        let file = copies::to_load(path, &described.content).map_err(|error| match error {
            // Nobody has tried what is there now.
            NotThere::Changed => unusable(again.into()),
            NotThere::Unreadable(error) => unusable(format!("cannot be read: {error}")),
        })?;
        let loaded = Loader::default().load(&file, path).map_err(|error| unusable(error.to_string()))?;
        let as_described = loaded.declarations == described.declarations
            && loaded.failures == described.failures
            && loaded.libtorch == described.libtorch;
        if !as_described {
            // The settings were made from other options than the library now has.
            let mut cache = Cache::open();
            cache.forget(&described.content);
            cache.save();
            return Err(unusable(again.into()));
        }
        known.loaded = Some(loaded.library);
        Ok((loaded.library, &declaration.name))
    }

    /// Looks at one library file, as `plugins check` shows it.
    pub fn check(path: &Path, reserved: &Reserved) -> Check {
        check::check(path, reserved)
    }
}
