//! Where a runtime's library is: where the user says, or where Python's package manager put it.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pocketflow::{Error, Result};

/// A library that runs exported files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Library {
    /// Runs .tflite.
    Litert,
    /// Runs .onnx.
    Onnxruntime,
}

/// Where the user says that the libraries are: a file, or a folder that has it (also a virtual
/// environment or a `site-packages` folder).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LibraryPaths {
    /// Where LiteRT is; `None`: looked for.
    pub litert: Option<PathBuf>,
    /// Where ONNX Runtime is; `None`: looked for.
    pub onnxruntime: Option<PathBuf>,
}

impl LibraryPaths {
    /// The place that was given for `library`.
    pub fn of(&self, library: Library) -> Option<&Path> {
        match library {
            Library::Litert => self.litert.as_deref(),
            Library::Onnxruntime => self.onnxruntime.as_deref(),
        }
    }
}

/// No library, and where it was looked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{library} not found; looked at {}. {}", .tried.join(", "), .library.advice())]
pub struct NotFound {
    /// The one that was looked for.
    pub library: Library,
    /// Folders and names, in words, in the order of looking.
    pub tried: Vec<String>,
    /// Whether the user named a place, where it is not.
    pub named: bool,
}

impl From<NotFound> for Error {
    fn from(error: NotFound) -> Self {
        Self::config(error.to_string())
    }
}

impl fmt::Display for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Litert => "LiteRT",
            Self::Onnxruntime => "ONNX Runtime",
        })
    }
}

impl Library {
    /// The environment variable that says where it is.
    pub fn variable(self) -> &'static str {
        match self {
            Self::Litert => "POCKETFLOW_LITERT",
            Self::Onnxruntime => "POCKETFLOW_ONNXRUNTIME",
        }
    }

    /// What to do where it is missing or cannot be used.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Litert => {
                "`pip install ai-edge-litert==2.3.0` in the active environment, or name its libLiteRt.so (or the folder \
                 that has it) in POCKETFLOW_LITERT"
            }
            Self::Onnxruntime => {
                "`pip install onnxruntime==1.32.0` in the active environment, or name its libonnxruntime.so (or the \
                 folder that has it) in POCKETFLOW_ONNXRUNTIME"
            }
        }
    }

    /// Where Python's package has the library, below `site-packages`.
    fn package(self) -> &'static str {
        match self {
            Self::Litert => "ai_edge_litert",
            Self::Onnxruntime => "onnxruntime/capi",
        }
    }

    /// Whether a file is called as the library is: `libonnxruntime.so.1.32.0`, `onnxruntime.dll`,
    /// `libLiteRt.dylib`.
    fn is_named(self, file: &str) -> bool {
        let stem = match self {
            Self::Litert => "LiteRt",
            Self::Onnxruntime => "onnxruntime",
        };
        let Some(rest) = file.strip_prefix("lib").unwrap_or(file).strip_prefix(stem) else { return false };
        let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit() || c == '.');
        match rest.split_once(".so") {
            Some((version, after)) => version.is_empty() && digits(after),
            None => rest == ".dll" || rest.strip_suffix(".dylib").is_some_and(digits),
        }
    }
}

/// What is asked of the world, so that tests can answer for it.
struct World<'a> {
    variable: &'a dyn Fn(&str) -> Option<OsString>,
    /// `site-packages` of the Python on PATH, its own and the user's.
    python: &'a dyn Fn() -> Vec<PathBuf>,
    system: &'a [&'a str],
}

/// The library's file: at `explicit`, else where its variable says, else in the active virtual
/// environment, in the packages of `python3` on PATH, or among the system's libraries. A place that
/// the user names is the only one looked at.
///
/// # Errors
/// Not there, with what was looked at.
pub fn find(library: Library, explicit: Option<&Path>) -> Result<PathBuf, NotFound> {
    let world = World {
        variable: &|name| std::env::var_os(name).filter(|value| !value.is_empty()),
        python: &python_packages,
        system: &[
            "/usr/local/lib",
            "/usr/lib",
            "/usr/lib64",
            "/usr/lib/x86_64-linux-gnu",
            "/usr/lib/aarch64-linux-gnu",
        ],
    };
    find_in(library, explicit, &world)
}

fn find_in(library: Library, explicit: Option<&Path>, world: &World<'_>) -> Result<PathBuf, NotFound> {
    let missing = |tried, named| NotFound { library, tried, named };
    if let Some(path) = explicit {
        return at(library, path).ok_or_else(|| missing(vec![path.display().to_string()], true));
    }
    if let Some(path) = (world.variable)(library.variable()).map(PathBuf::from) {
        let place = format!("{} ({})", path.display(), library.variable());
        return at(library, &path).ok_or_else(|| missing(vec![place], true));
    }
    let mut tried = Vec::new();
    let environment = (world.variable)("VIRTUAL_ENV").map(PathBuf::from);
    if let Some(path) = environment {
        if let Some(found) = at(library, &path) {
            return Ok(found);
        }
        tried.push(format!("{} (VIRTUAL_ENV)", path.display()));
    }
    let packages = (world.python)();
    if packages.is_empty() {
        tried.push("python3, which is not there".into());
    }
    for path in packages {
        if let Some(found) = at(library, &path) {
            return Ok(found);
        }
        tried.push(format!("{} (python3)", path.display()));
    }
    let loader = (world.variable)("LD_LIBRARY_PATH").unwrap_or_default();
    let folders = std::env::split_paths(&loader).filter(|path| path.is_absolute());
    for folder in folders.chain(world.system.iter().map(PathBuf::from)) {
        if let Some(found) = in_folder(library, &folder) {
            return Ok(found);
        }
        if folder.is_dir() {
            tried.push(folder.display().to_string());
        }
    }
    Err(missing(tried, false))
}

