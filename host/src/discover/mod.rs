//! Where plugin files are looked for, and what a file says of itself before any of its code runs.
//!
//! `--plugin-dir`, else `POCKETFLOW_PLUGIN_PATH`, else beside the program. Never the working directory and never a folder of
//! the system: loading a library runs its code.

pub mod cache;
pub mod content;
pub mod handshake;

use crate::registry::Failure;
use std::collections::HashSet;
use std::env;
use std::env::consts::{DLL_EXTENSION, DLL_PREFIX};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// The variable: folders (or files) as in `PATH`.
pub const PATH_VARIABLE: &str = "POCKETFLOW_PLUGIN_PATH";

/// What the command line says of where plugins are.
#[derive(Debug, Clone, Default)]
pub struct PluginDirs {
    /// `--plugin-dir`, in order; none: the variable, or beside the program.
    pub explicit: Vec<PathBuf>,
}

/// Plugin files by canonical path, in the order in which they count.
#[derive(Debug, Default)]
pub struct Found {
    pub files: Vec<PathBuf>,
    /// Places that were named and cannot be read.
    pub failures: Vec<Failure>,
}

/// All plugin files, each once.
pub fn files(dirs: &PluginDirs) -> Found {
    let program = env::current_exe().ok();
    search(dirs, env::var_os(PATH_VARIABLE), program.as_deref().and_then(Path::parent))
}

fn search(dirs: &PluginDirs, variable: Option<OsString>, beside: Option<&Path>) -> Found {
    let mut search = Search::default();
    let named: Vec<PathBuf> = match variable {
        _ if !dirs.explicit.is_empty() => dirs.explicit.clone(),
        // An empty part would mean the working directory.
        Some(variable) => env::split_paths(&variable).filter(|part| !part.as_os_str().is_empty()).collect(),
        None => Vec::new(),
    };
    if named.is_empty() {
        for dir in beside.into_iter().flat_map(|dir| [dir.to_owned(), dir.join("plugins")]) {
            let plugin = format!("{DLL_PREFIX}pocketflow_plugin_");
            // No failure: a folder that nobody named need not be there.
            let _ = search.folder(&dir, |name| name.starts_with(&plugin));
        }
    }
    for place in named {
        let added = match fs::metadata(&place) {
            Ok(meta) if meta.is_dir() => search.folder(&place, |_| true),
            Ok(_) => search.file(&place),
            Err(error) => Err(error),
        };
        if let Err(error) = added {
            let reason = format!("plugins are to be looked for here, and it cannot be read: {error}");
            search.found.failures.push(Failure { path: place, reason });
        }
    }
    search.found
}

#[derive(Default)]
struct Search {
    found: Found,
    seen: HashSet<PathBuf>,
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
                self.found.failures.push(Failure { path: file, reason: format!("cannot be read: {error}") });
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
        if self.seen.insert(file.clone()) {
            self.found.files.push(file);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(path: &Path) -> PathBuf {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
        path.canonicalize().unwrap()
    }

    #[test]
    fn explicit_places_hide_the_variable_and_the_program() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| dir.path().join(name));
        let explicit = touch(&a.join("x.so"));
        touch(&a.join("x.txt"));
        let variable = touch(&b.join("y.so"));
        let beside = touch(&dir.path().join("libpocketflow_plugin_z.so"));
        touch(&dir.path().join("other.so"));
        let inside = touch(&dir.path().join("plugins/libpocketflow_plugin_w.so"));
        let path = Some(OsString::from(format!(":{}", b.display())));

        let both = PluginDirs { explicit: vec![a.clone(), a.join("x.so")] };
        assert_eq!(search(&both, path.clone(), Some(dir.path())).files, [explicit]);
        let none = PluginDirs::default();
        assert_eq!(search(&none, path, Some(dir.path())).files, [variable]);
        assert_eq!(search(&none, None, Some(dir.path())).files, [beside, inside]);
        assert!(search(&none, None, None).files.is_empty());
    }

    #[test]
    fn a_named_place_that_is_not_there_is_told() {
        let dirs = PluginDirs { explicit: vec!["/nowhere/at/all".into()] };
        let found = search(&dirs, None, None);
        assert!(found.failures[0].reason.contains("No such file"), "{}", found.failures[0].reason);
        assert!(search(&PluginDirs::default(), None, Some(Path::new("/nowhere"))).failures.is_empty());
    }

    #[test]
    fn a_link_to_a_file_found_before_is_the_same_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = touch(&dir.path().join("a.so"));
        std::os::unix::fs::symlink(&file, dir.path().join("b.so")).unwrap();
        std::os::unix::fs::symlink("/nowhere", dir.path().join("c.so")).unwrap();
        let found = search(&PluginDirs { explicit: vec![dir.path().into()] }, None, None);
        assert_eq!(found.files, [file]);
        assert_eq!(found.failures.len(), 1, "a link to nothing");
    }
}
