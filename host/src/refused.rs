//! A plugin that was found and is not usable: whoever asks for it, or for one of its options, is
//! told why it is missing.

use pocketflow::names::{same, shown_text};
use pocketflow::plugin::{Declaration, PluginKind};

/// What is known of a plugin that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub kind: PluginKind,
    /// Its name, then its aliases.
    pub names: Vec<String>,
    /// The keys of its options with their aliases; none where it could not tell them.
    pub keys: Vec<String>,
    pub reason: String,
}

impl Refused {
    pub fn new(declaration: &Declaration, reason: &str) -> Self {
        let names = std::iter::once(&declaration.name).chain(&declaration.aliases).cloned();
        let keys = declaration.options.iter().flat_map(|spec| std::iter::once(&spec.key).chain(&spec.aliases)).cloned();
        Self { kind: declaration.kind, names: names.collect(), keys: keys.collect(), reason: reason.into() }
    }

    fn is_called(&self, kind: PluginKind, name: &str) -> bool {
        self.kind == kind && self.names.iter().any(|own| same(own, name))
    }

    fn has_key(&self, key: &str) -> bool {
        self.keys.iter().any(|own| same(own, key))
    }
}

/// Why the plugin of that name is missing, as a part of a message; `None` where none of that name
/// was refused.
pub fn why_missing(refused: &[Refused], kind: PluginKind, name: &str) -> Option<String> {
    let plugin = refused.iter().find(|plugin| plugin.is_called(kind, name))?;
    Some(format!("a {kind} of this name was found and is not usable: {}", shown_text(&plugin.reason)))
}

/// Why an option is missing, as a part of a message; `None` where no refused plugin has such an
/// option.
pub fn why_unknown(refused: &[Refused], key: &str) -> Option<String> {
    let plugin = refused.iter().find(|plugin| plugin.has_key(key))?;
    let (kind, name) = (plugin.kind, plugin.names.first().map(String::as_str).unwrap_or_default());
    Some(format!("{kind} `{name}` has such an option, and it is not usable: {}", shown_text(&plugin.reason)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::sample;

    #[test]
    fn plugins_and_options_that_are_missing_for_a_reason() {
        let uniform = sample::declarations().into_iter().find(|each| each.name == "uniform").unwrap();
        let refused = [Refused::new(&uniform, "its option `x` is taken")];
        assert_eq!(
            why_missing(&refused, PluginKind::Learner, "uniform").unwrap(),
            "a learner of this name was found and is not usable: its option `x` is taken"
        );
        assert_eq!(why_missing(&refused, PluginKind::Net, "uniform"), None);
        assert_eq!(
            why_unknown(&refused, "--uql-quant-epochs").unwrap(),
            "learner `uniform` has such an option, and it is not usable: its option `x` is taken"
        );
        assert_eq!(why_unknown(&refused, "seed"), None);
    }
}
