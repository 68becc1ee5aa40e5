//! Makes a folder with the program, its plugins and libtorch that runs wherever it is moved.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cargo::Program;
use crate::checkout::Checkout;
use crate::error::Error;
use crate::libraries;
use crate::meter::{bytes_in, megabytes};
use crate::setup::{LIBRARY, Libtorch};

/// What the folder holds from the root of the checkout.
const DOCUMENTS: [&str; 2] = ["LICENSE", "README.md"];

/// A file to put into the folder.
#[derive(Debug, PartialEq, Eq)]
struct Item {
    from: PathBuf,
    /// Relative to the folder.
    to: PathBuf,
    /// Whether its symbols, which only a debugger reads, can go.
    binary: bool,
}

impl Item {
    fn binary(from: &Path, to: impl Into<PathBuf>) -> Self {
        Self { from: from.to_path_buf(), to: to.into(), binary: true }
    }

    fn text(from: &Path, to: impl Into<PathBuf>) -> Self {
        Self { from: from.to_path_buf(), to: to.into(), binary: false }
    }
}

/// Where the folder will be: `dir`, absolute. Asked before anything is built, so that a refusal
/// comes at once.
///
/// # Errors
/// [`Error::DistInTheWay`] where `dir` holds something else.
pub fn place(dir: &Path) -> Result<PathBuf, Error> {
    let dir = std::path::absolute(dir).map_err(Error::io("find", dir))?;
    if may_be_replaced(&dir) { Ok(dir) } else { Err(Error::DistInTheWay { path: dir }) }
}

/// Makes `dir`, a [`place`], such a folder, instead of an older one.
///
/// # Errors
/// [`Error::Io`] where the system refuses.
pub fn dist(checkout: &Checkout, program: &Program, libtorch: &Libtorch, dir: &Path) -> Result<(), Error> {
    // Beside its final place, so that the rename is one step and an interrupted run leaves the old
    // folder whole.
    let mut staging = OsString::from(dir);
    staging.push(".partial");
    let staging = PathBuf::from(staging);
    remove(&staging)?;
    for item in contents(checkout.root(), program, libtorch)? {
        let to = staging.join(&item.to);
        let folder = to.parent().unwrap_or(&staging);
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        fs::copy(&item.from, &to).map_err(Error::io("copy", &item.from))?;
        if item.binary {
            strip(&to);
        }
    }
    let version = staging.join("libtorch/build-version");
    fs::write(&version, format!("{}\n", libtorch.version)).map_err(Error::io("write", &version))?;
    remove(dir)?;
    fs::rename(&staging, dir).map_err(Error::io("make", dir))?;
    eprintln!(
        "Made {} ({}): move it where you like and run {}",
        dir.display(),
        megabytes(bytes_in(dir)),
        dir.join("host").display()
    );
    Ok(())
}

