//! All options there are, of the host and of every plugin, by key: what a key may be, who owns it,
//! what was meant by one that does not exist.
//!
//! Plugins of one kind may own options of one name (every net has its `nb_epochs_rat`), as only one
//! of them is selected.

use super::leaf::Raw;
use crate::options::OWNER;
use crate::refused::{Refused, why_unknown};
use pocketflow::names;
use pocketflow::option::{OptionSpec, Value};
use pocketflow::plugin::{Declaration, PluginKind};
use std::collections::BTreeMap;
use std::fmt;

/// Who declared an option.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// `None`: the host.
    pub kind: Option<PluginKind>,
    pub name: String,
}

impl Owner {
    pub fn of(declaration: &Declaration) -> Self {
        Self { kind: Some(declaration.kind), name: declaration.name.clone() }
    }

    pub fn host() -> Self {
        Self { kind: None, name: OWNER.into() }
    }

    /// The flag that selects it: `--learner=uniform`. Agents are chosen by the learner that uses
    /// them.
    pub fn selector(&self) -> Option<String> {
        match self.kind {
            Some(PluginKind::Agent) | None => None,
            Some(kind) => Some(format!("--{kind}={}", self.name)),
        }
    }
}

impl fmt::Display for Owner {
    /// `host`, or `learner uniform`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Some(kind) => write!(f, "{kind} {}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// An option with its owner.
#[derive(Debug, Clone, PartialEq)]
pub struct Owned {
    pub owner: Owner,
    pub spec: OptionSpec,
}

/// All options by key.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    /// Never an empty list.
    keys: BTreeMap<String, Vec<Owned>>,
    aliases: BTreeMap<String, String>,
    /// Plugins whose options are missing here.
    refused: Vec<Refused>,
}

impl Catalogue {
    pub fn new(host_options: &[OptionSpec], declarations: &[Declaration]) -> Self {
        let mut made = Self::default();
        made.extend(&Owner::host(), host_options);
        for declaration in declarations {
            made.extend(&Owner::of(declaration), &declaration.options);
        }
        made
    }

    /// The same, with the plugins that were found and are not usable, for messages.
    #[must_use]
    pub fn with_refused(mut self, refused: Vec<Refused>) -> Self {
        self.refused = refused;
        self
    }

    /// The plugins that were found and are not usable.
    pub fn refused(&self) -> &[Refused] {
        &self.refused
    }

    fn extend(&mut self, owner: &Owner, specs: &[OptionSpec]) {
        for spec in specs {
            for alias in &spec.aliases {
                self.aliases.entry(alias.clone()).or_insert_with(|| spec.key.clone());
            }
            let owned = Owned { owner: owner.clone(), spec: spec.clone() };
            self.keys.entry(spec.key.clone()).or_default().push(owned);
        }
    }

    /// The key that `written` (a key or an alias) means, and the options of that key.
    pub fn find(&self, written: &str) -> Option<(&str, &[Owned])> {
        let entry = self.keys.get_key_value(written);
        let entry = entry.or_else(|| self.aliases.get(written).and_then(|key| self.keys.get_key_value(key)));
        entry.map(|(key, owned)| (key.as_str(), owned.as_slice()))
    }

    /// Keys with their options, in the order of the alphabet.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[Owned])> {
        self.keys.iter().map(|(key, owned)| (key.as_str(), owned.as_slice()))
    }

    /// All that [`Catalogue::find`] understands.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().chain(self.aliases.keys()).map(String::as_str)
    }

    /// The key or alias most like `written`.
    pub fn nearest(&self, written: &str) -> Option<&str> {
        names::nearest(written, self.names())
    }

    /// An unknown key, as an error says it.
    pub fn unknown(&self, written: &str) -> String {
        let shown = names::shown(written);
        if let Some(why) = why_unknown(&self.refused, written) {
            return format!("unknown key `{shown}`: {why}");
        }
        match self.nearest(written) {
            Some(near) => format!("unknown key `{shown}`; did you mean `{near}`?"),
            None => format!("unknown key `{shown}`; `host config show` lists the keys there are"),
        }
    }

    /// What is wrong with a value, where no owner of its key would take it. A plugin that is not
    /// selected needs no value, but a file that holds a wrong one for it is wrong all the same.
    pub fn refuse(key: &str, raw: &Raw, owners: &[Owned]) -> Option<String> {
        let mut first = None;
        for owned in owners {
            match raw.read(&owned.spec.kind) {
                Ok(_) => return None,
                Err(reason) => first.get_or_insert((owned, reason)),
            };
        }
        first.map(|(owned, reason)| wrong(key, raw, &owned.owner, &reason))
    }
}

/// A value that its option does not take, as an error says it.
pub(crate) fn wrong(key: &str, raw: &Raw, owner: &Owner, reason: &str) -> String {
    let shown: String = raw.shown().chars().take(80).collect();
    match owner.kind {
        Some(_) => format!("`{key}` = {shown} (option of {owner}): {reason}"),
        None => format!("`{key}` = {shown}: {reason}"),
    }
}

/// A value as a person writes it in a table or a help text; unset is said.
pub fn shown(value: Option<&Value>) -> String {
    match value {
        None => "(unset)".into(),
        Some(Value::Text(text)) if text.is_empty() => "\"\"".into(),
        Some(Value::Bool(true)) => "True".into(),
        Some(Value::Bool(false)) => "False".into(),
        Some(value) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::sample;

    #[test]
    fn aliases_lead_to_keys_and_typing_errors_to_the_nearest() {
        let catalogue = sample::catalogue();
        assert_eq!(catalogue.find("uql_quant_epochs").unwrap().0, "uql_quant_epoch");
        assert!(catalogue.find("uql-quant-epoch").is_none());
        assert_eq!(catalogue.nearest("uql_weight_bit"), Some("uql_weight_bits"));
        assert_eq!(catalogue.nearest("Uql-Weight-Bits"), Some("uql_weight_bits"));
        assert_eq!(catalogue.nearest("weight_bits"), Some("uql_weight_bits"));
        assert_eq!(catalogue.nearest("zzzzzzzzzzzz"), None);
        assert_eq!(catalogue.nearest(&"x".repeat(100_000)), None);
        assert!(catalogue.unknown("zzzzzzzzzzzz").contains("config show"));
    }

    #[test]
    fn a_value_is_refused_only_where_no_owner_takes_it() {
        let catalogue = sample::catalogue();
        let (key, owners) = catalogue.find("resnet_size").unwrap();
        assert_eq!(owners.len(), 2);
        assert_eq!(Catalogue::refuse(key, &Raw::Int(152), owners), None);
        assert_eq!(
            Catalogue::refuse(key, &Raw::Int(7), owners).unwrap(),
            "`resnet_size` = 7 (option of net resnet_at_cifar10): 7 is out of range: a whole number from 8 to 110"
        );
    }

    #[test]
    fn owners_say_how_to_select_them() {
        let kinds = [PluginKind::Learner, PluginKind::Net, PluginKind::Dataset, PluginKind::Agent];
        let said: Vec<_> = kinds
            .iter()
            .map(|kind| Owner { kind: Some(*kind), name: "x".into() }.selector().unwrap_or_default())
            .collect();
        assert_eq!(said, ["--learner=x", "--net=x", "--dataset=x", ""]);
    }
}
