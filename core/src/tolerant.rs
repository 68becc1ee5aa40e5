//! Reads data that a newer version wrote: what this version does not know is named or left out
//! where that does no harm, instead of refusing everything around it. The policy is in
//! `abi::wire`.

use crate::option::Value;
use crate::settings::{Origin, Setting};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

/// A value, or what stands in its place.
#[derive(Deserialize)]
#[serde(untagged)]
pub enum Loosely<T> {
    Known(T),
    /// A variant without data, by its name.
    Variant(String),
    /// A variant with data.
    Data(BTreeMap<String, IgnoredAny>),
    Other(IgnoredAny),
}

impl<T> Loosely<T> {
    /// The value, or the name of what stands there.
    pub fn known(self) -> Result<T, String> {
        match self {
            Self::Known(value) => Ok(value),
            Self::Variant(name) => Err(name),
            Self::Data(data) => Err(data.into_keys().next().unwrap_or_default()),
            Self::Other(_) => Err(String::new()),
        }
    }
}

impl<T: Default> Default for Loosely<T> {
    fn default() -> Self {
        Self::Known(T::default())
    }
}

/// The settings that can be read. Whoever asks for another hears that nobody declares it; the
/// settings of other plugins are no reason to stop.
pub fn entries<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, Setting>, D::Error> {
    let entries: BTreeMap<String, Loosely<Setting>> = Deserialize::deserialize(from)?;
    let known = |(key, setting): (String, Loosely<Setting>)| match setting.known() {
        Ok(setting) => Some((key, setting)),
        Err(_) => {
            tracing::debug!("the setting `{key}` is in a form that this version does not know; it is left out");
            None
        }
    };
    Ok(entries.into_iter().filter_map(known).collect())
}

/// An origin is for messages: one that is not known is kept as text.
pub fn origin<'de, D: Deserializer<'de>>(from: D) -> Result<Origin, D::Error> {
    Loosely::deserialize(from).map(named)
}

/// What earlier layers said, as far as it can be read.
pub fn overrode<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(Option<Value>, Origin)>, D::Error> {
    let layers: Vec<Loosely<(Option<Value>, Loosely<Origin>)>> = Deserialize::deserialize(from)?;
    Ok(layers
        .into_iter()
        .filter_map(|layer| layer.known().ok())
        .map(|(value, origin)| (value, named(origin)))
        .collect())
}

fn named(origin: Loosely<Origin>) -> Origin {
    origin
        .known()
        .unwrap_or_else(|name| Origin::Derived { reason: format!("from `{name}`, which a newer version knows") })
}

/// For an [`Origin`] that is missing.
pub fn no_origin() -> Origin {
    Origin::Derived { reason: "the program does not say why".into() }
}

/// The messages of an error: at least one.
pub fn messages<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let messages = Vec::deserialize(from)?;
    Ok(if messages.is_empty() { no_message() } else { messages })
}

/// For an error whose messages are missing.
pub fn no_message() -> Vec<String> {
    vec!["it failed without a message".into()]
}
