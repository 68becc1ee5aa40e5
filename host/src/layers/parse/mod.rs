//! Configuration files as text: TOML, YAML or JSON into keys and values with the line of each. The
//! three modules differ only in syntax; what is true of all (flat keys, none given twice,
//! `extends`) is checked here.

mod from_json;
mod from_toml;
mod from_yaml;

use super::leaf::Raw;
use crate::provenance::TABLE;
use std::collections::BTreeMap;
use std::path::Path;

/// The key that names further files.
pub const EXTENDS: &str = "extends";

/// One key of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub key: String,
    /// From 1.
    pub line: usize,
    pub raw: Raw,
}

/// Something a file says that it cannot say; `line` from 1 where it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub line: Option<usize>,
    pub text: String,
}

impl Fault {
    fn new(line: usize, text: impl Into<String>) -> Self {
        Self { line: Some(line), text: text.into() }
    }
}

/// A file as it was read: whatever could be understood, and what could not.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parsed {
    pub entries: Vec<Entry>,
    /// Files to load before this one, each with its line; as written.
    pub extends: Vec<(String, usize)>,
    pub faults: Vec<Fault>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    Toml,
    Yaml,
    Json,
}

impl Syntax {
    /// By the extension of the name.
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "toml" => Some(Self::Toml),
            "yaml" | "yml" => Some(Self::Yaml),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// Reads the text of a file. Never panics, whatever the text.
pub fn parse(text: &str, syntax: Syntax) -> Parsed {
    // Editors on Windows put a mark in front that no parser wants to see.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (entries, mut faults) = match syntax {
        Syntax::Toml => from_toml::parse(text),
        Syntax::Yaml => from_yaml::parse(text),
        Syntax::Json => from_json::parse(text),
    };
    let mut parsed = Parsed::default();
    let mut first: BTreeMap<String, usize> = BTreeMap::new();
    for entry in entries {
        if let Some(line) = first.get(&entry.key) {
            faults.push(Fault::new(entry.line, twice(&entry.key, *line)));
            continue;
        }
        first.insert(entry.key.clone(), entry.line);
        match (&entry.raw, entry.key.as_str()) {
            (raw, EXTENDS) => match names(raw) {
                Some(names) => parsed.extends = names.into_iter().map(|name| (name, entry.line)).collect(),
                None => {
                    let text = format!("`{EXTENDS}` = {}: expected a list of file names", raw.shown());
                    faults.push(Fault::new(entry.line, text));
                }
            },
            // What a run was made from, in a run.toml that is used again.
            (Raw::Table, TABLE) => {}
            (Raw::Table, key) => {
                let text =
                    format!("`{key}` is a group of keys; keys are not grouped: write each at the top of the file");
                faults.push(Fault::new(entry.line, text));
            }
            _ => parsed.entries.push(entry),
        }
    }
    parsed.faults = faults;
    parsed
}

fn twice(key: &str, first: usize) -> String {
    format!("`{key}` is given twice; the first is on line {first}")
}

