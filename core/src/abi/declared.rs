//! What a library says of its plugins.

use crate::error::Error;
use crate::plugin::{Declaration, PluginKind};
use serde::{Deserialize, Serialize};

/// One plugin of a library, as far as it could say what it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Declared {
    pub kind: PluginKind,
    pub name: String,
    /// The error: its `options()` panicked.
    pub result: Result<Declaration, Error>,
}
