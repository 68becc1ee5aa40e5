//! What a plugin may declare: legal names and keys, and texts short enough that every command that
//! shows them stays fast.
//!
//! The host asks this of each plugin that it finds; a plugin's own tests can ask it too.

use crate::names::{check_key, check_name, shown};
use crate::option::{Kind, OptionSpec, Value};
use crate::plugin::Declaration;

/// The most options of one plugin.
pub const MOST_OPTIONS: usize = 1_000;
/// The most choices of one option, and the most other keys that mean the same.
pub const MOST_CHOICES: usize = 1_000;
/// The longest description of an option, in characters.
pub const LONGEST_DOC: usize = 4_000;
/// The longest line that describes a plugin, in characters; the longest choice and version too.
pub const LONGEST_LINE: usize = 400;
/// All texts of one plugin together, in bytes.
pub const MOST_TEXT: usize = 256 * 1024;

impl OptionSpec {
    /// Whether the host can use the option: a legal key, texts within the limits of this module, a
    /// default that the option takes itself.
    ///
    /// # Errors
    /// What is wrong, as a text that names the key.
    pub fn check(&self) -> Result<(), String> {
        for key in std::iter::once(&self.key).chain(&self.aliases) {
            check_key(key)?;
        }
        let fail = |problem: String| Err(format!("its option `{}` {problem}", self.key));
        if self.aliases.len() > MOST_CHOICES {
            return fail(format!("has {} aliases; {MOST_CHOICES} are allowed", self.aliases.len()));
        }
        if let Err(problem) = text("a description", &self.doc, LONGEST_DOC, true) {
            return fail(problem);
        }
        if let Kind::Choice(choices) = &self.kind {
            if choices.len() > MOST_CHOICES {
                return fail(format!("has {} choices; {MOST_CHOICES} are allowed", choices.len()));
            }
            if let Some(problem) = choices.iter().find_map(|choice| text("a choice", choice, LONGEST_LINE, false).err())
            {
                return fail(problem);
            }
        }
        match &self.default {
            None => Ok(()),
            Some(Value::Text(default)) if default.len() > LONGEST_DOC => {
                fail(format!("has a default of {} bytes; {LONGEST_DOC} are allowed", default.len()))
            }
            Some(Value::Floats(default)) if default.len() > MOST_CHOICES => {
                fail(format!("has a default of {} numbers; {MOST_CHOICES} are allowed", default.len()))
            }
            Some(default) => match self.kind.check(default.clone()) {
                Ok(_) => Ok(()),
                Err(problem) => fail(format!("does not take its own default: {problem}")),
            },
        }
    }

    fn text_bytes(&self) -> usize {
        let choices = match &self.kind {
            Kind::Choice(choices) => choices.iter().map(String::len).sum(),
            _ => 0,
        };
        let default = match &self.default {
            Some(Value::Text(text)) => text.len(),
            _ => 0,
        };
        self.key.len() + self.aliases.iter().map(String::len).sum::<usize>() + self.doc.len() + choices + default
    }
}

impl Declaration {
    /// Whether the host can use the plugin as far as it can be told without knowing others: legal
    /// names and options, and texts within the limits of this module.
    ///
    /// # Errors
    /// What is wrong first, as a text without the plugin's name.
    pub fn check(&self) -> Result<(), String> {
        let Self { kind: _, name, aliases, about, version, options, datasets, writes, notes: _ } = self;
        for (count, what) in [(aliases.len(), "aliases"), (datasets.len(), "data sets"), (writes.len(), "files")] {
            if count > MOST_CHOICES {
                return Err(format!("it names {count} {what}; {MOST_CHOICES} are allowed"));
            }
        }
        for name in std::iter::once(name).chain(aliases).chain(datasets) {
            check_name(name)?;
        }
        writes.iter().try_for_each(|key| check_key(key))?;
        for (what, line) in [("a description", about), ("a version", version)] {
            text(what, line, LONGEST_LINE, false).map_err(|problem| format!("it {problem}"))?;
        }
        if options.len() > MOST_OPTIONS {
            return Err(format!("it has {} options; {MOST_OPTIONS} are allowed", options.len()));
        }
        options.iter().try_for_each(OptionSpec::check)?;
        match options.iter().map(OptionSpec::text_bytes).sum::<usize>() {
            bytes if bytes > MOST_TEXT => {
                Err(format!("the texts of its options have {bytes} bytes together; {MOST_TEXT} are allowed"))
            }
            _ => Ok(()),
        }
    }
}

