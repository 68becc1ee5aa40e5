//! Loads a library: handshake, libtorch if it needs one, then the library itself and what it declares.

use crate::discover::handshake;
use crate::libtorch::Libtorch;
use pocketflow::Result;
use pocketflow::abi::{Library, OpenError};
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

/// Why a library cannot be used.
pub struct Refusal {
    pub reason: String,
    /// It is so until the file changes, and was found without running code of it.
    pub lasting: bool,
}

impl Refusal {
    fn passing(reason: impl ToString) -> Self {
        Self { reason: reason.to_string(), lasting: false }
    }
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

    /// # Errors
    /// See [`Refusal`].
    pub fn load(&mut self, path: &Path) -> Result<Loaded, Refusal> {
        let handshake = handshake::read(path)
            .map_err(|error| Refusal { reason: error.to_string(), lasting: error.is_lasting() })?;
        let wanted = handshake.libtorch();
        if let Some(libtorch) = self.libtorch(wanted.as_deref()).map_err(Refusal::passing)? {
            libtorch.open().map_err(Refusal::passing)?;
        }
        let library = Library::open(path).map_err(|error: OpenError| Refusal::passing(error))?;
        let declared = library.declarations().map_err(Refusal::passing)?;
        if declared.is_empty() {
            let hint = "does it name the crates whose plugins it exports (`use pocketflow_synthetic as _;`)?";
            return Err(Refusal::passing(format!("it holds no plugins; {hint}")));
        }
        let mut loaded = Loaded { library, libtorch: wanted, declarations: Vec::new(), failures: Vec::new() };
        for declared in declared {
            match declared.result {
                Ok(declaration) => loaded.declarations.push(declaration),
                Err(error) => loaded.failures.push(format!("{} `{}`: {error}", declared.kind, declared.name)),
            }
        }
        Ok(loaded)
    }
}
