//! Loads a library into this process: libtorch if it needs one, then the library itself and what it
//! declares. It has been tried in another process before; see [`super::examine`].

use crate::discover::handshake;
use crate::libtorch::Libtorch;
use pocketflow::Result;
use pocketflow::abi::Library;
use pocketflow::error::Context;
use pocketflow::plugin::Declaration;
use std::collections::HashMap;
use std::path::Path;

/// Remembers which libtorch serves which version, for many libraries in a row.
#[derive(Default)]
pub struct Loader {
    libtorch: HashMap<String, Result<Libtorch>>,
}

/// A library that is open.
pub struct Loaded {
    pub library: Library,
    pub libtorch: Option<String>,
    pub declarations: Vec<Declaration>,
    /// Plugins of it that cannot say what they are.
    pub failures: Vec<String>,
}

impl Loader {
    /// The libtorch for a library that was built for a version, or for none.
    ///
    /// # Errors
    /// There is none that fits.
    pub fn libtorch(&mut self, wanted: Option<&str>) -> Result<Option<&Libtorch>> {
        let Some(wanted) = wanted else { return Ok(None) };
        let found = self.libtorch.entry(wanted.to_owned()).or_insert_with(|| Libtorch::find(wanted));
        found.as_ref().map(Some).map_err(Clone::clone)
    }

    /// Loads a library from the file `path`, which may be a copy of the one that people know.
    ///
    /// # Errors
    /// The library or its libtorch cannot be opened; its answer cannot be read.
    pub fn load(&mut self, path: &Path, known_as: &Path) -> Result<Loaded> {
        let handshake = handshake::read(path).map_err(failed)?;
        let wanted = handshake.libtorch();
        if let Some(libtorch) = self.libtorch(wanted.as_deref())? {
            libtorch.open()?;
        }
        let library = in_this_folder(|| Library::open(path, known_as).map_err(failed))?;
        let mut loaded = Loaded { library, libtorch: wanted, declarations: Vec::new(), failures: Vec::new() };
        for declared in library.declarations()? {
            match declared.result {
                Ok(declaration) => loaded.declarations.push(declaration),
                Err(error) => loaded.failures.push(format!("{} `{}`: {error}", declared.kind, declared.name)),
            }
        }
        Ok(loaded)
    }
}

fn failed(error: impl std::error::Error) -> pocketflow::Error {
    pocketflow::Error::failed(error.to_string())
}

/// Runs code of a library that has no business in the working directory: the paths of the settings
/// are relative to it.
fn in_this_folder<T>(open: impl FnOnce() -> Result<T>) -> Result<T> {
    let Ok(before) = std::env::current_dir() else { return open() };
    let opened = open()?;
    if std::env::current_dir().is_ok_and(|now| now != before) {
        std::env::set_current_dir(&before)
            .with_context(|| format!("it left `{}`, and there is no way back", before.display()))?;
    }
    Ok(opened)
}
