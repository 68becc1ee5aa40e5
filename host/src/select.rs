//! What a run is made of: which learner, net and data set, and the settings for them. Decides what
//! `auto` means.

mod data_dir;
mod imported;

use crate::deploy::own_graph::OwnGraph;
use crate::layers::Layers;
use crate::named_classes;
use crate::normalised;
use crate::registry::Registry;
use crate::workers;
use pocketflow::dataset::Dataset;
use pocketflow::dataset::options::DatasetOptions;
use pocketflow::graph::Shape;
use pocketflow::model::{Model, ModelMeta};
use pocketflow::names;
use pocketflow::net::Net;
use pocketflow::net::options::ImageOptions;
use pocketflow::option::{HostOptions, Kind, OptionSpec, Value};
use pocketflow::plugin::{Declaration, PluginKind};
use pocketflow::settings::{Origin, Settings};
use pocketflow::{Error, ErrorKind, Result};
use std::borrow::Cow;
use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;

pub use imported::{Imported, for_weights};

/// The value of `dataset` that leaves the choice to the program.
pub const AUTO: &str = "auto";

/// The plugins of a run, and the values that the program chose for it.
#[derive(Debug, Clone)]
pub struct Selection {
    pub learner: Declaration,
    pub net: Declaration,
    pub dataset: Declaration,
    /// All of them: a learner asks for its agent by name only when it runs.
    agents: Vec<Declaration>,
    derived: Vec<Derived>,
}

/// A value that the program chose.
#[derive(Debug, Clone)]
struct Derived {
    key: Cow<'static, str>,
    value: Value,
    reason: String,
    over: Over,
}

/// What a derived value stands over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    /// Nothing: only where nobody else chose and the option has no default.
    Nothing,
    /// The default of an option that a plugin may or may not have.
    Default,
    /// What was written (`auto`, an alias).
    Written,
}

impl Derived {
    fn fills(key: &'static str, value: impl Into<Value>, reason: impl Into<String>) -> Self {
        Self { key: key.into(), value: value.into(), reason: reason.into(), over: Over::Nothing }
    }

    fn knows(key: &'static str, value: usize, reason: impl Into<String>) -> Self {
        Self { key: key.into(), value: value.into(), reason: reason.into(), over: Over::Default }
    }

    fn replaces(key: &'static str, text: &str, reason: impl Into<String>) -> Self {
        Self { key: key.into(), value: text.into(), reason: reason.into(), over: Over::Written }
    }

    fn apply(&self, settings: &mut Settings) {
        let entry = settings.entry(&self.key);
        let now = entry.and_then(|setting| setting.value.as_ref());
        let by_default = entry.is_some_and(|setting| matches!(setting.origin, Origin::Default { .. }));
        let open = match (self.over, now) {
            (Over::Default, now) => by_default && now != Some(&self.value),
            (_, None) => true,
            // The option's own word for "as many as there are"; more than there are would wait for
            // each other.
            (_, Some(Value::Int(0))) if self.key == HostOptions::threads().name() => true,
            (_, Some(Value::Int(asked))) if self.key == HostOptions::threads().name() => {
                matches!(self.value, Value::Int(cores) if cores < *asked)
            }
            (over, Some(now)) => over == Over::Written && *now != self.value,
        };
        if open {
            settings.derive(&self.key, self.value.clone(), &self.reason);
        }
    }
}

/// A saved model, as far as it decides what is selected.
#[derive(Debug, Clone, Copy)]
pub struct Saved<'a> {
    /// Net and learner count where none was chosen, and so do mean and standard deviation of the
    /// input.
    pub meta: &'a ModelMeta,
    /// The images that it takes, and the number of classes that it tells apart, where known:
    /// options of net and data set follow them.
    pub image: Option<Shape>,
    pub classes: Option<usize>,
}

impl<'a> Saved<'a> {
    pub fn of(model: &'a Model) -> Self {
        let classes = model.graph.shapes().ok().and_then(|shapes| Some(shapes.last()?[0]));
        Self { meta: &model.meta, image: Some(model.graph.input_shape()), classes }
    }
}