fn names(raw: &Raw) -> Option<Vec<String>> {
    match raw {
        Raw::Text(name) | Raw::Words(name) => Some(vec![name.clone()]),
        Raw::List(items) => items
            .iter()
            .map(|item| match item {
                Raw::Text(name) | Raw::Words(name) => Some(name.clone()),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}

/// Where the lines of a text end: the line of a byte is found without another pass over the text.
struct Lines {
    ends: Vec<usize>,
}

impl Lines {
    fn of(text: &str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect();
        Self { ends }
    }

    /// The line, from 1, of a byte.
    fn at(&self, byte: usize) -> usize {
        1 + self.ends.partition_point(|end| *end < byte)
    }

    /// The text of a line.
    fn text<'a>(&self, text: &'a str, line: usize) -> &'a str {
        let begin = line.checked_sub(2).and_then(|before| self.ends.get(before)).map_or(0, |end| end + 1);
        let end = self.ends.get(line.saturating_sub(1)).copied().unwrap_or(text.len());
        text.get(begin..end).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Syntax; 3] = [Syntax::Toml, Syntax::Yaml, Syntax::Json];

    fn entry(key: &str, line: usize, raw: Raw) -> Entry {
        Entry { key: key.into(), line, raw }
    }

    #[test]
    fn the_three_say_the_same() {
        let toml = "\u{feff}extends = ['base.toml', \"b.yaml\"]\n# remark\nseed = 7\n\nrate = 1.5\non = true\n\
                    name = \"a\\\"b\"\nat = [1,\n  2.5]\nlast = -3\n";
        let yaml = "extends: ['base.toml', \"b.yaml\"]\n# remark\nseed: 7\n\nrate: 1.5\non: true\n\
                    name: \"a\\\"b\"\nat: [1,\n  2.5]\nlast: -3\n";
        let json = "{\"extends\": [\"base.toml\", \"b.yaml\"],\n\n\"seed\": 7,\n\n\"rate\": 1.5,\n\"on\": true,\n\
                    \"name\": \"a\\\"b\",\n\"at\": [1,\n  2.5],\n\"last\": -3}\n";
        let typed = vec![
            entry("seed", 3, Raw::Int(7)),
            entry("rate", 5, Raw::Float(1.5)),
            entry("on", 6, Raw::Bool(true)),
            entry("name", 7, Raw::Text("a\"b".into())),
            entry("at", 8, Raw::List(vec![Raw::Int(1), Raw::Float(2.5)])),
            entry("last", 10, Raw::Int(-3)),
        ];
        let words = |text: &str| Raw::Words(text.into());
        let untyped = vec![
            entry("seed", 3, words("7")),
            entry("rate", 5, words("1.5")),
            entry("on", 6, words("true")),
            entry("name", 7, Raw::Text("a\"b".into())),
            entry("at", 8, Raw::List(vec![words("1"), words("2.5")])),
            entry("last", 10, words("-3")),
        ];
        for (text, syntax, expected) in
            [(toml, Syntax::Toml, &typed), (yaml, Syntax::Yaml, &untyped), (json, Syntax::Json, &typed)]
        {
            let parsed = parse(text, syntax);
            assert_eq!(parsed.faults, [], "{syntax:?}");
            assert_eq!(&parsed.entries, expected, "{syntax:?}");
            assert_eq!(parsed.extends, [("base.toml".into(), 1), ("b.yaml".into(), 1)], "{syntax:?}");
        }
    }

    #[test]
    fn large_files_are_read_in_one_pass() {
        let begin = std::time::Instant::now();
        let many = |line: &dyn Fn(usize) -> String| (0..200_000).map(line).collect::<String>();
        for (text, syntax) in [
            (many(&|index| format!("[t{index}]\n")), Syntax::Toml),
            (many(&|index| format!("k{index} = 1\n")), Syntax::Toml),
            (many(&|_| "same = 1\n".into()), Syntax::Toml),
            (many(&|index| format!("k{index}: 1\n")), Syntax::Yaml),
            (format!("{{{}\"last\": 1}}", many(&|index| format!("\"k{index}\": 1,\n"))), Syntax::Json),
        ] {
            let parsed = parse(&text, syntax);
            assert!(parsed.entries.len() + parsed.faults.len() >= 200_000, "{syntax:?}");
        }
        // Hundredths of a second each; a pass over the text for each line takes minutes.
        assert!(begin.elapsed().as_secs() < 20, "{:?}", begin.elapsed());
    }

    #[test]
    fn empty_files_say_nothing() {
        for (syntax, texts) in [
            (Syntax::Toml, &["", "\n\n", "# only a remark"][..]),
            (Syntax::Yaml, &["", "# only a remark\n", "---\n", "{}"]),
            (Syntax::Json, &["{}", " { } \n"]),
        ] {
            for text in texts {
                assert_eq!(parse(text, syntax), Parsed::default(), "{syntax:?} {text:?}");
            }
        }
    }

    fn faults(text: &str, syntax: Syntax) -> String {
        let lines = |fault: &Fault| format!("{:?}: {}\n", fault.line, fault.text);
        parse(text, syntax).faults.iter().map(lines).collect()
    }

    #[test]
    fn a_key_given_twice() {
        let expected = "Some(4): `a` is given twice; the first is on line 1\n";
        assert_eq!(faults("a = 1\nb = 2\n\na = 3\n", Syntax::Toml), expected);
        assert_eq!(faults("a: 1\nb: 2\n\na: 3\n", Syntax::Yaml), expected);
        assert_eq!(faults("{\"a\": 1,\n\"b\": 2,\n\n\"a\": 3}", Syntax::Json), expected);
    }

    #[test]
    fn what_a_run_was_made_from_is_no_setting() {
        let text = "seed = 7\n[provenance]\nprogram = \"1\"\n\"file of save_path\" = \"a\"\n";
        let parsed = parse(text, Syntax::Toml);
        assert_eq!((parsed.faults.as_slice(), parsed.entries), (&[][..], vec![entry("seed", 1, Raw::Int(7))]));
    }

    #[test]
    fn groups_of_keys() {
        let expected =
            "Some(2): `uniform` is a group of keys; keys are not grouped: write each at the top of the file\n";
        assert_eq!(faults("seed = 1\n[uniform]\nbits = 4\n", Syntax::Toml), expected);
        assert_eq!(faults("seed = 1\nuniform.bits = 4\n", Syntax::Toml), expected);
        assert_eq!(faults("seed: 1\nuniform:\n  bits: 4\n  deep: {a: [1]}\n", Syntax::Yaml), expected);
        assert_eq!(faults("{\"seed\": 1,\n\"uniform\": {\"bits\": 4}}", Syntax::Json), expected);
    }

    #[test]
    fn broken_files_name_the_line() {
        for (syntax, text, line) in [
            (Syntax::Toml, "a = 1\nb = \n", 2),
            (Syntax::Toml, "a = 1\nb = True\n", 2),
            (Syntax::Yaml, "a: 1\nb: [1, 2\n", 3),
            (Syntax::Yaml, "- a\n- b\n", 1),
            (Syntax::Yaml, "a: 1\n---\nb: 2\n", 3),
            (Syntax::Yaml, "a: &x 1\nb: *x\n", 2),
            (Syntax::Yaml, "a: 1\n? [1]\n: 2\n", 2),
            (Syntax::Json, "{\"a\": 1,\n\"b\": }", 2),
            (Syntax::Json, "[1]", 1),
            (Syntax::Json, "{\"a\": 1}\n{}", 2),
            (Syntax::Json, "{\"a\": 1,\n\"b\": 1e999}", 2),
            (Syntax::Json, "", 1),
        ] {
            let found = parse(text, syntax).faults;
            assert_eq!(found.first().and_then(|fault| fault.line), Some(line), "{syntax:?} {text:?} {found:?}");
        }
    }

    #[test]
    fn several_faults_of_a_toml_file_come_together() {
        let found = parse("a = \nb = 1\nb = 2\nc = True\n", Syntax::Toml).faults;
        let lines: Vec<_> = found.iter().filter_map(|fault| fault.line).collect();
        assert_eq!(lines, [1, 3, 4], "{found:?}");
    }

    #[test]
    fn depth_without_end_is_a_fault_not_a_crash() {
        for syntax in ALL {
            for open in ["[", "{\"a\":", "{a: ", "[[", "- ", "a = [", "a = {b="] {
                let text =
                    format!("{}{}", if syntax == Syntax::Json { "{\"k\": " } else { "k: " }, open.repeat(50_000));
                let faults = parse(&text, syntax).faults;
                // To YAML, this is one long word.
                assert!(!faults.is_empty() || (syntax == Syntax::Yaml && open.starts_with('a')), "{syntax:?} {open}");
            }
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(text in "\\PC*", pick in 0..3usize) {
            parse(&text, ALL[pick]);
        }

        #[test]
        fn nearly_right_files_never_panic(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    "a", "b", " ", "\n", "=", ":", ": ", "- ", "[", "]", "{", "}", ",", "\"", "'", "#", "1", "0x", "-", ".",
                    "1e9", "true", "null", "~", "&", "*", "!", "|", ">", "%", "---", "...", "\t", "\r\n", "?", "<<", "@",
                    "2020-01-01", "\\", "\\u", "é", "\u{2028}", "extends", "inf", "nan", "\0",
                ]),
                0..40,
            ),
            pick in 0..3usize,
        ) {
            parse(&parts.concat(), ALL[pick]);
        }

        #[test]
        fn bytes_that_are_text_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), pick in 0..3usize) {
            parse(&String::from_utf8_lossy(&bytes), ALL[pick]);
        }
    }
}
