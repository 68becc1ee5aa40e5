//! What is known of plugin files, remembered between runs: trying libtorch's plugins takes a
//! quarter of a second, `--help` may take a twentieth; and a library that crashed is not started
//! again until it changes.
//!
//! A verdict belongs to the content of a file. What tells whether a file is the one that was looked
//! at is its path, size and times; only where they differ is it read again.
//!
//! MessagePack in `$XDG_CACHE_HOME/pocketflow/plugins.cache` (not JSON, which has no infinite
//! bounds). A cache that cannot be read or written is no error: everything in it can be found
//! again.

use super::content::ContentHash;
use pocketflow::abi::INTERFACE;
use pocketflow::plugin::Declaration;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs::{self, File, Metadata};
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
    /// What the user cannot set: when anything of the file changed last, in nanoseconds since 1970;
    /// 0 where systems have none.
    changed: u64,
}

impl Identity {
    /// # Errors
    /// The file is gone, or the system does not tell its time.
    pub fn of(path: &Path) -> io::Result<Self> {
        let meta = fs::metadata(path)?;
        let modified = meta.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        let modified = u64::try_from(modified.as_nanos()).unwrap_or(u64::MAX);
        Ok(Self { path: path.to_owned(), size: meta.len(), modified, changed: changed(&meta) })
    }

    /// In bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}

#[cfg(unix)]
fn changed(meta: &Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let nanoseconds = meta.ctime().saturating_mul(1_000_000_000).saturating_add(meta.ctime_nsec());
    u64::try_from(nanoseconds).unwrap_or(0)
}

#[cfg(not(unix))]
fn changed(_: &Metadata) -> u64 {
    0
}

/// What is known of a library.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Verdict {
    /// It could be opened. `failures`: its plugins that cannot say what they are.
    Plugins { libtorch: Option<String>, declarations: Vec<Declaration>, failures: Vec<String> },
    /// It cannot be used, until it changes.
    Refused { reason: String },
    /// It gave no answer in this time; with more, it may.
    Late { reason: String, seconds: u64 },
}

/// The records of all files that were looked at.
#[derive(Debug, Default)]
pub struct Cache {
    path: Option<PathBuf>,
    records: Records,
    changed: bool,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Records {
    files: BTreeMap<PathBuf, (Identity, ContentHash)>,
    verdicts: BTreeMap<ContentHash, Verdict>,
}

/// A cache of another host or another interface is of no use.
type Written<R> = (String, u32, R);

/// Of the form of the cache too.
fn version() -> String {
    concat!(env!("CARGO_PKG_VERSION"), " by BLAKE3").to_owned()
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
            Ok(bytes) => match rmp_serde::from_slice::<Written<Records>>(&bytes) {
                Ok((host, INTERFACE, records)) if host == version() => records,
                Ok(_) => Records::default(),
                Err(error) => {
                    tracing::debug!("`{}` is not used: {error}", path.display());
                    Records::default()
                }
            },
            Err(error) => {
                tracing::debug!("`{}` is not used: {error}", path.display());
                Records::default()
            }
        };
        Self { path: Some(path), records, changed: false }
    }

    /// The content of a file that is as it was when it was read last.
    pub fn content(&self, identity: &Identity) -> Option<ContentHash> {
        let (known, content) = self.records.files.get(&identity.path)?;
        (known == identity).then_some(*content)
    }

    pub fn verdict(&self, content: &ContentHash) -> Option<&Verdict> {
        self.records.verdicts.get(content)
    }

    /// What the files hold that were looked at, as far as is known.
    pub fn held(&self) -> impl Iterator<Item = &ContentHash> {
        self.records.files.values().map(|(_, content)| content)
    }

    /// Remembers what a file holds.
    pub fn put_file(&mut self, identity: Identity, content: ContentHash) {
        // Other paths have no form as text.
        if identity.path.to_str().is_some() {
            self.records.files.insert(identity.path.clone(), (identity, content));
            self.changed = true;
        }
    }

    pub fn put_verdict(&mut self, content: ContentHash, verdict: Verdict) {
        self.records.verdicts.insert(content, verdict);
        self.changed = true;
    }

    /// A verdict turned out to be wrong.
    pub fn forget(&mut self, content: &ContentHash) {
        self.changed |= self.records.verdicts.remove(content).is_some();
    }

    /// Writes what has changed, whole or not at all.
    pub fn save(&mut self) {
        let Some(path) = self.path.as_ref().filter(|_| self.changed) else { return };
        self.records.files.retain(|known, _| known.exists());
        let held: BTreeSet<ContentHash> = self.records.files.values().map(|(_, content)| *content).collect();
        self.records.verdicts.retain(|content, _| held.contains(content));
        match write(path, &self.records) {
            Ok(()) => self.changed = false,
            Err(error) => tracing::debug!("`{}` is not written: {error}", path.display()),
        }
    }
}