/// A file as it is; a folder: in itself, as `site-packages`, as a virtual environment.
fn at(library: Library, path: &Path) -> Option<PathBuf> {
    if path.is_file() {
        return Some(path.to_path_buf());
    }
    let package = |packages: &Path| in_folder(library, &packages.join(library.package()));
    in_folder(library, path).or_else(|| package(path)).or_else(|| {
        let lib = path.join("lib");
        let pythons = sorted_names(&lib).into_iter().filter(|name| name.starts_with("python3"));
        pythons.rev().find_map(|name| package(&lib.join(name).join("site-packages")))
    })
}

/// The newest by name of the folder's files that are called as the library is.
fn in_folder(library: Library, folder: &Path) -> Option<PathBuf> {
    let name = sorted_names(folder).into_iter().rev().find(|name| library.is_named(name))?;
    Some(folder.join(name)).filter(|path| path.is_file())
}

fn sorted_names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    names
}

/// None where there is no Python.
fn python_packages() -> Vec<PathBuf> {
    // Isolated: nothing of the working directory runs. (Without `site` it would not know its
    // virtual environment.)
    const QUESTION: &str =
        "import os, sysconfig as s\nprint(s.get_path('purelib'))\nprint(s.get_path('purelib', os.name + '_user'))";
    let mut python = Command::new("python3");
    let output = python.args(["-I", "-c", QUESTION]).stdin(Stdio::null()).stderr(Stdio::null()).output();
    let text = output.ok().and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    text.lines().map(PathBuf::from).filter(|path| path.is_absolute()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(path: &Path) -> PathBuf {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
        path.to_path_buf()
    }

    fn look(
        library: Library,
        explicit: Option<&Path>,
        set: &[(&str, &Path)],
        python: Option<&Path>,
    ) -> Result<PathBuf, NotFound> {
        let variable =
            |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_os_str().to_owned());
        let python = || python.map(Path::to_path_buf).into_iter().collect();
        find_in(library, explicit, &World { variable: &variable, python: &python, system: &[] })
    }

    #[test]
    fn names() {
        for name in ["libLiteRt.so", "libLiteRt.dylib", "libLiteRt.dll", "LiteRt.dll"] {
            assert!(Library::Litert.is_named(name), "{name}");
        }
        for name in ["libonnxruntime.so.1.32.0", "libonnxruntime.so", "libonnxruntime.1.32.0.dylib", "onnxruntime.dll"]
        {
            assert!(Library::Onnxruntime.is_named(name), "{name}");
        }
        for name in
            ["libonnxruntime_providers_shared.so", "libLiteRtWebGpuAccelerator.so", "libonnxruntime.so.txt", "x"]
        {
            assert!(!Library::Onnxruntime.is_named(name) && !Library::Litert.is_named(name), "{name}");
        }
    }

    #[test]
    fn the_nearest_place_wins() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let site = root.join("python/site-packages");
        let in_site = touch(&site.join("ai_edge_litert/libLiteRt.so"));
        assert_eq!(look(Library::Litert, None, &[], Some(&site)).unwrap(), in_site);
        let venv = root.join("venv");
        let in_venv = touch(&venv.join("lib/python3.11/site-packages/ai_edge_litert/libLiteRt.so"));
        assert_eq!(look(Library::Litert, None, &[("VIRTUAL_ENV", &venv)], Some(&site)).unwrap(), in_venv);
        let named = touch(&root.join("some.file"));
        let set = [("VIRTUAL_ENV", venv.as_path()), ("POCKETFLOW_LITERT", &named)];
        assert_eq!(look(Library::Litert, None, &set, Some(&site)).unwrap(), named);
        assert_eq!(look(Library::Litert, Some(&site), &set, None).unwrap(), in_site);
        assert_eq!(look(Library::Litert, Some(&venv), &set, None).unwrap(), in_venv);
        let system = touch(&root.join("system/libonnxruntime.so.1.32.0"));
        let set = [("LD_LIBRARY_PATH", system.parent().unwrap())];
        assert_eq!(look(Library::Onnxruntime, None, &set, Some(&site)).unwrap(), system);
    }

    #[test]
    fn what_is_not_there_is_said_with_what_to_do() {
        let empty = tempfile::tempdir().unwrap();
        let error = look(Library::Litert, None, &[("VIRTUAL_ENV", empty.path())], None).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&empty.path().display().to_string()) && text.contains("pip install"), "{text}");
        assert!(!error.named && text.contains("python3"), "{text}");
        // A place that was named is not passed over.
        let set = [("POCKETFLOW_ONNXRUNTIME", empty.path())];
        let error = look(Library::Onnxruntime, None, &set, None).unwrap_err();
        assert!(error.named && error.to_string().contains("POCKETFLOW_ONNXRUNTIME"), "{error}");
        assert!(look(Library::Onnxruntime, Some(Path::new("/nonexistent")), &[], None).unwrap_err().named);
        assert_eq!(Error::from(error).kind(), pocketflow::ErrorKind::Config);
    }
}
