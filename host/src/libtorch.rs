//! Finds libtorch and opens it before the first plugin that needs it, by absolute path and for all
//! libraries: plugins then need no run path of their own, all share one libtorch, and its CUDA half
//! is there where it is installed.

use crate::discover::cache;
use pocketflow::{Error, ErrorKind, Result};
use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::{env, fs};

static CUDA: AtomicBool = AtomicBool::new(false);

/// Whether the libtorch that is open can use GPUs, if the machine has any.
pub fn has_cuda() -> bool {
    CUDA.load(Ordering::Relaxed)
}

/// A libtorch on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Libtorch {
    /// The folder that `LIBTORCH` would name; the libraries are in `lib`.
    pub root: PathBuf,
    /// `2.11.0`.
    pub version: String,
}

/// Where to look.
#[derive(Debug, Default)]
struct Places {
    /// `LIBTORCH`: if set, nothing else counts.
    variable: Option<PathBuf>,
    /// The folder of the program: a `libtorch` beside it, or the checkout that it was built in.
    program: Option<PathBuf>,
    /// The user's cache, where `cargo xtask` puts what it fetches.
    cache: Option<PathBuf>,
}

impl Libtorch {
    /// Finds the libtorch for a plugin that was built for version `wanted`.
    ///
    /// # Errors
    /// There is none, or only another version.
    pub fn find(wanted: &str) -> Result<Self> {
        let variable = env::var_os("LIBTORCH").filter(|value| !value.is_empty()).map(PathBuf::from);
        let program = env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_owned));
        Places { variable, program, cache: cache::folder() }.find(wanted)
    }

    /// Opens it, once; it stays open.
    ///
    /// # Errors
    /// The system cannot load it; another libtorch is open.
    pub fn open(&self) -> Result<()> {
        static OPEN: Mutex<Option<PathBuf>> = Mutex::new(None);
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        match &*open {
            Some(root) if *root == self.root => return Ok(()),
            Some(root) => {
                let message = "a process can use one libtorch, and that in";
                let (root, other) = (root.display(), self.root.display());
                return Err(Error::failed(format!("{message} `{root}` is open already, not that in `{other}`")));
            }
            None => {}
        }
        load(&self.library("torch_cpu"))?;
        let cuda = self.library("torch_cuda");
        if cuda.exists() {
            match load(&cuda) {
                Ok(()) => CUDA.store(true, Ordering::Relaxed),
                Err(error) => tracing::warn!("libtorch's CUDA half cannot be used, only the CPU: {error}"),
            }
        }
        // It holds nothing itself, but names the halves; a libtorch trimmed to its CPU half cannot
        // satisfy it, nor needs to.
        if let Err(error) = load(&self.library("torch")) {
            tracing::debug!("{error}");
        }
        tracing::debug!("libtorch {} of `{}` is open", self.version, self.root.display());
        *open = Some(self.root.clone());
        Ok(())
    }

    fn library(&self, name: &str) -> PathBuf {
        library(&self.root, name)
    }
}

fn library(root: &Path, name: &str) -> PathBuf {
    root.join("lib").join(format!("{DLL_PREFIX}{name}{DLL_SUFFIX}"))
}

impl Places {
    fn find(&self, wanted: &str) -> Result<Libtorch> {
        if let Some(root) = &self.variable {
            let root = root.canonicalize().unwrap_or_else(|_| root.clone());
            if !library(&root, "torch_cpu").exists() {
                let (root, library) = (root.display(), library(Path::new(""), "torch_cpu"));
                let message = format!("LIBTORCH is `{root}`, and there is no `{}` in it", library.display());
                return Err(Error::config(message).context(needed(wanted)));
            }
            return fits(root, wanted);
        }
        let mut roots = Vec::new();
        if let Some(program) = &self.program {
            roots.push(program.join("libtorch"));
            // target/release/deps/x → the checkout.
            roots.extend(program.ancestors().take(4).map(|folder| folder.join(".libtorch").join("torch")));
        }
        roots.extend(self.cache.iter().map(|cache| cache.join(format!("pocketflow/libtorch-{wanted}/torch"))));
        let mut unfit = None;
        for root in roots.into_iter().filter(|root| library(root, "torch_cpu").exists()) {
            let root = root.canonicalize().unwrap_or(root);
            match fits(root, wanted) {
                Ok(libtorch) => return Ok(libtorch),
                Err(error) => unfit = unfit.or(Some(error)),
            }
        }
        let message = format!(
            "{}, and none is found: `cargo xtask host` fetches it, or set LIBTORCH to its folder",
            needed(wanted)
        );
        Err(unfit.unwrap_or_else(|| Error::config(message)))
    }
}

fn needed(wanted: &str) -> String {
    format!("it needs libtorch {wanted}")
}

fn fits(root: PathBuf, wanted: &str) -> Result<Libtorch> {
    let version = version(&root);
    match version {
        Some(version) if version == wanted => Ok(Libtorch { root, version }),
        Some(version) => {
            let root = root.display();
            Err(Error::config(format!(
                "built for libtorch {wanted}, this host has {version} (in `{root}`): rebuild it"
            )))
        }
        None => {
            let message = format!("cannot tell the version of the libtorch in `{}`", root.display());
            Err(Error::config(message).context(needed(wanted)))
        }
    }
}

