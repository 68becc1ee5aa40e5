//! What a library says of its plugins, and how a host reads it that may be older than the library:
//! what the host does not know is left out and noted, the rest is used.

use super::wire::unpack;
use crate::error::{Error, Result};
use crate::names::shown;
use crate::option::{Kind, OptionSpec, PathUse, Value};
use crate::plugin::{Declaration, PluginKind};
use crate::tolerant::Loosely;
use serde::de::IntoDeserializer;
use serde::de::value::Error as Unread;
use serde::{Deserialize, Serialize};

/// One plugin of a library, as far as it could say what it is and this host could read it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Declared {
    /// A [`PluginKind`], or what a newer library has instead.
    pub kind: String,
    /// As the plugin registers it: `uniform`.
    pub name: String,
    /// The error: its `options()` panicked, or this host does not know such a plugin.
    pub result: Result<Declaration, Error>,
}

/// The declarations that a library packed.
///
/// # Errors
/// Bytes that are no list of declarations.
pub fn read(bytes: &[u8]) -> Result<Vec<Declared>> {
    let received: Vec<Received> = unpack("declarations", bytes)?;
    Ok(received.into_iter().map(Declared::from).collect())
}

/// A [`Declared`] as it arrives.
#[derive(Deserialize)]
struct Received {
    kind: String,
    name: String,
    result: Loosely<Result<Plugin, Error>>,
}

/// A [`Declaration`] as it arrives.
#[derive(Deserialize)]
struct Plugin {
    name: String,
    #[serde(default)]
    aliases: Vec<String>,
    #[serde(default)]
    about: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    options: Vec<Loosely<Spec>>,
    #[serde(default)]
    datasets: Vec<String>,
    #[serde(default)]
    writes: Vec<String>,
}

/// An [`OptionSpec`] as it arrives.
#[derive(Deserialize)]
struct Spec {
    key: String,
    #[serde(default)]
    aliases: Vec<String>,
    kind: Loosely<Kind>,
    #[serde(default)]
    default: Loosely<Option<Value>>,
    #[serde(default)]
    doc: String,
    #[serde(default)]
    path_use: Loosely<PathUse>,
}

impl From<Received> for Declared {
    fn from(Received { kind, name, result }: Received) -> Self {
        let known: Result<PluginKind, Unread> =
            PluginKind::deserialize(IntoDeserializer::<Unread>::into_deserializer(kind.as_str()));
        let result = match (known, result) {
            (Err(_), _) => Err(Error::failed(format!(
                "this host knows no plugins of the kind `{}`: the library is newer; update the host to use it",
                shown(&kind)
            ))),
            (Ok(kind), Loosely::Known(result)) => result.map(|plugin| plugin.declaration(kind)),
            (Ok(_), _) => Err(Error::failed(
                "what it says of itself cannot be read: the library is newer than this host, or its plugin is wrong; \
                 update the host, or rebuild the library against the `pocketflow` of this host",
            )),
        };
        Self { kind, name, result }
    }
}

impl Plugin {
    fn declaration(self, kind: PluginKind) -> Declaration {
        let Self { name, aliases, about, version, options, datasets, writes } = self;
        let mut notes = Vec::new();
        let mut read = |option: Loosely<Spec>| match option {
            Loosely::Known(spec) => Some(spec.option(&mut notes)),
            _ => {
                notes.push("an option is left out: it has no form that this host can read".to_owned());
                None
            }
        };
        let options = options.into_iter().filter_map(&mut read).collect();
        Declaration { aliases, about, version, options, datasets, writes, notes, ..Declaration::new(kind, name) }
    }
}

impl Spec {
    /// The option, with a note for each part that is read as something else.
    fn option(self, notes: &mut Vec<String>) -> OptionSpec {
        let Self { key, aliases, kind, default, doc, path_use } = self;
        let mut note = |text: String| notes.push(format!("its option `{}` {text}", shown(&key)));
        let default = default.known().unwrap_or_else(|_| {
            note("has a default that this host cannot read, and is unset".into());
            None
        });
        let kind = kind.known().unwrap_or_else(|name| {
            let kind = stand_in(default.as_ref());
            note(format!("is of the type `{}`, which this host does not know; it takes {kind}", shown(&name)));
            kind
        });
        let path_use = path_use.known().unwrap_or_else(|name| {
            let name = shown(&name);
            note(format!("names a path of the use `{name}`, which this host does not know; the path is not checked"));
            PathUse::Read
        });
        OptionSpec { aliases, path_use, ..OptionSpec::new(&key, kind, default, &doc) }
    }
}

