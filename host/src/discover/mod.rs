//! Where plugin files are looked for, and what a file says of itself before any of its code runs.
//!
//! First `--plugin-dir`, then `POCKETFLOW_PLUGIN_PATH`, then beside the program: of two plugins of
//! one name, the one that is found first counts. Never the working directory and never a folder of
//! the system: loading a library runs its code.

pub(crate) mod cache;
pub(crate) mod content;
pub(crate) mod copies;
pub(crate) mod handshake;
mod neighbours;

use crate::registry::Failure;
use std::collections::{HashMap, HashSet};
use std::env;
use std::env::consts::{DLL_EXTENSION, DLL_PREFIX};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

/// The variable: folders (or files) as in `PATH`.
pub const PATH_VARIABLE: &str = "POCKETFLOW_PLUGIN_PATH";

/// The places where plugins are looked for.
#[derive(Debug, Clone, Default)]
pub struct PluginDirs {
    /// Folders and files that somebody named, in the order in which they count.
    pub named: Vec<PathBuf>,
    /// The program's folder: the plugins that came with it are there, or in its folder `plugins`.
    /// They count last.
    pub program: Option<PathBuf>,
}

impl PluginDirs {
    /// Those of this process; `explicit` is what `--plugin-dir` names.
    pub fn of_process(explicit: Vec<PathBuf>) -> Self {
        let program = env::current_exe().ok().and_then(|program| program.parent().map(Path::to_owned));
        Self { named: named(explicit, env::var_os(PATH_VARIABLE)), program }
    }
}

/// `--plugin-dir` before the variable.
fn named(mut explicit: Vec<PathBuf>, variable: Option<OsString>) -> Vec<PathBuf> {
    let variable = variable.unwrap_or_default();
    // An empty part would mean the working directory.
    explicit.extend(env::split_paths(&variable).filter(|part| !part.as_os_str().is_empty()));
    explicit
}

/// Plugin files by canonical path, in the order in which they count.
#[derive(Debug, Default)]
pub struct Found {
    /// Without repetition.
    pub files: Vec<PathBuf>,
    /// Places that were named and cannot be read.
    pub failures: Vec<Failure>,
}

/// All plugin files, each once.
pub fn files(dirs: &PluginDirs) -> Found {
    let mut search = Search::default();
    for place in &dirs.named {
        let added = match fs::metadata(place) {
            Ok(meta) if meta.is_dir() => search.folder(place, |_| true),
            Ok(_) => search.file(place),
            Err(error) => Err(error),
        };
        if let Err(error) = added {
            let reason = format!("plugins are to be looked for here, and it cannot be read: {error}");
            search.found.failures.push(Failure::of_file(place.clone(), reason));
        }
    }
    for dir in dirs.program.iter().flat_map(|dir| [dir.clone(), dir.join("plugins")]) {
        let plugin = format!("{DLL_PREFIX}pocketflow_plugin_");
        // No failure: a folder that nobody named need not be there.
        let _ = search.folder(&dir, |name| name.starts_with(&plugin));
    }
    search.found
}

#[derive(Default)]
struct Search {
    found: Found,
    seen: HashSet<PathBuf>,
    /// The files that were found, by their lengths.
    lengths: HashMap<u64, Vec<PathBuf>>,
}

