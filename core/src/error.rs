//! One error type for everything that crosses a plugin boundary: what went wrong, why, and which
//! exit status it deserves.
//!
//! Modules with errors of their own (graphs, files, settings) declare them with `thiserror`; they
//! become an [`Error`] with their text as the message and their causes as the chain.

use crate::tolerant;
use std::fmt;

/// A result whose error is an [`Error`], unless another is named.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure, as far as the caller must act differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Wrong usage or configuration: exit status 2.
    Config,
    /// The data set is not where it should be; `dataset = auto` falls back to its stand-in. Exit
    /// status 2.
    DataNotFound,
    /// Stopped on request after saving: exit status 130.
    Interrupted,
    /// Everything else, also kinds of newer versions: exit status 1.
    #[serde(other)]
    Failed,
}

impl ErrorKind {
    fn unknown() -> Self {
        Self::Failed
    }
}

/// A message and the chain of its causes, outermost first. Plain data, so that it crosses the
/// plugin boundary whole.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Error {
    #[serde(default = "ErrorKind::unknown")]
    kind: ErrorKind,
    #[serde(default = "tolerant::no_message", deserialize_with = "tolerant::messages")]
    chain: Vec<String>,
}

impl Error {
    /// An error of one message, without a cause.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, chain: vec![message.into()] }
    }

    /// An error of wrong usage or configuration: [`ErrorKind::Config`].
    pub fn config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    /// An error of any other kind: [`ErrorKind::Failed`].
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Failed, message)
    }

    /// An error that says where the work stopped on request: [`ErrorKind::Interrupted`].
    pub fn interrupted(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Interrupted, message)
    }

    /// Takes over an error and all its causes.
    pub fn from_error(kind: ErrorKind, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut chain = vec![error.to_string()];
        let mut source = error.source();
        while let Some(cause) = source {
            chain.push(cause.to_string());
            source = cause.source();
        }
        Self { kind, chain }
    }

    /// The same error, said from further out: `context` becomes the message, what was known the
    /// cause.
    #[must_use]
    pub fn context(mut self, context: impl Into<String>) -> Self {
        self.chain.insert(0, context.into());
        self
    }

    /// What the exit status, and whoever handles the error, go by.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The messages, outermost first; never empty.
    pub fn chain(&self) -> &[String] {
        &self.chain
    }
}

impl fmt::Display for Error {
    /// `outer: inner: innermost`, or with `{:#}` one cause a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            f.write_str(&self.chain[0])?;
            for cause in &self.chain[1..] {
                write!(f, "\n  because: {cause}")?;
            }
            Ok(())
        } else {
            f.write_str(&self.chain.join(": "))
        }
    }
}

impl std::error::Error for Error {}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::from_error(ErrorKind::Failed, &error)
    }
}

/// `.context(...)` on any result whose error becomes an [`Error`].
pub trait Context<T> {
    /// Puts `message` in front of an error, as [`Error::context`] does.
    ///
    /// # Errors
    /// The one that is there.
    fn context(self, message: impl Into<String>) -> Result<T>;
    /// As [`Context::context`], with a message that is made only where there is an error.
    ///
    /// # Errors
    /// The one that is there.
    fn with_context(self, message: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, message: impl Into<String>) -> Result<T> {
        self.map_err(|error| error.into().context(message))
    }

    fn with_context(self, message: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| error.into().context(message()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_goes_outside_and_keeps_the_kind() {
        let error = Error::config("bits out of range").context("cannot plan layer conv1");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert_eq!(error.to_string(), "cannot plan layer conv1: bits out of range");
        assert_eq!(format!("{error:#}"), "cannot plan layer conv1\n  because: bits out of range");
    }
}
