//! The layered settings: what every source says about every key, which of them wins, and what is
//! wrong.
//!
//! Layers, later wins: the defaults that plugins declare, the user's file, the project's file, each
//! `--config` file (after those it extends), the environment, the flags. Everything is kept as its
//! source wrote it until the plugins are selected, because the types of most keys are theirs; then
//! figment merges the layers, and every value keeps its origin.

pub mod catalogue;
mod environment;
mod files;
mod leaf;
mod parse;
pub mod problem;
mod provider;
#[cfg(test)]
pub(crate) mod sample;
mod selection;
mod written;

pub use environment::{PREFIX, variable};
pub use files::PROJECT_FILE;
pub use parse::EXTENDS;
pub use selection::Selection;
pub use written::{text_of, to_toml};

use crate::cli::Invocation;
use crate::options;
use crate::refused::Refused;
use catalogue::{Catalogue, Owned, Owner, wrong};
use figment::Figment;
use leaf::{Leaf, Raw};
use pocketflow::option::{OptionSpec, Value};
use pocketflow::plugin::Declaration;
use pocketflow::settings::{Origin, Setting, Settings};
use pocketflow::{Error, Result};
use problem::{Problem, report};
use provider::{TypedLayer, layer_of};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ffi::OsString;
use std::path::PathBuf;

/// One source: a file, the environment, or the flags.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layer {
    pub leaves: Vec<Leaf>,
    /// Keys of plugins that are not selected are errors here; files may hold them.
    pub strict: bool,
}

/// Where settings come from besides the command line; taken from the process, or made up by a test.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Need not exist.
    pub user_file: Option<PathBuf>,
    /// Need not exist.
    pub project_file: Option<PathBuf>,
    /// Of the environment; others than ours are passed over.
    pub variables: Vec<(OsString, OsString)>,
}

impl Sources {
    /// Those of this process.
    pub fn of_process() -> Self {
        Self {
            user_file: files::user_file(|name| std::env::var_os(name).map(PathBuf::from)),
            project_file: Some(PathBuf::from(PROJECT_FILE)),
            variables: std::env::vars_os().collect(),
        }
    }
}

/// All that was said, checked as far as it can be before plugins are selected.
#[derive(Debug, Clone)]
pub struct Layers {
    catalogue: Catalogue,
    /// Without the defaults; later ones win. Keys are canonical, and no key is twice in a layer.
    layers: Vec<Layer>,
    warnings: Vec<String>,
}

/// Reads the layers of this process and logs warnings; `refused` are plugins that messages may have
/// to explain.
///
/// # Errors
/// Files that cannot be read, unknown keys, values that no owner of their key takes: all of them,
/// each with its source.
pub fn load(
    invocation: &Invocation,
    declarations: &[Declaration],
    host_options: &[OptionSpec],
    refused: Vec<Refused>,
) -> Result<Layers> {
    let layers = load_from(&Sources::of_process(), invocation, declarations, host_options, refused)?;
    for warning in &layers.warnings {
        tracing::warn!("{warning}");
    }
    Ok(layers)
}

/// [`load`] from given sources, without logging.
///
/// # Errors
/// As [`load`].
pub fn load_from(
    sources: &Sources,
    invocation: &Invocation,
    declarations: &[Declaration],
    host_options: &[OptionSpec],
    refused: Vec<Refused>,
) -> Result<Layers> {
    let catalogue = Catalogue::new(host_options, declarations).with_refused(refused);
    let mut files = files::Files::default();
    for path in [&sources.user_file, &sources.project_file].into_iter().flatten() {
        files.add_if_there(path);
    }
    for path in &invocation.configs {
        files.add_named(path);
    }
    let environment = environment::read(sources.variables.iter().cloned(), &catalogue);
    let mut problems = files.problems;
    problems.extend(environment.problems);
    let mut layers = files.layers;
    layers.push(environment.layer);
    layers.push(flags(&invocation.flags));
    for layer in &mut layers {
        check(layer, &catalogue, &mut problems);
    }
    report(&problems)?;
    Ok(Layers { catalogue, layers, warnings: environment.warnings })
}