fn write(path: &Path, records: &Records) -> io::Result<()> {
    let written: Written<&Records> = (version(), INTERFACE, records);
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

    fn verdict() -> Verdict {
        let open = Kind::Float { min: 0.0, max: f64::INFINITY };
        let mut declaration = Declaration::new(PluginKind::Learner, "toy");
        declaration.aliases = vec!["plaything".into()];
        declaration.about = "A toy.".into();
        declaration.version = "0.1.0".into();
        declaration.options =
            vec![OptionSpec::new("toy_scale", open, None, "Scale."), OptionSpec::switch("toy_on", true, "On.")];
        declaration.notes = vec!["its option `toy_on` is of an unknown type".into()];
        let failures = vec!["net `broken`: panicked".into()];
        Verdict::Plugins { libtorch: Some("2.11.0".into()), declarations: vec![declaration], failures }
    }

    fn known(cache: &Cache, file: &Path) -> Option<Verdict> {
        cache.content(&Identity::of(file).unwrap()).and_then(|content| cache.verdict(&content)).cloned()
    }

    #[test]
    fn remembers_until_the_file_changes() {
        let dir = tempfile::tempdir().unwrap();
        let (path, plugin) = (dir.path().join("deep/plugins.cache"), dir.path().join("a.so"));
        fs::write(&plugin, "one").unwrap();
        let (identity, content) = (Identity::of(&plugin).unwrap(), ContentHash::of(&plugin).unwrap());
        let mut cache = Cache::at(path.clone());
        cache.put_file(identity.clone(), content);
        cache.put_verdict(content, verdict());
        cache.save();
        assert_eq!(known(&Cache::at(path.clone()), &plugin), Some(verdict()));

        // Another file of the same size and, as far as a user can set it, time.
        let time = fs::metadata(&plugin).unwrap().modified().unwrap();
        // Systems tell times in steps of some milliseconds.
        std::thread::sleep(std::time::Duration::from_millis(30));
        fs::write(&plugin, "two").unwrap();
        File::options().write(true).open(&plugin).unwrap().set_modified(time).unwrap();
        assert_eq!(known(&Cache::at(path.clone()), &plugin), None);
        assert_eq!(Cache::at(path.clone()).verdict(&content), Some(&verdict()), "what it held is still known");
        fs::remove_file(&plugin).unwrap();
        let mut cache = Cache::at(path.clone());
        cache.put_verdict(content, verdict());
        cache.save();
        let records = Cache::at(path).records;
        assert!(records.files.is_empty() && records.verdicts.is_empty(), "files that are gone are forgotten");
    }

    #[test]
    fn a_place_that_cannot_be_written_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        let plugin = dir.path().join("a.so");
        fs::write(&plugin, "one").unwrap();
        let mut cache = Cache::at(plugin.join("below/a/file"));
        cache.put_verdict(ContentHash::of(&plugin).unwrap(), verdict());
        cache.save();
        assert!(cache.changed);
    }

    proptest! {
        #[test]
        fn garbage_is_an_empty_cache(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let file = tempfile::NamedTempFile::new().unwrap();
            fs::write(file.path(), bytes).unwrap();
            prop_assert!(Cache::at(file.path().into()).records.verdicts.is_empty());
        }
    }
}
