//! Resolved settings: every value with where it came from and what it overrode. Built by the host,
//! read by plugins.

use crate::error::{Error, Result};
use crate::option::{FromValue, Key, Value};
use crate::tolerant;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Origin {
    /// The default that the option's owner declared.
    Default {
        /// The plugin's name, or `host`.
        owner: String,
    },
    /// A line of a configuration file; lines count from 1.
    File {
        /// The file, as it was named.
        path: PathBuf,
        /// `None`: the format of the file does not tell lines.
        line: Option<usize>,
    },
    /// An environment variable.
    Variable {
        /// Its whole name: `POCKETFLOW_UQL_WEIGHT_BITS`.
        name: String,
    },
    /// A flag of the command line.
    Flag {
        /// As the person wrote it, with its dashes.
        name: String,
    },
    /// The program chose it, for the reason given (as `auto` values are).
    Derived {
        /// In words, for people.
        reason: String,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default { owner } => write!(f, "default of {owner}"),
            Self::File { path, line: Some(line) } => write!(f, "{}:{line}", path.display()),
            Self::File { path, line: None } => write!(f, "{}", path.display()),
            Self::Variable { name } => write!(f, "variable {name}"),
            Self::Flag { name } => write!(f, "flag {name}"),
            Self::Derived { reason } => write!(f, "derived: {reason}"),
        }
    }
}

/// One resolved value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// `None`: unset, and the option has no default.
    pub value: Option<Value>,
    /// Where `value` comes from.
    #[serde(default = "tolerant::no_origin", deserialize_with = "tolerant::origin")]
    pub origin: Origin,
    /// What earlier layers said, the nearest first.
    #[serde(default, deserialize_with = "tolerant::overrode")]
    pub overrode: Vec<(Option<Value>, Origin)>,
    /// The plugin (or `host`) that declared the option.
    #[serde(default)]
    pub owner: String,
}

/// All settings of a run, by key.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    #[serde(deserialize_with = "tolerant::entries")]
    entries: BTreeMap<String, Setting>,
}

impl Settings {
    /// Sets the value of a key, in place of what is there.
    pub fn insert(&mut self, key: impl Into<String>, setting: Setting) {
        self.entries.insert(key.into(), setting);
    }

    /// Replaces the value of a key, remembering what it replaces; `owner` stays, or is `host` for a
    /// new key.
    pub fn derive(&mut self, key: &str, value: impl Into<Value>, reason: &str) {
        let origin = Origin::Derived { reason: reason.into() };
        let (owner, overrode) = match self.entries.remove(key) {
            Some(old) => {
                let mut overrode = old.overrode;
                overrode.insert(0, (old.value, old.origin));
                (old.owner, overrode)
            }
            None => ("host".into(), Vec::new()),
        };
        self.insert(key, Setting { value: Some(value.into()), origin, overrode, owner });
    }

    /// What is known of a key; `None`: nobody declared it.
    pub fn entry(&self, key: &str) -> Option<&Setting> {
        self.entries.get(key)
    }

    /// All settings by key, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Setting)> {
        self.entries.iter().map(|(key, setting)| (key.as_str(), setting))
    }

    /// The value of an option, read as the type of its key.
    ///
    /// # Errors
    /// The key is not declared, is unset, or holds another type: each a mistake of the plugin that
    /// asks or of the setting's source, and says so. An `Option` is `None` in the first two cases.
    pub fn get<T: FromValue>(&self, key: Key<T>) -> Result<T> {
        let key = key.name();
        match (self.entry(key), T::unset()) {
            (Some(setting @ Setting { value: Some(value), .. }), _) => T::from_value(value).ok_or_else(|| {
                let wanted = std::any::type_name::<T>();
                Error::config(format!("`{key}` = {value} ({}): cannot be read as {wanted}", setting.origin))
            }),
            (_, Some(unset)) => Ok(unset),
            (Some(_), None) => {
                Err(Error::config(format!("`{key}` is needed and not set; give it as --{}", key.replace('_', "-"))))
            }
            (None, None) => Err(Error::config(format!("no selected plugin declares the option `{key}`"))),
        }
    }

    /// An error about the value of `key`, naming its origin; for checks across several keys.
    pub fn invalid(&self, key: &str, problem: &str) -> Error {
        match self.entry(key) {
            Some(Setting { value: Some(value), origin, .. }) => {
                Error::config(format!("`{key}` = {value} ({origin}): {problem}"))
            }
            _ => Error::config(format!("`{key}`: {problem}")),
        }
    }
}

impl Settings {
    /// Settings from the defaults of option lists, for tests and for programs that embed plugins
    /// without the host.
    pub fn defaults<'a>(owned: impl IntoIterator<Item = (&'a str, Vec<crate::option::OptionSpec>)>) -> Self {
        let mut settings = Self::default();
        for (owner, specs) in owned {
            for spec in specs {
                let origin = Origin::Default { owner: owner.into() };
                let setting = Setting { value: spec.default, origin, overrode: Vec::new(), owner: owner.into() };
                settings.insert(spec.key, setting);
            }
        }
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::option::OptionSpec;

    fn settings() -> Settings {
        Settings::defaults([(
            "toy",
            vec![OptionSpec::int("toy_bits", 4, 1..=32, "bits"), OptionSpec::path("toy_plan", "", "plan").optional()],
        )])
    }

    #[test]
    fn reads_and_explains() {
        let settings = settings();
        assert_eq!(settings.get(Key::<u8>::new("toy_bits")).unwrap(), 4);
        assert_eq!(settings.get(Key::<Option<PathBuf>>::new("toy_plan")).unwrap(), None);
        let refused = settings.get(Key::<PathBuf>::new("toy_plan")).unwrap_err().to_string();
        assert!(refused.contains("--toy-plan"), "{refused}");
        let message = settings.get(Key::<String>::new("toy_bits")).unwrap_err().to_string();
        assert!(message.contains("default of toy"), "{message}");
        let nothing = Key::<u8>::new("nothing");
        assert!(settings.get(nothing).unwrap_err().to_string().contains("`nothing`"));
        assert_eq!(settings.get(nothing.optional()).unwrap(), None);
    }

    #[test]
    fn a_derived_value_remembers_what_it_replaced() {
        let mut settings = settings();
        settings.derive("toy_bits", Value::Int(8), "the plan says so");
        let setting = settings.entry("toy_bits").unwrap();
        assert_eq!(setting.owner, "toy");
        assert_eq!(setting.overrode[0].0, Some(Value::Int(4)));
    }
}
