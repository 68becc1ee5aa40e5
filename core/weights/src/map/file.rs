//! A map file: TOML, one line for each name, `"theirs" = "ours"`. A name is that of a tensor or of
//! all that begin with it and a dot; the longest that fits counts. An empty `ours` leaves the
//! tensor out, `.` takes the name away and leaves what is behind its dot.

use pocketflow::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::path::Path;

/// More would be no map of names.
const MAX_BYTES: u64 = 16 << 20;

/// A map of names; empty unless a file gave one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameMap {
    /// Theirs to ours.
    pairs: BTreeMap<String, String>,
}

impl NameMap {
    /// # Errors
    /// A file that cannot be read or is no map; the message names it and the line.
    pub fn read(path: &Path) -> Result<Self> {
        let context = || format!("cannot use the map {}", path.display());
        let failed = |error: std::io::Error| Error::from_error(ErrorKind::Config, &error).context(context());
        let metadata = std::fs::metadata(path).map_err(failed)?;
        if !metadata.is_file() || metadata.len() > MAX_BYTES {
            return Err(Error::config("it is no file of at most 16 MiB").context(context()));
        }
        let text = std::fs::read_to_string(path).map_err(failed)?;
        Self::parse(&text).map_err(|error| error.context(context()))
    }

    /// # Errors
    /// Text that is not TOML, or a value that is no name.
    pub fn parse(text: &str) -> Result<Self> {
        let table: toml::Table = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| {
                1 + text.as_bytes()[..span.start.min(text.len())].iter().filter(|byte| **byte == b'\n').count()
            });
            let place = line.map(|line| format!("line {line}: ")).unwrap_or_default();
            Error::config(format!("{place}{}; write lines of the form \"theirs\" = \"ours\"", error.message()))
        })?;
        let mut pairs = BTreeMap::new();
        flatten("", table, &mut pairs)?;
        Ok(Self { pairs })
    }

    /// Ours for a tensor of the file, and the key that says so. `None`: the map says nothing of it.
    pub(super) fn find(&self, theirs: &str) -> Option<(&str, String)> {
        let mut front = theirs;
        loop {
            if let Some((key, ours)) = self.pairs.get_key_value(front) {
                let rest = &theirs[front.len()..];
                return Some(match ours.as_str() {
                    "" => (key, String::new()),
                    // What is taken away whole is left out.
                    "." => (key, rest.trim_start_matches('.').to_owned()),
                    ours => (key, format!("{ours}{rest}")),
                });
            }
            front = &front[..front.rfind('.')?];
        }
    }

    /// Adds lines that this map does not have.
    pub(super) fn fill(&mut self, pairs: impl IntoIterator<Item = (String, String)>) {
        for (theirs, ours) in pairs {
            self.pairs.entry(theirs).or_insert(ours);
        }
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.pairs.keys().map(String::as_str)
    }
}

/// Names without quotes are tables within tables to TOML: `features.0.0 = "…"`.
fn flatten(front: &str, table: toml::Table, pairs: &mut BTreeMap<String, String>) -> Result<()> {
    for (key, value) in table {
        let name = if front.is_empty() { key } else { format!("{front}.{key}") };
        match value {
            toml::Value::String(ours) => drop(pairs.insert(name, ours)),
            toml::Value::Table(table) => flatten(&name, table, pairs)?,
            other => {
                let problem = format!("`{name}` is {} and no name; write \"{name}\" = \"ours\"", other.type_str());
                return Err(Error::config(problem));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_counts() {
        let map = NameMap::parse(
            "'backbone' = ''\n'backbone.conv' = 'conv0'\n'backbone.conv.bias' = 'x.y'\nhead.0 = 'fc'\nwrap = '.'",
        )
        .unwrap();
        let ours = |theirs| map.find(theirs).map(|(_, ours)| ours);
        assert_eq!(ours("backbone.conv.weight").as_deref(), Some("conv0.weight"));
        assert_eq!(ours("backbone.conv.bias").as_deref(), Some("x.y"));
        assert_eq!(ours("backbone.other.weight").as_deref(), Some(""));
        assert_eq!(ours("backbone2.conv.weight"), None);
        assert_eq!(ours(""), None);
        assert_eq!(ours("head.0.weight").as_deref(), Some("fc.weight"));
        assert_eq!(ours("wrap.conv1.weight").as_deref(), Some("conv1.weight"));
        assert_eq!(ours("wrap").as_deref(), Some(""));
    }

    #[test]
    fn what_is_no_map() {
        let refused = |text: &str| NameMap::parse(text).unwrap_err().to_string();
        assert!(refused("a = \"b\"\nc 1").contains("line 2"));
        assert!(refused("[a]\nb = 1").contains("`a.b` is integer"));
        let missing = NameMap::read(Path::new("/nowhere/map.toml")).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::Config);
        assert!(missing.to_string().contains("/nowhere/map.toml"));
    }

    proptest::proptest! {
        #[test]
        fn garbage_never_panics(text: String, name: String) {
            if let Ok(map) = NameMap::parse(&text) {
                let _ = map.find(&name);
            }
        }
    }
}