/// A selection with its data opened.
pub struct Selected {
    pub selection: Selection,
    pub dataset: Arc<dyn Dataset>,
    pub settings: Settings,
    /// What must be said of the choice: that the data are a stand-in, and where the real ones go.
    pub warning: Option<String>,
}

/// Selects what the settings name; `saved` is the model to evaluate.
///
/// # Errors
/// A plugin that does not exist (the message lists those there are) or does not take its settings;
/// data that are not found and must be, or have no stand-in.
pub fn select(registry: &Registry, layers: &Layers, saved: Option<Saved<'_>>) -> Result<Selected> {
    let mut derived = Vec::new();
    let learner = {
        let saved = saved.map(|saved| (saved.meta.learner.as_str(), "the model was made by it"));
        plugin(registry, layers, PluginKind::Learner, HostOptions::learner().name(), saved, &mut derived)?
    };
    let net = match saved.map(|saved| saved.meta).filter(|meta| is_missing(registry, &meta.net)) {
        Some(meta) if !is_chosen(layers, &HostOptions::net())? => {
            derived.push(Derived::replaces(HostOptions::net().name(), &meta.net, "the model is of it"));
            OwnGraph::declaration(&meta.net, &meta.dataset, saved.and_then(|saved| saved.image))
        }
        _ => {
            let saved = saved.map(|saved| (saved.meta.net.as_str(), "the model is of it"));
            plugin(registry, layers, PluginKind::Net, HostOptions::net().name(), saved, &mut derived)?
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let asked = layers.chosen(&HostOptions::n())?.and_then(|(n, _)| n.parse().ok()).unwrap_or(1);
    let here = workers::on_this_machine(asked);
    let threads = (cores / here).max(1);
    let share = if here > 1 { "this worker's share of the cores" } else { "all cores" };
    derived.push(Derived::fills(HostOptions::threads().name(), threads, share));
    if let Some((asked, origin)) = layers.chosen(&HostOptions::threads())?
        && asked.parse().is_ok_and(|asked: usize| asked > threads)
    {
        let (plural, for_each) =
            (if cores == 1 { "" } else { "s" }, if here > 1 { format!(" for {here} workers") } else { String::new() });
        tracing::warn!(
            "`threads` = {asked} ({origin}): this machine has {cores} core{plural}{for_each}; {threads} are used"
        );
    }
    let agents = of_kind(registry, PluginKind::Agent).cloned().collect();
    let chosen = layers.chosen(&HostOptions::dataset())?.filter(|(name, _)| name != AUTO);
    let auto = chosen.is_none();
    let dataset = match chosen {
        Some((name, origin)) => {
            canonical(registry, PluginKind::Dataset, HostOptions::dataset().name(), (&name, &origin), &mut derived)?
        }
        None => match saved.and_then(|saved| trained_on(registry, saved.meta)) {
            Some(dataset) => {
                let reason = "the model was trained on it";
                derived.push(Derived::replaces(HostOptions::dataset().name(), &dataset.name, reason));
                dataset
            }
            None => own_dataset(registry, &net, &mut derived)?,
        },
    };
    if let Some(own) = net.datasets.first().filter(|own| dataset.is_for(own)) {
        // Chosen by name, it still has to look like the data set that the net is for.
        let reason = format!("the data set of {}", net.name);
        derived.push(Derived::fills(HostOptions::stand_in_for().name(), own.as_str(), reason));
    }
    if let Some(saved) = saved {
        if let Some([channels, height, _]) = saved.image {
            let reason = "the model takes such images";
            derived.push(Derived::knows(ImageOptions::image_size().name(), height, reason));
            derived.push(Derived::knows(ImageOptions::image_channels().name(), channels, reason));
        }
        if let Some(classes) = saved.classes {
            derived.push(Derived::knows(DatasetOptions::nb_classes().name(), classes, "the model tells so many apart"));
        }
        let words = net.options.iter().filter(|spec| matches!(spec.kind, Kind::Choice(_)));
        derived.extend(words.filter_map(|spec| {
            let (key, value) = saved.meta.choices.get_key_value(&spec.key)?;
            let (key, value, reason) = (key.clone().into(), value.clone(), "the model was made so".into());
            Some(Derived { key, value, reason, over: Over::Default })
        }));
    }
    let selection = Selection { learner, net, dataset, agents, derived };
    let own = selection.clone().with_data_dir();
    let settings = own.settings(layers)?;
    match registry.dataset(&own.dataset.name, &settings) {
        Ok(dataset) => opened(layers, own, dataset, saved, None),
        Err(error) if error.kind() == ErrorKind::DataNotFound && is_chosen(layers, &HostOptions::data_dir())? => {
            Err(data_dir::without_data(&own, &settings, &error))
        }
        Err(error) if auto && error.kind() == ErrorKind::DataNotFound => {
            let (selection, dataset, warning) = stand_in(registry, layers, selection, &error)?;
            opened(layers, selection, dataset, saved, Some(warning))
        }
        Err(error) if error.kind() == ErrorKind::DataNotFound => Err(with_stand_in(registry, own.dataset, error)),
        Err(error) => Err(error),
    }
}

/// The data set that a model was trained on, where its plugin is here and it is no stand-in.
fn trained_on(registry: &Registry, meta: &ModelMeta) -> Option<Declaration> {
    let found = registry.find(PluginKind::Dataset, &meta.dataset).ok()?;
    (!meta.stand_in && !meta.dataset.is_empty()).then(|| found.declaration.clone())
}

/// What a data set that was named says of its missing files, and how made-up images take its place.
fn with_stand_in(registry: &Registry, dataset: Declaration, missing: Error) -> Error {
    let real = &dataset.name;
    match of_kind(registry, PluginKind::Dataset).find(|other| other.is_for(real)) {
        Some(other) => {
            let advice = format!("made-up images in its shape: --dataset={} --stand_in_for={real}", other.name);
            Error::new(missing.kind(), format!("{missing}; {advice}"))
        }
        None => missing,
    }
}

/// Lets the settings follow what the data set turned out to be, and the data set's class numbers
/// and normalisation the model's.
fn opened(
    layers: &Layers,
    mut selection: Selection,
    dataset: Arc<dyn Dataset>,
    saved: Option<Saved<'_>>,
    warning: Option<String>,
) -> Result<Selected> {
    let dataset = match saved {
        Some(saved) => named_classes::as_in_model(dataset, &saved.meta.labels)?,
        None => dataset,
    };
    let info = dataset.info();
    if !info.labels.is_empty() {
        let reason = format!("what {} has", info.name);
        selection.derived.push(Derived::knows(DatasetOptions::nb_classes().name(), info.labels.len(), reason));
    }
    if let Some(saved) = saved {
        let (mean, std) = (HostOptions::input_mean(), HostOptions::input_std());
        for (key, model, data) in [(mean, &saved.meta.mean, &info.mean), (std, &saved.meta.std, &info.std)] {
            if !model.is_empty() && model != data {
                selection.derived.push(Derived::fills(key.name(), normalised::value(model), "the model's own"));
            }
        }
    }
    let settings = selection.settings(layers)?;
    let dataset = normalised::as_set(dataset, &settings)?;
    Ok(Selected { selection, dataset, settings, warning })
}

/// The data set that a net is for.
fn own_dataset(registry: &Registry, net: &Declaration, derived: &mut Vec<Derived>) -> Result<Declaration> {
    let Some(own) = net.datasets.first() else {
        let message = format!("net `{}` names no data set of its own; choose one by --dataset", net.name);
        return Err(Error::config(message));
    };
    derived.push(Derived::replaces(HostOptions::dataset().name(), own, format!("the data set of {}", net.name)));
    let found = registry.find(PluginKind::Dataset, own);
    let found = found.map_err(|error| error.context(format!("net `{}` needs the data set `{own}`", net.name)))?;
    Ok(found.declaration.clone())
}

/// The stand-in for a data set that is missing, and what must be said of it.
fn stand_in(
    registry: &Registry,
    layers: &Layers,
    mut selection: Selection,
    missing: &Error,
) -> Result<(Selection, Arc<dyn Dataset>, String)> {
    let real = selection.dataset.name.clone();
    let Some(other) = of_kind(registry, PluginKind::Dataset).find(|dataset| dataset.is_for(&real)) else {
        return Err(missing.clone());
    };
    selection.derived.retain(|derived| derived.key != HostOptions::dataset().name());
    let reason = format!("{real} is not found");
    selection.derived.push(Derived::replaces(HostOptions::dataset().name(), &other.name, &reason));
    selection.derived.push(Derived::replaces(HostOptions::stand_in_for().name(), &real, &reason));
    selection.dataset = other.clone();
    let settings = selection.settings(layers)?;
    let dataset = registry.dataset(&other.name, &settings)?;
    let warning = format!(
        "all figures of this run come from the stand-in `{}`, made-up images, not from {real}: {missing}",
        other.name
    );
    Ok((selection, dataset, warning))
}

impl Selection {
    /// The settings of this selection, with what the program chose where nobody else did.
    ///
    /// # Errors
    /// A setting that is unknown, wrong, or of a plugin that is not selected.
    pub fn settings(&self, layers: &Layers) -> Result<Settings> {
        self.settings_with(layers, &[])
    }

    /// As [`Selection::settings`], with the options of further plugins.
    ///
    /// # Errors
    /// As there.
    pub fn settings_with(&self, layers: &Layers, further: &[&Declaration]) -> Result<Settings> {
        let mut declarations: Vec<&Declaration> = vec![&self.learner, &self.net, &self.dataset];
        declarations.extend(&self.agents);
        for declaration in further {
            let known = |other: &&Declaration| (other.kind, &other.name) == (declaration.kind, &declaration.name);
            if !declarations.iter().any(known) {
                declarations.push(declaration);
            }
        }
        let mut settings = layers.resolve(&declarations)?;
        for derived in &self.derived {
            derived.apply(&mut settings);
        }
        Ok(settings)
    }

    /// The declaration of a key among the options of this selection and `further` ones of the host,
    /// with its owner.
    pub fn spec<'a>(&'a self, host: &'a [OptionSpec], key: &str) -> Option<(&'a OptionSpec, Option<PluginKind>)> {
        let key = names::canonical(key);
        let named = |spec: &&OptionSpec| spec.key == key || spec.aliases.contains(&key);
        let plugins = [&self.learner, &self.net, &self.dataset].into_iter().chain(&self.agents);
        let mut of_plugins = plugins.filter_map(|plugin| Some((plugin.options.iter().find(named)?, Some(plugin.kind))));
        of_plugins.next().or_else(|| host.iter().find(named).map(|spec| (spec, None)))
    }

    /// The options of the net that are not as it declares them, as flags.
    pub fn net_flags(&self, settings: &Settings) -> Vec<String> {
        let changed = self.net.options.iter().filter_map(|spec| {
            let value = settings.entry(&spec.key)?.value.as_ref()?;
            (spec.default.as_ref() != Some(value)).then(|| format!("--{}={value}", spec.flag()))
        });
        changed.collect()
    }

    /// The options of all plugins that may work in the run, each once.
    pub fn options(&self) -> impl Iterator<Item = &OptionSpec> {
        let plugins = [&self.learner, &self.net, &self.dataset].into_iter().chain(&self.agents);
        let mut seen = std::collections::BTreeSet::new();
        plugins.flat_map(|plugin| &plugin.options).filter(move |spec| seen.insert(spec.key.as_str()))
    }

    /// Whether the learner, or an agent, writes the file of this option of the host.
    pub fn writes(&self, key: &str) -> bool {
        std::iter::once(&self.learner).chain(&self.agents).any(|plugin| plugin.writes.iter().any(|own| own == key))
    }

    /// Whether the images come from files, and are not made up.
    pub fn has_files(&self) -> bool {
        self.dataset.datasets.is_empty()
    }

    /// The plugin of the net; `None` where none has it, and only the graph in a model's file is
    /// known.
    ///
    /// # Errors
    /// Its library cannot be loaded; what it says to the settings.
    pub fn net_plugin(&self, registry: &Registry, settings: &Settings) -> Result<Option<Box<dyn Net>>> {
        match self.lacks_net_plugin(registry) {
            true => Ok(None),
            false => registry.net(&self.net.name, settings).map(Some),
        }
    }

    /// Whether no plugin has the net.
    pub fn lacks_net_plugin(&self, registry: &Registry) -> bool {
        is_missing(registry, &self.net.name)
    }

    /// Leads the path of an option elsewhere.
    pub fn lead(&mut self, key: &str, path: &Path, reason: &str) {
        let (key, value) = (key.to_owned().into(), path.display().to_string().into());
        self.derived.push(Derived { key, value, reason: reason.into(), over: Over::Written });
    }

    /// Keeps the number of workers where others than the user say it.
    pub fn set_workers(&mut self, count: u32, reason: &str) {
        let (key, value) = (HostOptions::n().name().into(), i64::from(count).into());
        self.derived.push(Derived { key, value, reason: reason.into(), over: Over::Written });
    }

    /// Keeps the choice of the run's folder.
    pub fn set_run_dir(&mut self, path: &Path, reason: &str) {
        self.derived.push(Derived::replaces(HostOptions::run_dir().name(), &path.display().to_string(), reason));
    }

    /// Says where a data set is looked for. A stand-in is made, not found.
    fn with_data_dir(mut self) -> Self {
        if self.has_files() {
            let place = format!("./data/{}", self.dataset.name);
            let reason = format!("where {} is looked for", self.dataset.name);
            self.derived.push(Derived::fills(HostOptions::data_dir().name(), place, reason));
        }
        self
    }
}

/// Whether a model is of a net that no plugin has. The name becomes a part of the run's folder, so
/// it must be one that a plugin could have.
fn is_missing(registry: &Registry, net: &str) -> bool {
    let is_name = !net.is_empty() && net.chars().all(|each| each.is_ascii_alphanumeric() || "-_".contains(each));
    is_name && registry.find(PluginKind::Net, net).is_err()
}

/// The plugin that a key names, else that of the saved model, else the key's default.
fn plugin(
    registry: &Registry,
    layers: &Layers,
    kind: PluginKind,
    key: &'static str,
    saved: Option<(&str, &str)>,
    derived: &mut Vec<Derived>,
) -> Result<Declaration> {
    if let Some((name, reason)) = saved
        && !name.is_empty()
        && !is_chosen(layers, key)?
    {
        let found = registry.find(kind, name).map_err(|error| {
            error.context(format!("cannot evaluate the model: {reason}; choose another {kind} by --{key}"))
        })?;
        derived.push(Derived::replaces(key, &found.declaration.name, reason));
        return Ok(found.declaration.clone());
    }
    let Some((name, origin)) = layers.chosen(key)? else {
        let names: Vec<&str> = of_kind(registry, kind).map(|declaration| declaration.name.as_str()).collect();
        let names =
            if names.is_empty() { "none is installed".to_owned() } else { format!("there are {}", names.join(", ")) };
        return Err(Error::config(format!("no {kind} is chosen; give one by --{key} ({names})")));
    };
    canonical(registry, kind, key, (&name, &origin), derived)
}

/// Finds a plugin; where `name` is an alias, settings and files get the name itself.
fn canonical(
    registry: &Registry,
    kind: PluginKind,
    key: &'static str,
    (name, origin): (&str, &Origin),
    derived: &mut Vec<Derived>,
) -> Result<Declaration> {
    let found = registry.find(kind, name).map_err(|error| Error::new(error.kind(), format!("{origin}: {error}")))?;
    let declaration = found.declaration.clone();
    if declaration.name != name {
        derived.push(Derived::replaces(key, &declaration.name, format!("`{name}` is another name for it")));
    }
    Ok(declaration)
}

fn of_kind(registry: &Registry, kind: PluginKind) -> impl Iterator<Item = &Declaration> {
    registry.entries().iter().map(|entry| &entry.declaration).filter(move |declaration| declaration.kind == kind)
}

/// Whether somebody chose the value of an option of the host.
///
/// # Errors
/// The value is not of the option's type.
pub fn is_chosen(layers: &Layers, key: &str) -> Result<bool> {
    Ok(layers.chosen(key)?.is_some_and(|(_, origin)| !matches!(origin, Origin::Default { .. })))
}