/// Whether `dir` is free, empty, or an older folder of this kind.
fn may_be_replaced(dir: &Path) -> bool {
    match fs::read_dir(dir) {
        Ok(mut entries) => entries.next().is_none() || dir.join("libtorch/build-version").is_file(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

fn remove(folder: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(folder) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", folder)(source)),
        _ => Ok(()),
    }
}

/// Every file of the folder but the one that tells libtorch's version.
fn contents(root: &Path, program: &Program, libtorch: &Libtorch) -> Result<Vec<Item>, Error> {
    let name = |path: &Path| path.file_name().map(PathBuf::from).unwrap_or_default();
    let mut items = vec![Item::binary(&program.host, "host")];
    items.extend(program.plugins.iter().map(|plugin| Item::binary(plugin, Path::new("plugins").join(name(plugin)))));

    let programs: Vec<&Path> = std::iter::once(&program.host).chain(&program.plugins).map(PathBuf::as_path).collect();
    let first = LIBRARY.trim_start_matches("lib/");
    // All in one folder: each of them looks beside itself ($ORIGIN), wherever else it looks.
    for (name, file) in libraries::needed(&programs, &[first], &libtorch.dir.join("lib"))? {
        items.push(Item::binary(&file, Path::new("libtorch/lib").join(name)));
    }
    items.extend(licenses(&libtorch.dir));
    items.extend(
        DOCUMENTS.iter().filter(|name| root.join(name).is_file()).map(|name| Item::text(&root.join(name), *name)),
    );
    Ok(items)
}

/// What the owners of libtorch and its companions want handed on with them: the `licenses` of a
/// wheel's `NAME-VERSION.dist-info`.
fn licenses(libtorch: &Path) -> Vec<Item> {
    let mut items = Vec::new();
    let Some(wheels) = libtorch.parent() else { return items };
    for wheel in fs::read_dir(wheels).into_iter().flatten().flatten() {
        let wheel_name = wheel.file_name();
        let Some(package) = wheel_name.to_str().and_then(|name| name.strip_suffix(".dist-info")) else { continue };
        // A Python installation has hundreds of other packages beside libtorch.
        if !(package.starts_with("torch-") || package.starts_with("nvidia_cuda_")) {
            continue;
        }
        for license in fs::read_dir(wheel.path().join("licenses")).into_iter().flatten().flatten() {
            if license.path().is_file() {
                let to = Path::new("libtorch/licenses").join(package).join(license.file_name());
                items.push(Item::text(&license.path(), to));
            }
        }
    }
    items.sort_by(|a, b| a.to.cmp(&b.to));
    items
}

/// Takes the symbols out (a fifth of libtorch). Without binutils the folder is larger and just as
/// good.
fn strip(file: &Path) {
    let done = Command::new("strip").arg("--strip-unneeded").arg(file).stderr(Stdio::null()).status();
    if !done.is_ok_and(|status| status.success()) {
        eprintln!("strip did not work on {}: its symbols stay in", file.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_free_place_or_an_older_folder_is_taken() {
        let dir = tempfile::tempdir().expect("a folder");
        assert!(may_be_replaced(&dir.path().join("new")));
        assert!(may_be_replaced(dir.path()), "empty");
        fs::write(dir.path().join("host"), "someone's file").expect("written");
        assert!(!may_be_replaced(dir.path()));
        assert!(matches!(place(dir.path()), Err(Error::DistInTheWay { .. })));
        assert!(!may_be_replaced(&dir.path().join("host")), "a file");
        fs::create_dir(dir.path().join("libtorch")).expect("created");
        fs::write(dir.path().join("libtorch/build-version"), "2.11.0").expect("written");
        assert!(may_be_replaced(dir.path()));
    }

    #[test]
    fn licenses_of_the_wheels_and_of_nobody_else_go_along() {
        let dir = tempfile::tempdir().expect("a folder");
        for name in [
            "torch-2.11.0.dist-info/licenses/LICENSE",
            "torch-2.11.0.dist-info/METADATA",
            "nvidia_cuda_runtime-13.0.96.dist-info/licenses/License.txt",
            "numpy-2.4.0.dist-info/licenses/LICENSE.txt",
            "torch/lib/libtorch_cpu.so",
        ] {
            let file = dir.path().join(name);
            fs::create_dir_all(file.parent().expect("has one")).expect("created");
            fs::write(file, "x").expect("written");
        }
        let to: Vec<PathBuf> = licenses(&dir.path().join("torch")).into_iter().map(|item| item.to).collect();
        assert_eq!(
            to,
            [
                Path::new("libtorch/licenses/nvidia_cuda_runtime-13.0.96/License.txt"),
                Path::new("libtorch/licenses/torch-2.11.0/LICENSE"),
            ]
        );
    }

    #[test]
    fn the_folder_holds_program_plugins_libraries_and_documents() {
        // This test's own program stands for each binary: it needs nothing of libtorch.
        let exe = std::env::current_exe().expect("known");
        let dir = tempfile::tempdir().expect("a folder");
        let torch = dir.path().join("torch");
        fs::create_dir_all(torch.join("lib")).expect("created");
        fs::copy(&exe, torch.join(LIBRARY)).expect("copied");
        fs::copy(&exe, torch.join("lib/libtorch_global_deps.so")).expect("copied");
        fs::write(dir.path().join("LICENSE"), "x").expect("written");
        let plugin = dir.path().join("libpocketflow_plugin_uniform.so");
        fs::copy(&exe, &plugin).expect("copied");
        let program = Program { host: exe, plugins: vec![plugin] };
        let libtorch = Libtorch { dir: torch, version: crate::version::WANTED };
        let items = contents(dir.path(), &program, &libtorch).expect("readable");
        let to: Vec<&str> = items.iter().filter_map(|item| item.to.to_str()).collect();
        assert_eq!(to, ["host", "plugins/libpocketflow_plugin_uniform.so", "libtorch/lib/libtorch_cpu.so", "LICENSE"]);
        assert!(items[..3].iter().all(|item| item.binary) && !items[3].binary);
    }
}