fn text(what: &str, text: &str, most: usize, lines: bool) -> Result<(), String> {
    let count = text.chars().count();
    if count > most {
        return Err(format!("has {what} of {count} characters; {most} are allowed"));
    }
    match text.chars().find(|each| each.is_control() && !(lines && *each == '\n')) {
        Some(_) => Err(format!("has {what} with control characters: `{}`", shown(text))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::PluginKind;

    fn net(options: Vec<OptionSpec>) -> Declaration {
        Declaration {
            about: "Small.".into(),
            version: "1.0.0".into(),
            options,
            datasets: vec!["cifar10".into()],
            ..Declaration::new(PluginKind::Net, "small")
        }
    }

    fn refused(declaration: &Declaration, part: &str) {
        let problem = declaration.check().unwrap_err();
        assert!(problem.contains(part), "{problem}");
        assert!(problem.len() < 1_000, "a message stays short: {} bytes", problem.len());
    }

    #[test]
    fn an_ordinary_plugin_is_taken() {
        let options = vec![
            OptionSpec::switch("small_bias", true, "Two\nlines."),
            OptionSpec::choice("small_kind", "a", &["a", "b"], "").alias("small_type"),
        ];
        assert_eq!(net(options).check(), Ok(()));
    }

    #[test]
    fn names_and_keys_follow_the_rules() {
        for name in ["../../escape", "", "a\u{1b}[2J"] {
            refused(&Declaration { name: name.into(), ..net(vec![]) }, "is not a legal name");
            refused(&Declaration { aliases: vec![name.into()], ..net(vec![]) }, "is not a legal name");
            refused(&Declaration { datasets: vec![name.into()], ..net(vec![]) }, "is not a legal name");
        }
        for key in ["a-b", "a__b", "A", "a_", ""] {
            refused(&net(vec![OptionSpec::switch(key, true, "")]), "is not a legal key");
            refused(&net(vec![OptionSpec::switch("good", true, "").alias(key)]), "is not a legal key");
        }
    }

    #[test]
    fn long_texts_are_refused() {
        let long = "word ".repeat(1_000_000);
        refused(&net(vec![OptionSpec::switch("a", true, &long)]), "`a` has a description of 5000000 characters");
        refused(&net(vec![OptionSpec::text("a", &long, "")]), "a default of 5000000 bytes");
        refused(&net(vec![OptionSpec::choice("a", &long, &[&long], "")]), "a choice of 5000000 characters");
        let many = vec!["x"; 100_000];
        refused(&net(vec![OptionSpec::choice("a", "x", &many, "")]), "100000 choices");
        refused(&Declaration { about: long.clone(), ..net(vec![]) }, "it has a description of 5000000 characters");
        refused(&Declaration { version: long, ..net(vec![]) }, "a version of");
        let option = |index: usize| OptionSpec::switch(&format!("a{index}"), true, "");
        refused(&net((0..1_001).map(option).collect()), "1001 options");
        let wordy = |index: usize| OptionSpec::switch(&format!("a{index}"), true, &"x".repeat(4_000));
        refused(&net((0..100).map(wordy).collect()), "bytes together");
    }

    #[test]
    fn control_characters_are_refused() {
        refused(
            &Declaration { about: "clear \u{1b}[2J".into(), ..net(vec![]) },
            "control characters: `clear \\u{1b}[2J`",
        );
        refused(&net(vec![OptionSpec::switch("a", true, "bell \u{7}")]), "control characters");
        refused(&net(vec![OptionSpec::choice("a", "\r", &["\r"], "")]), "control characters");
    }

    #[test]
    fn a_default_that_the_option_does_not_take() {
        refused(
            &net(vec![OptionSpec::int("a", 10, 1..=9, "")]),
            "`a` does not take its own default: 10 is out of range",
        );
    }
}