/// The version of a libtorch, from one of the files that its distributions have, without what
/// follows a `+`.
fn version(root: &Path) -> Option<String> {
    let read = |name: &str| fs::read_to_string(root.join(name)).ok();
    let quoted = |text: String| {
        let line = text.lines().find_map(|line| line.strip_prefix("__version__"))?.to_owned();
        line.split(['\'', '"']).nth(1).map(str::to_owned)
    };
    let full = read("build-version").or_else(|| read("version.py").and_then(quoted));
    let full = full.or_else(|| read("include/torch/headeronly/version.h").as_deref().and_then(defined))?;
    let version = full.trim().split('+').next().unwrap_or_default();
    (!version.is_empty()).then(|| version.to_owned())
}

/// Of the header that plugins are built against.
fn defined(header: &str) -> Option<String> {
    let number = |part: &str| {
        let line = header.lines().find(|line| line.contains(&format!("define TORCH_VERSION_{part} ")))?;
        line.split_whitespace().last()
    };
    Some(format!("{}.{}.{}", number("MAJOR")?, number("MINOR")?, number("PATCH")?))
}

fn load(path: &Path) -> Result<()> {
    let opened = open_for_all(path.as_os_str());
    // Its own message says only which call failed; the system's reason is its cause.
    opened.map_err(|error| {
        let reason = Error::from_error(ErrorKind::Failed, &error);
        reason.context(format!("cannot load `{}`", path.display()))
    })
}

#[cfg(unix)]
fn open_for_all(path: &OsStr) -> Result<(), libloading::Error> {
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_LAZY};
    // SAFETY: its constructors are libtorch's; the user or this repository's own commands chose
    // this libtorch.
    let library = unsafe { Library::open(Some(path), RTLD_LAZY | RTLD_GLOBAL) }?;
    // Closing libtorch runs its teardown below threads that still use it.
    std::mem::forget(library);
    Ok(())
}

#[cfg(not(unix))]
fn open_for_all(path: &OsStr) -> Result<(), libloading::Error> {
    // SAFETY: as for Unix.
    std::mem::forget(unsafe { libloading::Library::new(path) }?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn install(root: &Path, version: &str) -> PathBuf {
        let library = library(root, "torch_cpu");
        fs::create_dir_all(library.parent().unwrap()).unwrap();
        fs::write(library, "").unwrap();
        fs::write(root.join("version.py"), format!("import x\n__version__ = '{version}'\ndebug = False\n")).unwrap();
        root.canonicalize().unwrap()
    }

    #[test]
    fn the_variable_wins_and_is_final() {
        let dir = tempfile::tempdir().unwrap();
        let beside = install(&dir.path().join("libtorch"), "2.11.0");
        let other = install(&dir.path().join("other"), "2.11.0+cu130");
        let mut places = Places { program: Some(dir.path().into()), ..Places::default() };
        assert_eq!(places.find("2.11.0").unwrap().root, beside);
        places.variable = Some(other.clone());
        assert_eq!(places.find("2.11.0").unwrap(), Libtorch { root: other, version: "2.11.0".into() });
        places.variable = Some(dir.path().join("nothing"));
        let message = places.find("2.11.0").unwrap_err().to_string();
        assert!(message.contains("LIBTORCH is") && message.contains("libtorch_cpu.so"), "{message}");
    }

    #[test]
    fn a_checkout_and_the_cache_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("target/release/deps");
        fs::create_dir_all(&program).unwrap();
        let cached = install(&dir.path().join("cache/pocketflow/libtorch-2.11.0/torch"), "2.11.0");
        let places = Places { program: Some(program), cache: Some(dir.path().join("cache")), variable: None };
        assert_eq!(places.find("2.11.0").unwrap().root, cached);
        let checkout = install(&dir.path().join(".libtorch/torch"), "2.11.0");
        assert_eq!(places.find("2.11.0").unwrap().root, checkout);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places { program: Some(dir.path().into()), ..Places::default() };
        let message = places.find("2.11.0").unwrap_err().to_string();
        assert!(message.contains("cargo xtask host") && message.contains("LIBTORCH"), "{message}");
        install(&dir.path().join("libtorch"), "2.11.0");
        let message = places.find("2.9.0").unwrap_err().to_string();
        assert!(message.starts_with("built for libtorch 2.9.0, this host has 2.11.0"), "{message}");
    }

    #[test]
    fn versions_from_each_kind_of_file() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(version(dir.path()), None);
        fs::create_dir_all(dir.path().join("include/torch/headeronly")).unwrap();
        let header = "#define TORCH_VERSION_MAJOR 2\n#define TORCH_VERSION_MINOR 10\n#define TORCH_VERSION_PATCH 1\n";
        fs::write(dir.path().join("include/torch/headeronly/version.h"), header).unwrap();
        assert_eq!(version(dir.path()).as_deref(), Some("2.10.1"));
        fs::write(dir.path().join("version.py"), "__version__ = \"2.11.0+cpu\"").unwrap();
        assert_eq!(version(dir.path()).as_deref(), Some("2.11.0"));
        fs::write(dir.path().join("build-version"), "2.12.0+cpu\n").unwrap();
        assert_eq!(version(dir.path()).as_deref(), Some("2.12.0"));
    }
}
