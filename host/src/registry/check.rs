//! `plugins check FILE`: everything that can be said of one library.

use super::Source;
use super::claims::{Claims, Reserved};
use super::examine::{Memory, examine};
use crate::discover::cache::Cache;
use crate::discover::handshake::{self, HandshakeError};
use pocketflow::plugin::Declaration;
use std::path::{Path, PathBuf};

/// What a library is, and what is wrong with it.
#[derive(Debug, Clone, Default)]
pub struct Check {
    /// Of the library.
    pub path: PathBuf,
    /// The interface version it speaks; `None` where it has no handshake.
    pub interface: Option<u32>,
    /// The version of libtorch it was built for.
    pub libtorch: Option<String>,
    /// Its plugins that could say what they are.
    pub declarations: Vec<Declaration>,
    /// Nothing: the host can use it.
    pub problems: Vec<String>,
}

impl Check {
    /// Whether the host can use it.
    pub fn is_usable(&self) -> bool {
        self.problems.is_empty()
    }
}

pub fn check(path: &Path, reserved: &Reserved) -> Check {
    let mut check = Check { path: path.to_owned(), ..Check::default() };
    // The system's loader looks a bare file name up in its own folders.
    let path = match path.canonicalize() {
        Ok(path) => path,
        Err(error) => {
            check.problems.push(format!("cannot be read: {error}"));
            return check;
        }
    };
    match handshake::read(&path) {
        Ok(handshake) => {
            check.interface = Some(handshake.interface());
            check.libtorch = handshake.libtorch();
        }
        Err(HandshakeError::TooOld { found } | HandshakeError::TooNew { found }) => check.interface = Some(found),
        // The loader comes to the same and says it.
        Err(_) => {}
    }
    // Tried anew, whatever is known of it.
    let mut cache = Cache::open();
    let examined = examine(std::slice::from_ref(&path), &mut cache, Memory::Renew).pop();
    cache.save();
    match examined.unwrap_or_else(|| Err("it was not looked at".into())) {
        Ok(described) => {
            check.problems = described.failures;
            let mut claims = Claims::new(reserved);
            for declaration in described.declarations {
                if let Err(problem) = claims.admit(&declaration, &Source::File(path.clone())) {
                    check.problems.push(problem);
                }
                check.declarations.push(declaration);
            }
        }
        Err(reason) => check.problems.push(reason),
    }
    check
}
