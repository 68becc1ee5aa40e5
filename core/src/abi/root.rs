//! What a plugin library exports: a table of functions over the plugins that are linked into it.

use super::declared::Declared;
use super::guard::Owner;
use super::log::{Forward, LogSink};
use super::wire::{Bytes, Outcome, outward, pack, unpack};
use super::{agent, dataset, learner, net};
use crate::error::{Error, Result};
use crate::plugin::{Maker, PluginKind, Registration, linked};
use crate::settings::Settings;
use abi_stable::StableAbi;
use abi_stable::library::{CheckTypeLayout, LibHeader, RootModule, RootModuleResult};
use abi_stable::prefix_type::PrefixTypeTrait;
use abi_stable::sabi_types::VersionStrings;
use abi_stable::std_types::{RSlice, RStr};
use std::collections::HashMap;

#[cfg(test)]
mod layout;

/// The functions. New ones go to the end, after the marked field: a library that has more of them
/// than the host still loads. One that has fewer does not, as `abi_stable` refuses it: with a new
/// function, [`INTERFACE`](super::INTERFACE) and [`OLDEST_INTERFACE`](super::OLDEST_INTERFACE) are
/// raised, so that people read a sentence and not a comparison of layouts. A test sees to it.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = RootRef, prefix_fields = RootPrefix)))]
#[sabi(missing_field(panic))]
pub struct Root {
    /// Called once, first.
    pub start: extern "C" fn(LogSink) -> Outcome<()>,
    /// A `Vec<Declared>`.
    pub declarations: extern "C" fn() -> Outcome<Bytes>,
    /// Makers: a plugin's name and [`Settings`].
    pub learner: extern "C" fn(RStr<'_>, RSlice<'_, u8>) -> Outcome<learner::LearnerBox>,
    pub net: extern "C" fn(RStr<'_>, RSlice<'_, u8>) -> Outcome<net::NetBox>,
    pub dataset: extern "C" fn(RStr<'_>, RSlice<'_, u8>) -> Outcome<dataset::DatasetBox>,
    #[sabi(last_prefix_field)]
    pub agent: extern "C" fn(RStr<'_>, RSlice<'_, u8>) -> Outcome<agent::AgentBox>,
    /// A net's name and names and shapes of weights; gives keys and values of its options.
    #[sabi(missing_field(option))]
    pub recognise: extern "C" fn(RStr<'_>, RSlice<'_, u8>) -> Outcome<Bytes>,
    /// A data set's name and settings; gives a `DatasetInfo`.
    #[sabi(missing_field(option))]
    pub describe: extern "C" fn(RStr<'_>, RSlice<'_, u8>) -> Outcome<Bytes>,
    /// As `describe`; gives a `CheckReport`.
    #[sabi(missing_field(option))]
    pub check: extern "C" fn(RStr<'_>, RSlice<'_, u8>, dataset::ProgressBox) -> Outcome<Bytes>,
}

impl RootModule for RootRef {
    abi_stable::declare_root_module_statics! {RootRef}
    const BASE_NAME: &'static str = "pocketflow_plugin";
    const NAME: &'static str = "PocketFlow plugin";
    // The handshake compares versions; this one never changes.
    const VERSION_STRINGS: VersionStrings = VersionStrings::new("1.0.0");
}

/// What [`crate::export!`] exports.
pub type LibraryHeader = LibHeader;

/// For [`crate::export!`].
pub const fn header() -> LibraryHeader {
    // SAFETY: `construct` gives a `RootRef`.
    unsafe { LibHeader::from_constructor::<RootRef>(construct, CheckTypeLayout::Yes) }
}

extern "C" fn construct() -> RootModuleResult {
    abi_stable::library::__call_root_module_loader(root)
}

/// The table over what is linked into this library or program.
pub fn root() -> RootRef {
    Root { start, declarations, learner, net, dataset, agent, recognise, describe, check }.leak_into_prefix()
}

extern "C" fn start(sink: LogSink) -> Outcome<()> {
    let mut names: HashMap<&str, &str> = HashMap::new();
    for plugin in linked() {
        let root = plugin.module.split("::").next().unwrap_or(plugin.module);
        // Several plugins of one crate go by the crate's name.
        let own = root.strip_prefix("pocketflow_").unwrap_or(root);
        names
            .entry(root)
            .and_modify(|name| *name = if *name == plugin.name { name } else { own })
            .or_insert(plugin.name);
    }
    let library = names.values().copied().min().unwrap_or("plugin");
    let forward = Forward { sink, names, library };
    // Refused when called again, by a program that loads this library twice.
    let _ = tracing::subscriber::set_global_default(forward);
    outward(Ok(()))
}