fn flags(flags: &[(String, String)]) -> Layer {
    let leaf = |(key, text): &(String, String)| Leaf {
        key: key.clone(),
        raw: Raw::Words(text.clone()),
        origin: Origin::Flag { name: format!("--{}", key.replace('_', "-")) },
    };
    Layer { leaves: flags.iter().map(leaf).collect(), strict: true }
}

/// Makes keys canonical and finds what is wrong whichever plugins are selected. Only good leaves
/// stay.
fn check(layer: &mut Layer, catalogue: &Catalogue, problems: &mut Vec<Problem>) {
    let mut seen: BTreeMap<String, Leaf> = BTreeMap::new();
    for leaf in std::mem::take(&mut layer.leaves) {
        let Some((key, owners)) = catalogue.find(&leaf.key) else {
            problems.push(Problem::at(&leaf.origin, catalogue.unknown(&leaf.key)));
            continue;
        };
        if let Some(reason) = Catalogue::refuse(key, &leaf.raw, owners) {
            problems.push(Problem::at(&leaf.origin, reason));
        }
        match seen.entry(key.to_owned()) {
            Entry::Occupied(first) => {
                let first = first.get();
                let text = match first.key == leaf.key {
                    true => format!("`{key}` is given twice; the first is {}", first.origin),
                    false => format!(
                        "`{}` and `{}` are one option; it is given already: {}",
                        leaf.key, first.key, first.origin
                    ),
                };
                problems.push(Problem::at(&leaf.origin, text));
            }
            Entry::Vacant(free) => {
                free.insert(leaf);
            }
        }
    }
    layer.leaves = seen.into_iter().map(|(key, leaf)| Leaf { key, ..leaf }).collect();
}

impl Layers {
    /// All options there are.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// The value of an option of the host, before plugins are selected; `None` where it is unset.
    ///
    /// # Errors
    /// The host has no such option.
    pub fn choice(&self, key: &str) -> Result<Option<String>> {
        Ok(self.chosen(key)?.map(|(value, _)| value))
    }

    /// [`Layers::choice`] with the origin of the value.
    ///
    /// # Errors
    /// As [`Layers::choice`].
    pub fn chosen(&self, key: &str) -> Result<Option<(String, Origin)>> {
        let found = self.catalogue.find(key);
        let spec = found.and_then(|(_, owners)| owners.iter().find(|owned| owned.owner.kind.is_none()));
        let spec = &spec.ok_or_else(|| Error::config(format!("the host has no option `{key}`")))?.spec;
        let leaf = self.layers.iter().rev().flat_map(|layer| &layer.leaves).find(|leaf| leaf.key == spec.key);
        match leaf {
            Some(Leaf { raw, origin, .. }) => match raw.read(&spec.kind) {
                Ok(value) => Ok(Some((value.to_string(), origin.clone()))),
                Err(reason) => Err(Error::config(format!("{origin}: {}", wrong(key, raw, &Owner::host(), &reason)))),
            },
            None => {
                let origin = || Origin::Default { owner: options::OWNER.into() };
                Ok(spec.default.as_ref().map(|value| (value.to_string(), origin())))
            }
        }
    }

    /// All options of the host and of these plugins, each with its value, its origin and what it
    /// overrode.
    ///
    /// # Errors
    /// Values that these plugins do not take, flags and variables of plugins that are not among
    /// them: all of them.
    pub fn resolve(&self, owners: &[&Declaration]) -> Result<Settings> {
        let active = self.active(owners);
        let mut problems = Vec::new();
        let mut typed = vec![defaults(&active)];
        for layer in &self.layers {
            let values = self.read(layer, &active, &mut problems);
            typed.push(TypedLayer { index: typed.len(), values });
        }
        report(&problems)?;
        let settings = merge(&typed, &active)?;
        report(&options::check_values(&settings))?;
        Ok(settings)
    }