/// What an option of an unknown type takes: whatever is of its default's type. The plugin checks it
/// when it is configured.
fn stand_in(default: Option<&Value>) -> Kind {
    let (min, max) = (f64::NEG_INFINITY, f64::INFINITY);
    match default {
        Some(Value::Bool(_)) => Kind::Switch,
        Some(Value::Int(_)) => Kind::Int { min: i64::MIN, max: i64::MAX },
        Some(Value::Float(_)) => Kind::Float { min, max },
        Some(Value::Floats(_)) => Kind::Floats { min, max },
        Some(Value::Text(_)) | None => Kind::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::wire::pack;
    use serde_json::json;

    /// What is read of a plugin that a newer library describes so.
    fn received(plugin: serde_json::Value) -> Declared {
        read(&pack("declarations", &[plugin]).unwrap()).unwrap().remove(0)
    }

    fn with_options(options: serde_json::Value) -> Declaration {
        let plugin = json!({ "kind": "net", "name": "n", "options": options });
        received(json!({ "kind": "net", "name": "n", "result": { "Ok": plugin } })).result.unwrap()
    }

    #[test]
    fn a_plugin_of_an_unknown_kind_is_left_out_by_name() {
        let newer = received(json!({ "kind": "exporter", "name": "gguf", "result": { "Ok": { "writes": 7 } } }));
        assert_eq!((newer.kind.as_str(), newer.name.as_str()), ("exporter", "gguf"));
        let said = newer.result.unwrap_err().to_string();
        assert!(said.contains("`exporter`") && said.contains("update the host"), "{said}");
    }

    #[test]
    fn a_plugin_that_cannot_be_read_is_left_out() {
        for result in [json!({ "Ok": { "about": "nameless" } }), json!({ "Ok": 7 }), json!("Later"), json!(null)] {
            let said =
                received(json!({ "kind": "net", "name": "n", "result": result })).result.unwrap_err().to_string();
            assert!(said.contains("cannot be read"), "{said}");
        }
        let panicked = json!({ "Err": { "kind": "Failed", "chain": ["it panicked"] } });
        let said = received(json!({ "kind": "net", "name": "n", "result": panicked })).result.unwrap_err().to_string();
        assert_eq!(said, "it panicked");
    }

    #[test]
    fn what_is_missing_has_the_constructors_value() {
        assert_eq!(with_options(json!([])), Declaration::new(PluginKind::Net, "n"));
        let plain = with_options(json!([{ "key": "n_size", "kind": "Text" }]));
        assert_eq!(plain.options, [OptionSpec::new("n_size", Kind::Text, None, "")]);
        assert_eq!(plain.notes, [""; 0]);
    }

    #[test]
    fn an_option_of_an_unknown_type_takes_what_its_default_is() {
        let (min, max) = (f64::NEG_INFINITY, f64::INFINITY);
        let kinds = [
            (json!(true), Kind::Switch),
            (json!(7), Kind::Int { min: i64::MIN, max: i64::MAX }),
            (json!(0.5), Kind::Float { min, max }),
            (json!([0.5, 1.0]), Kind::Floats { min, max }),
            (json!("4 s"), Kind::Text),
            (json!(null), Kind::Text),
        ];
        for (default, want) in kinds {
            for kind in [json!("Duration"), json!({ "Duration": { "unit": "s" } })] {
                let read = with_options(json!([{ "key": "n_wait", "kind": kind, "default": default }]));
                assert_eq!(read.options[0].kind, want, "{default}");
                assert_eq!(read.check(), Ok(()), "the host can use it");
                let note = &read.notes[0];
                assert!(
                    note.contains("`n_wait` is of the type `Duration`") && note.contains(&want.to_string()),
                    "{note}"
                );
            }
        }
    }

    #[test]
    fn other_parts_of_an_option_that_are_unknown_are_noted() {
        let read = with_options(json!([
            { "key": "n_log", "kind": "Path", "path_use": { "appended": { "every": 5 } } },
            { "key": "n_map", "kind": "Text", "default": { "a": 1 } },
            { "name": "n_nothing" },
            { "key": "n_last", "kind": "Switch", "default": true },
        ]));
        let keys: Vec<&str> = read.options.iter().map(|spec| spec.key.as_str()).collect();
        assert_eq!(keys, ["n_log", "n_map", "n_last"]);
        assert_eq!((&read.options[0].path_use, &read.options[1].default), (&PathUse::Read, &None));
        let parts = ["`n_log` names a path of the use `appended`", "`n_map` has a default", "an option is left out"];
        assert_eq!(read.notes.len(), parts.len());
        for (note, part) in read.notes.iter().zip(parts) {
            assert!(note.contains(part), "{note}");
        }
    }
}