extern "C" fn declarations() -> Outcome<Bytes> {
    let mut plugins: Vec<&Registration> = linked().collect();
    // `inventory` promises no order.
    plugins.sort_by_key(|plugin| (plugin.kind, plugin.name));
    let declare = |plugin: &Registration| Declared {
        kind: plugin.kind.to_string(),
        name: plugin.name.to_owned(),
        result: Owner::plugin(plugin.name).guard("options", || Ok((plugin.declare)())),
    };
    let declared: Vec<Declared> = plugins.into_iter().map(declare).collect();
    outward(pack("declarations", &declared))
}

/// Finds a plugin, makes one, wraps it. `pick` gives nothing for a maker of another kind.
fn configure<T: ?Sized, O>(
    kind: PluginKind,
    name: RStr<'_>,
    settings: RSlice<'_, u8>,
    pick: fn(Maker, &Settings) -> Option<Result<Box<T>>>,
    provide: fn(Owner, Box<T>) -> O,
) -> Outcome<O> {
    let name = name.as_str();
    let owner = Owner::plugin(name);
    outward(owner.guard("configure", || {
        let settings = unpack("settings", &settings)?;
        let plugin = linked().find(|plugin| plugin.kind == kind && plugin.name == name);
        let made = plugin.and_then(|plugin| pick(plugin.maker, &settings));
        let made = made.ok_or_else(|| Error::failed(format!("the library has no {kind} `{name}`")))??;
        Ok(provide(owner.clone(), made))
    }))
}

extern "C" fn learner(name: RStr<'_>, settings: RSlice<'_, u8>) -> Outcome<learner::LearnerBox> {
    let pick = |maker, settings: &Settings| match maker {
        Maker::Learner(make) => Some(make(settings)),
        _ => None,
    };
    configure(PluginKind::Learner, name, settings, pick, learner::provide)
}

extern "C" fn net(name: RStr<'_>, settings: RSlice<'_, u8>) -> Outcome<net::NetBox> {
    let pick = |maker, settings: &Settings| match maker {
        Maker::Net { make, .. } => Some(make(settings)),
        _ => None,
    };
    configure(PluginKind::Net, name, settings, pick, net::provide)
}

extern "C" fn dataset(name: RStr<'_>, settings: RSlice<'_, u8>) -> Outcome<dataset::DatasetBox> {
    let pick = |maker, settings: &Settings| match maker {
        Maker::Dataset { make, .. } => Some(make(settings)),
        _ => None,
    };
    configure(PluginKind::Dataset, name, settings, pick, dataset::provide)
}

extern "C" fn agent(name: RStr<'_>, settings: RSlice<'_, u8>) -> Outcome<agent::AgentBox> {
    let pick = |maker, settings: &Settings| match maker {
        Maker::Agent(make) => Some(make(settings)),
        _ => None,
    };
    configure(PluginKind::Agent, name, settings, pick, agent::provide)
}

/// Finds a plugin and asks its type, not an instance. `ask` gives nothing for a maker of another
/// kind.
fn asked(
    kind: PluginKind,
    name: RStr<'_>,
    function: &str,
    ask: impl FnOnce(Maker) -> Option<Result<Bytes>>,
) -> Outcome<Bytes> {
    let name = name.as_str();
    outward(Owner::plugin(name).guard(function, || {
        let plugin = linked().find(|plugin| plugin.kind == kind && plugin.name == name);
        let answer = plugin.and_then(|plugin| ask(plugin.maker));
        answer.unwrap_or_else(|| Err(Error::failed(format!("the library has no {kind} `{name}`"))))
    }))
}

extern "C" fn recognise(name: RStr<'_>, weights: RSlice<'_, u8>) -> Outcome<Bytes> {
    asked(PluginKind::Net, name, "recognise", |maker| match maker {
        Maker::Net { recognise, .. } => {
            let weights: Result<Vec<(String, Vec<usize>)>> = unpack("names of weights", &weights);
            Some(weights.and_then(|weights| pack("options", &recognise(&weights))))
        }
        _ => None,
    })
}

extern "C" fn describe(name: RStr<'_>, settings: RSlice<'_, u8>) -> Outcome<Bytes> {
    asked(PluginKind::Dataset, name, "describe", |maker| match maker {
        Maker::Dataset { describe, .. } => {
            let info = unpack("settings", &settings).and_then(|settings| describe(&settings));
            Some(info.and_then(|info| pack("a data set's description", &info)))
        }
        _ => None,
    })
}

extern "C" fn check(name: RStr<'_>, settings: RSlice<'_, u8>, progress: dataset::ProgressBox) -> Outcome<Bytes> {
    asked(PluginKind::Dataset, name, "check", |maker| match maker {
        Maker::Dataset { check, .. } => {
            let report = unpack("settings", &settings)
                .and_then(|settings| check(&settings, &|done, total| progress.advance(done, total)));
            Some(report.and_then(|report| pack("a report", &report)))
        }
        _ => None,
    })
}
