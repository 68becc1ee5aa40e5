//! The command line as plain words: what can be known of it before the options are.

use crate::options::host_options;
use pocketflow::option::{HostOptions, Kind};
use pocketflow::plugin::Declaration;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// What is needed before plugins are loaded. Mistakes are passed over: the second pass reports
/// them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Early {
    pub plugin_dirs: Vec<PathBuf>,
    pub log: Option<String>,
    /// `learner`, `net`, `dataset` with their values, where given as flags.
    choices: Vec<(String, String)>,
}

impl Early {
    /// The value of `--learner`, `--net` or `--dataset`, the last that was given.
    pub fn choice(&self, key: &str) -> Option<&str> {
        self.choices.iter().rev().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }
}

/// Looks for the few flags that find and choose plugins; `args` with the name of the program in
/// front.
pub fn early(args: &[OsString]) -> Early {
    let args = normalised(args);
    let mut made = Early::default();
    let mut words = args.iter().skip(1).take_while(|word| *word != "--").peekable();
    while let Some(word) = words.next() {
        let Some((name, value)) = flag(word) else { continue };
        let chooses = [HostOptions::learner().name(), HostOptions::net().name(), HostOptions::dataset().name()];
        if !["plugin-dir", "log"].into_iter().chain(chooses).any(|known| known == name) {
            continue;
        }
        let value = match value {
            Some(value) => value,
            // A flag after a flag is not its value.
            None => match words.next_if(|next| flag(next).is_none()) {
                Some(next) => next.clone(),
                None => continue,
            },
        };
        match (name.as_str(), value.to_str()) {
            ("plugin-dir", _) => made.plugin_dirs.push(value.into()),
            ("log", Some(text)) => made.log = Some(text.into()),
            (_, Some(text)) => made.choices.push((name, text.into())),
            _ => {}
        }
    }
    made
}

/// `--name` or `--name=value`, apart.
fn flag(word: &OsStr) -> Option<(String, Option<OsString>)> {
    let bytes = word.as_encoded_bytes().strip_prefix(b"--")?;
    let split = bytes.iter().position(|byte| *byte == b'=');
    let name = std::str::from_utf8(&bytes[..split.unwrap_or(bytes.len())]).ok()?;
    // The value may be a path that is no UTF-8; it is taken apart in a way that keeps it whole.
    let value = split.map(|_| after_equals(word));
    Some((name.to_owned(), value))
}

/// What follows the first `=` of a word.
fn after_equals(word: &OsStr) -> OsString {
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        let bytes = word.as_bytes();
        let start = bytes.iter().position(|byte| *byte == b'=').map_or(bytes.len(), |at| at + 1);
        OsStr::from_bytes(&bytes[start..]).to_owned()
    }
    #[cfg(not(unix))]
    {
        word.to_string_lossy().split_once('=').map(|(_, value)| value.to_owned()).unwrap_or_default().into()
    }
}

/// The same words with `-` for `_` in the names of flags, up to a bare `--`.
pub(super) fn normalised(args: &[OsString]) -> Vec<OsString> {
    let mut plain = true;
    let mut normalise = |word: &OsString| {
        plain &= word != "--";
        let Some((name, value)) = flag(word).filter(|(name, _)| plain && name.contains('_')) else {
            return word.clone();
        };
        let mut made = OsString::from(format!("--{}", name.replace('_', "-")));
        if let Some(value) = value {
            made.push("=");
            made.push(value);
        }
        made
    };
    args.iter().map(&mut normalise).collect()
}

/// `--enbl-dst false`: without the `=`, the value would be taken for a command, and the switch
/// turned on.
pub(super) fn stray_switch_value(args: &[OsString], declarations: &[Declaration]) -> Option<String> {
    let is_value = |word: &OsStr| word.eq_ignore_ascii_case("true") || word.eq_ignore_ascii_case("false");
    // Few command lines have such a pair; the options are gone through only for those.
    let mut pairs = args.windows(2).take_while(|pair| pair[0] != "--").filter(|pair| is_value(&pair[1]));
    pairs.find_map(|pair| {
        let (name, None) = flag(&pair[0])? else { return None };
        let host = host_options();
        let mut specs = host.iter().chain(declarations.iter().flat_map(|declaration| &declaration.options));
        let key = name.replace('-', "_");
        let spec = specs.find(|spec| spec.key == key || spec.aliases.contains(&key))?;
        let value = pair[1].to_str()?;
        let text = || format!("error: the value of a switch follows `=`: write `--{name}={value}`, or only `--{name}`");
        (spec.kind == Kind::Switch).then(text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::sample;
    use proptest::prelude::*;

    fn args(text: &str) -> Vec<OsString> {
        std::iter::once("host").chain(text.split_whitespace()).map(OsString::from).collect()
    }

    #[test]
    fn finds_what_plugins_need() {
        let made = early(&args(
            "config show --plugin_dir a --plugin-dir=b=c --log debug --learner=uniform --net --seed 3 -- --net x",
        ));
        assert_eq!(made.plugin_dirs, [PathBuf::from("a"), PathBuf::from("b=c")]);
        assert_eq!(made.log.as_deref(), Some("debug"));
        assert_eq!(made.choice("learner"), Some("uniform"));
        assert_eq!(made.choice("net"), None);
    }

    #[test]
    fn only_names_of_flags_are_changed() {
        let given = args("run --uql_weight_bits=4_0 --save_path a_b=c_d x_y -- --a_b");
        let shown: Vec<_> = normalised(&given).iter().map(|word| word.to_string_lossy().into_owned()).collect();
        assert_eq!(shown, ["host", "run", "--uql-weight-bits=4_0", "--save-path", "a_b=c_d", "x_y", "--", "--a_b"]);
    }

    #[cfg(unix)]
    #[test]
    fn paths_need_not_be_text() {
        use std::os::unix::ffi::OsStringExt;
        let word = |text: &[u8]| OsString::from_vec(text.to_vec());
        let made = early(&[word(b"host"), word(b"--plugin_dir=\xff\xfe"), word(b"--\xff=1")]);
        assert_eq!(made.plugin_dirs, [PathBuf::from(word(b"\xff\xfe"))]);
    }

    #[test]
    fn a_switch_takes_its_value_after_an_equals_sign() {
        let said = |text: &str| stray_switch_value(&normalised(&args(text)), &sample::declarations());
        assert_eq!(
            said("--enbl_dst false").unwrap(),
            "error: the value of a switch follows `=`: write `--enbl-dst=false`, or only `--enbl-dst`"
        );
        assert!(said("--uql_use_buckets True").is_some());
        assert_eq!(said("--enbl_dst=false --save_path true --seed 1"), None);
        assert_eq!(said("-- --enbl-dst true"), None);
    }

    proptest! {
        #[test]
        fn any_words_are_taken(words in prop::collection::vec("(--)?(plugin_dir|log|net|=|_|-|\\PC){0,4}", 0..8)) {
            let given: Vec<OsString> = words.into_iter().map(OsString::from).collect();
            early(&given);
            prop_assert_eq!(normalised(&given).len(), given.len());
        }
    }
}