    /// The options in use by key: the host's and those of `owners`.
    fn active(&self, owners: &[&Declaration]) -> BTreeMap<String, Owned> {
        let host =
            self.catalogue.iter().flat_map(|(_, owned)| owned).filter(|owned| owned.owner.kind.is_none()).cloned();
        let plugins = owners.iter().flat_map(|declaration| {
            let owner = Owner::of(declaration);
            declaration.options.iter().map(move |spec| Owned { owner: owner.clone(), spec: spec.clone() })
        });
        let mut active = BTreeMap::new();
        for owned in host.chain(plugins) {
            // The registry refuses a plugin whose option another has; the first stays should that
            // ever fail.
            active.entry(owned.spec.key.clone()).or_insert(owned);
        }
        active
    }

    fn read(
        &self,
        layer: &Layer,
        active: &BTreeMap<String, Owned>,
        problems: &mut Vec<Problem>,
    ) -> BTreeMap<String, (Value, Origin)> {
        let mut values = BTreeMap::new();
        for Leaf { key, raw, origin } in &layer.leaves {
            match active.get(key) {
                Some(owned) => match raw.read(&owned.spec.kind) {
                    Ok(value) => {
                        values.insert(key.clone(), (value, origin.clone()));
                    }
                    Err(reason) => problems.push(Problem::at(origin, wrong(key, raw, &owned.owner, &reason))),
                },
                None if layer.strict => problems.push(Problem::at(origin, self.not_selected(key, raw))),
                None => {}
            }
        }
        values
    }

    fn not_selected(&self, key: &str, raw: &Raw) -> String {
        let owners = self.catalogue.find(key).map(|(_, owners)| owners).unwrap_or_default();
        let names: Vec<String> = owners.iter().map(|owned| owned.owner.to_string()).collect();
        let selectors: Vec<String> = owners.iter().filter_map(|owned| owned.owner.selector()).collect();
        let how = match selectors.is_empty() {
            true => "leave it out, or select a learner that uses it".into(),
            false => format!("select it with {}, or leave `{key}` out", selectors.join(" or ")),
        };
        format!("`{key}` = {} is an option of {}, which is not selected; {how}", raw.shown(), names.join(" and of "))
    }
}

fn defaults(active: &BTreeMap<String, Owned>) -> TypedLayer {
    let default = |(key, owned): (&String, &Owned)| {
        let origin = Origin::Default { owner: owned.owner.name.clone() };
        owned.spec.default.clone().map(|value| (key.clone(), (value, origin)))
    };
    TypedLayer { index: 0, values: active.iter().filter_map(default).collect() }
}

/// Lets figment merge the layers, and gives every value its origin back.
fn merge(typed: &[TypedLayer], active: &BTreeMap<String, Owned>) -> Result<Settings> {
    let figment = typed.iter().fold(Figment::new(), |figment, layer| figment.merge(layer));
    let broken = |error: &figment::Error| Error::failed(format!("the settings cannot be merged: {error}"));
    let mut settings = Settings::default();
    for (key, Owned { owner, spec: _ }) in active {
        let unset = || Setting {
            value: None,
            origin: Origin::Default { owner: owner.name.clone() },
            overrode: Vec::new(),
            owner: owner.name.clone(),
        };
        let setting = match figment.find_value(key) {
            Err(error) if error.missing() => unset(),
            Err(error) => return Err(broken(&error)),
            Ok(found) => {
                let value: Value = found.deserialize().map_err(|error| broken(&error))?;
                let index = figment.get_metadata(found.tag()).and_then(layer_of).unwrap_or_default();
                let mut said = typed[..=index].iter().rev().filter_map(|layer| layer.values.get(key));
                let Some((_, origin)) = said.next() else { continue };
                let overrode = said.map(|(value, origin)| (Some(value.clone()), origin.clone())).collect();
                Setting { value: Some(value), origin: origin.clone(), overrode, owner: owner.name.clone() }
            }
        };
        settings.insert(key, setting);
    }
    Ok(settings)
}

#[cfg(test)]
mod tests;
