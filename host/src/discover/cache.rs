//! What plugin files declare, remembered between runs: loading libtorch's plugins takes a quarter of a second, `--help` may
//! take a twentieth.
//!
//! MessagePack in `$XDG_CACHE_HOME/pocketflow/plugins.cache` (not JSON, which has no infinite bounds). A cache that cannot be
//! read or written is no error: everything in it can be found again.

use pocketflow::abi::INTERFACE;
use pocketflow::plugin::Declaration;
use serde::{Deserialize, Serialize};
use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Which state of which file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Canonical.
    pub path: PathBuf,
    size: u64,
    /// Nanoseconds since 1970.
    modified: u64,
}

impl Identity {
    /// # Errors
    /// The file is gone, or the system does not tell its time.
    pub fn of(path: &Path) -> io::Result<Self> {
        let meta = fs::metadata(path)?;
        let modified = meta.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        let modified = u64::try_from(modified.as_nanos()).unwrap_or(u64::MAX);
        Ok(Self { path: path.to_owned(), size: meta.len(), modified })
    }
}

/// What is known of a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Content {
    /// A plugin library that could be loaded.
    Plugins { libtorch: Option<String>, declarations: Vec<Declaration> },
    /// Refused for its handshake.
    Refused { reason: String },
}

/// The records of all files that were looked at.
#[derive(Debug, Default)]
pub struct Cache {
    path: Option<PathBuf>,
    records: Vec<(Identity, Content)>,
    changed: bool,
}

/// A cache of another host or another interface is of no use.
type Written<R> = (String, u32, R);

fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

impl Cache {
    /// The user's.
    pub fn open() -> Self {
        match folder() {
            Some(folder) => Self::at(folder.join("pocketflow").join("plugins.cache")),
            None => Self::default(),
        }
    }

    fn at(path: PathBuf) -> Self {
        let records = match fs::read(&path) {
            Ok(bytes) => match rmp_serde::from_slice::<Written<Vec<(Identity, Content)>>>(&bytes) {
                Ok((host, INTERFACE, records)) if host == version() => records,
                Ok(_) => Vec::new(),
                Err(error) => {
                    tracing::debug!("`{}` is not used: {error}", path.display());
                    Vec::new()
                }
            },
            Err(error) => {
                tracing::debug!("`{}` is not used: {error}", path.display());
                Vec::new()
            }
        };
        Self { path: Some(path), records, changed: false }
    }

    pub fn get(&self, identity: &Identity) -> Option<&Content> {
        self.records.iter().find(|(known, _)| known == identity).map(|(_, content)| content)
    }

    pub fn put(&mut self, identity: Identity, content: Content) {
        self.forget(&identity.path);
        // Other paths have no form as text.
        if identity.path.to_str().is_some() {
            self.records.push((identity, content));
            self.changed = true;
        }
    }

    pub fn forget(&mut self, path: &Path) {
        let before = self.records.len();
        self.records.retain(|(known, _)| known.path != path);
        self.changed |= self.records.len() < before;
    }

    /// Writes what has changed, whole or not at all.
    pub fn save(&mut self) {
        let Some(path) = self.path.as_ref().filter(|_| self.changed) else { return };
        self.records.retain(|(known, _)| known.path.exists());
        match write(path, &self.records) {
            Ok(()) => self.changed = false,
            Err(error) => tracing::debug!("`{}` is not written: {error}", path.display()),
        }
    }
}

fn write(path: &Path, records: &[(Identity, Content)]) -> io::Result<()> {
    let written: Written<&[(Identity, Content)]> = (version(), INTERFACE, records);
    let bytes = rmp_serde::to_vec_named(&written).map_err(io::Error::other)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    // Two hosts may write at once; no need to sync, a torn file is ignored.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&bytes)?;
    let _: File = file.persist(path)?;
    Ok(())
}

/// Where the user's programs keep what they can find again.
pub fn folder() -> Option<PathBuf> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pocketflow::option::{Kind, OptionSpec};
    use pocketflow::plugin::PluginKind;
    use proptest::prelude::*;

    fn content() -> Content {
        let open = Kind::Float { min: 0.0, max: f64::INFINITY };
        let declaration = Declaration {
            kind: PluginKind::Learner,
            name: "toy".into(),
            aliases: vec!["plaything".into()],
            about: "A toy.".into(),
            version: "0.1.0".into(),
            options: vec![
                OptionSpec::new("toy_scale", open, None, "Scale."),
                OptionSpec::switch("toy_on", true, "On."),
            ],
            datasets: Vec::new(),
            writes: Vec::new(),
        };
        Content::Plugins { libtorch: Some("2.11.0".into()), declarations: vec![declaration] }
    }

    #[test]
    fn remembers_until_the_file_changes() {
        let dir = tempfile::tempdir().unwrap();
        let (path, plugin) = (dir.path().join("deep/plugins.cache"), dir.path().join("a.so"));
        fs::write(&plugin, "one").unwrap();
        let identity = Identity::of(&plugin).unwrap();
        let mut cache = Cache::at(path.clone());
        cache.put(identity.clone(), content());
        cache.save();
        assert_eq!(Cache::at(path.clone()).get(&identity), Some(&content()));

        fs::write(&plugin, "three").unwrap();
        assert_eq!(Cache::at(path.clone()).get(&Identity::of(&plugin).unwrap()), None);
        fs::remove_file(&plugin).unwrap();
        let mut cache = Cache::at(path.clone());
        cache.put(Identity { path: "/nowhere.so".into(), ..identity }, content());
        cache.save();
        assert!(Cache::at(path).records.is_empty(), "files that are gone are forgotten");
    }

    #[test]
    fn a_place_that_cannot_be_written_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        let plugin = dir.path().join("a.so");
        fs::write(&plugin, "one").unwrap();
        let mut cache = Cache::at(plugin.join("below/a/file"));
        cache.put(Identity::of(&plugin).unwrap(), content());
        cache.save();
        assert!(cache.changed);
    }

    proptest! {
        #[test]
        fn garbage_is_an_empty_cache(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let file = tempfile::NamedTempFile::new().unwrap();
            fs::write(file.path(), bytes).unwrap();
            prop_assert!(Cache::at(file.path().into()).records.is_empty());
        }
    }
}
