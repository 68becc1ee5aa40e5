//! What a run is made from beside its settings: program, plugins, files that it reads, data. The
//! run keeps fingerprints of them in `run.toml` and is resumed only with the same, since its end
//! would belong to neither otherwise.

mod fingerprint;
mod kept;

pub use kept::{Kept, Was};

use crate::options;
use crate::registry::Registry;
use crate::select::Selection;
use fingerprint::NOTHING;
use pocketflow::dataset::DatasetInfo;
use pocketflow::error::Context;
use pocketflow::option::{HostOptions, Kind, PathUse, Value};
use pocketflow::plugin::PluginKind;
use pocketflow::settings::Settings;
use pocketflow::{Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The table of `run.toml` that holds the fingerprints; it is no setting.
pub const TABLE: &str = "provenance";
/// Where the relative paths of the settings begin.
const WORKING_FOLDER: &str = "working folder";

/// Names of what a run is made from, with a fingerprint of each.
pub type Fingerprints = BTreeMap<String, String>;

/// The path options of a run, and what it does with the file of each.
pub struct Files<'a> {
    selection: &'a Selection,
    settings: &'a Settings,
    host: Vec<pocketflow::option::OptionSpec>,
    /// A checkpoint holds what was read of a file that the run writes in the end.
    begun: bool,
}

impl<'a> Files<'a> {
    /// `begun`: the run has saved a checkpoint.
    pub fn new(selection: &'a Selection, settings: &'a Settings, begun: bool) -> Self {
        Self { selection, settings, host: options::host_options(), begun }
    }

    /// Whether the option only says where a result goes.
    pub fn is_result(&self, key: &str) -> bool {
        let written = |path_use: &PathUse| matches!(path_use, PathUse::Written { .. });
        let own = self.selection.learner.writes.iter().any(|written| written == key);
        let read_first = key == HostOptions::save_path().name()
            && !self.begun
            && self.settings.get(HostOptions::enbl_warm_start()).unwrap_or(false);
        let spec = self.selection.spec(&self.host, key).map(|(spec, _)| spec).filter(|spec| spec.kind == Kind::Path);
        spec.is_some_and(|spec| written(&spec.path_use) || own && !read_first)
    }

    /// Whether the option names a file that the run reads, and that file has this fingerprint too.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn is_same_input(&self, key: &str, known: &Was) -> Result<bool> {
        match self.inputs().into_iter().find(|(input, _)| *input == key) {
            Some((_, path)) => Ok(known.print(&input_name(key)) == Some(&fingerprint::file(&path)?)),
            None => Ok(false),
        }
    }

    /// The paths that are set, by option.
    fn paths(&self) -> impl Iterator<Item = (&str, PathBuf)> {
        let is_path = |key: &str| self.selection.spec(&self.host, key).is_some_and(|(spec, _)| spec.kind == Kind::Path);
        self.settings.iter().filter_map(move |(key, setting)| match &setting.value {
            Some(Value::Text(path)) if is_path(key) && !options::OF_ONE_RUN.contains(&key) => Some((key, path.into())),
            _ => None,
        })
    }

    /// The files that the run reads, by option. Folders, as those of data, are none.
    fn inputs(&self) -> Vec<(&str, PathBuf)> {
        let taught = self.settings.get(HostOptions::enbl_dst()).unwrap_or(false);
        let teacher = HostOptions::save_path_dst().name();
        let is_read = |key: &str| !self.is_result(key) && (taught || key != teacher);
        self.paths().filter(|(key, path)| is_read(key) && !path.is_dir()).collect()
    }

    /// The files that the run reads and that were missing when `kept` was written, by their names
    /// there.
    pub fn missing(&self, kept: &Kept) -> Vec<(String, PathBuf)> {
        let inputs = self.inputs().into_iter().map(|(key, path)| (input_name(key), path));
        inputs.filter(|(name, _)| kept.is_missing(name)).collect()
    }

    /// That the relative paths begin where they began when the run did.
    ///
    /// # Errors
    /// They do not; both folders are named.
    pub fn expect_folder(&self, was: &Was) -> Result<()> {
        let now = working_folder()?;
        let Some(began) = was.print(WORKING_FOLDER).filter(|began| *began != now) else { return Ok(()) };
        let relative: Vec<&str> = self.paths().filter(|(_, path)| path.is_relative()).map(|(key, _)| key).collect();
        if relative.is_empty() {
            return Ok(());
        }
        Err(Error::config(format!(
            "the run began in `{began}`, and this is `{now}`: the relative paths of its settings ({}) would name other files; resume it \
             there, or where that folder was moved here, write the new one into the line `{WORKING_FOLDER}` of its run.toml",
            relative.join(", ")
        )))
    }
}

fn working_folder() -> Result<String> {
    let folder = std::env::current_dir().context("cannot tell the working folder")?;
    Ok(folder.display().to_string())
}

/// What a run of these files would be made from now.
///
/// # Errors
/// A file that it needs cannot be read.
pub fn now(registry: &Registry, files: &Files<'_>, info: &DatasetInfo) -> Result<Fingerprints> {
    let mut all = Fingerprints::new();
    all.insert(WORKING_FOLDER.into(), working_folder()?);
    all.insert("program".into(), env!("CARGO_PKG_VERSION").into());
    let Selection { learner, net, dataset, .. } = files.selection;
    // Of a net without a plugin, the model's file holds all there is.
    let net = Some(net).filter(|_| !files.selection.lacks_net_plugin(registry));
    for plugin in [Some(learner), net, Some(dataset)].into_iter().flatten() {
        let (name, print) = plugin_print(registry, plugin.kind, &plugin.name)?;
        all.insert(name, print);
    }
    for (key, path) in files.inputs() {
        all.insert(input_name(key), fingerprint::file(&path)?);
    }
    all.insert("data".into(), fingerprint::data(info));
    let folder = files.settings.get(HostOptions::data_dir())?;
    if let Some(folder) = folder.filter(|folder| !info.stand_in && folder.exists()) {
        all.insert("files of data_dir".into(), fingerprint::folder(&folder)?);
    }
    Ok(all)
}

/// Name and fingerprint of a plugin: its version, its library's content, the libtorch that it
/// needs.
///
/// # Errors
/// There is no such plugin, or the program's own file cannot be read.
pub fn plugin_print(registry: &Registry, kind: PluginKind, name: &str) -> Result<(String, String)> {
    let entry = registry.find(kind, name)?;
    let (name, version) = (&entry.declaration.name, &entry.declaration.version);
    let library = match registry.content(entry) {
        Some((content, libtorch)) => {
            let libtorch = libtorch.map(|version| format!(", libtorch {version}")).unwrap_or_default();
            fingerprint::content(&content) + &libtorch
        }
        None => fingerprint::file(&std::env::current_exe().context("cannot tell where the program lies")?)?,
    };
    Ok((format!("{kind} {name}"), format!("{version}, {library}")))
}

/// The fingerprint of a file that was missing; `None` where it still is.
///
/// # Errors
/// It cannot be read.
pub fn appeared(path: &Path) -> Result<Option<String>> {
    Ok(Some(fingerprint::file(path)?).filter(|print| print != NOTHING))
}

fn input_name(key: &str) -> String {
    format!("file of {key}")
}