impl Search {
    fn folder(&mut self, dir: &Path, wanted: impl Fn(&str) -> bool) -> std::io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let named = path.file_name().is_some_and(|name| wanted(&name.to_string_lossy()));
            if named && path.extension().is_some_and(|extension| extension == DLL_EXTENSION) {
                files.push(path);
            }
        }
        files.sort();
        for file in files {
            if let Err(error) = self.file(&file) {
                self.found.failures.push(Failure::of_file(file, format!("cannot be read: {error}")));
            }
        }
        Ok(())
    }

    fn file(&mut self, file: &Path) -> std::io::Result<()> {
        let file = match (file.canonicalize(), fs::read_link(file)) {
            (Err(error), Ok(target)) => {
                let text = format!("it is a link to `{}`: {error}", target.display());
                return Err(std::io::Error::new(error.kind(), text));
            }
            (file, _) => file?,
        };
        if !self.seen.insert(file.clone()) {
            return Ok(());
        }
        let about = fs::metadata(&file)?;
        if about.is_file() {
            let alike = self.lengths.entry(about.len()).or_default();
            if let Some(first) = alike.iter().find(|first| is_copy(first, &file)) {
                tracing::debug!("`{}` is a copy of `{}`, which was found first", file.display(), first.display());
                return Ok(());
            }
            alike.push(file.clone());
        }
        self.found.files.push(file);
        Ok(())
    }
}

/// Whether two files of one length hold the same bytes; one that cannot be read is no copy, and is
/// told of later.
fn is_copy(one: &Path, other: &Path) -> bool {
    let open = |path: &Path| File::open(path).map(BufReader::new);
    let (Ok(mut one), Ok(mut other)) = (open(one), open(other)) else { return false };
    loop {
        let (Ok(a), Ok(b)) = (one.fill_buf(), other.fill_buf()) else { return false };
        let count = a.len().min(b.len());
        if count == 0 {
            return a.len() == b.len();
        }
        if a[..count] != b[..count] {
            return false;
        }
        one.consume(count);
        other.consume(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(path: &Path) -> PathBuf {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // No two files are alike.
        fs::write(path, path.as_os_str().as_encoded_bytes()).unwrap();
        path.canonicalize().unwrap()
    }

    fn only(named: &[&Path]) -> PluginDirs {
        PluginDirs { named: named.iter().map(|path| (*path).to_owned()).collect(), program: None }
    }

    #[test]
    fn named_places_come_before_those_of_the_program() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| dir.path().join(name));
        let explicit = touch(&a.join("x.so"));
        touch(&a.join("x.txt"));
        let variable = touch(&b.join("y.so"));
        let beside = touch(&dir.path().join("libpocketflow_plugin_z.so"));
        touch(&dir.path().join("other.so"));
        let inside = touch(&dir.path().join("plugins/libpocketflow_plugin_w.so"));
        let path = Some(OsString::from(format!(":{}", b.display())));

        let places = named(vec![a.clone(), a.join("x.so")], path);
        assert_eq!(places, [a.clone(), a.join("x.so"), b]);
        let dirs = PluginDirs { named: places, program: Some(dir.path().into()) };
        assert_eq!(files(&dirs).files, [explicit, variable, beside.clone(), inside.clone()]);
        let none = PluginDirs { named: named(vec![], None), program: Some(dir.path().into()) };
        assert_eq!(files(&none).files, [beside, inside]);
        assert!(files(&PluginDirs::default()).files.is_empty());
    }

    #[test]
    fn a_named_place_that_is_not_there_is_told() {
        let found = files(&only(&[Path::new("/nowhere/at/all")]));
        assert!(found.failures[0].reason.contains("No such file"), "{}", found.failures[0].reason);
        let program = PluginDirs { named: vec![], program: Some("/nowhere".into()) };
        assert!(files(&program).failures.is_empty());
    }

    #[test]
    fn a_file_that_is_found_twice_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let file = touch(&dir.path().join("a.so"));
        std::os::unix::fs::symlink(&file, dir.path().join("b.so")).unwrap();
        std::os::unix::fs::symlink("/nowhere", dir.path().join("c.so")).unwrap();
        fs::copy(&file, dir.path().join("d.so")).unwrap();
        let found = files(&only(&[dir.path(), &file]));
        assert_eq!(found.files, std::slice::from_ref(&file));
        assert_eq!(found.failures.len(), 1, "a link to nothing");
        // Another file of the same length is another.
        let mut bytes = fs::read(&file).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(dir.path().join("d.so"), bytes).unwrap();
        assert_eq!(files(&only(&[dir.path()])).files.len(), 2);
    }
}
