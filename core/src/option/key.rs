//! Typed keys: an option's key together with the Rust type that its value is read as.

use super::{Choice, Value};
use std::marker::PhantomData;
use std::ops::Deref;
use std::path::PathBuf;

/// The key of an option that is read as a `T`; stands for its text wherever a `&str` is wanted.
/// [`options!`](crate::options) makes one for each option that it declares. An `Option<T>` may be
/// unset, or belong to a plugin that is not selected.
pub struct Key<T> {
    name: &'static str,
    value: PhantomData<fn() -> T>,
}

impl<T> Key<T> {
    /// A key that somebody else declares.
    pub const fn new(name: &'static str) -> Self {
        Self { name, value: PhantomData }
    }

    /// The key's text, as in files.
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// The key as a flag with the text of a value, as on a command line: `--batch-size=128`.
    pub fn typed(self, text: &str) -> String {
        format!("--{}={text}", self.name.replace('_', "-"))
    }

    /// The key where nothing may declare it.
    pub const fn optional(self) -> Key<Option<T>> {
        Key::new(self.name)
    }
}

impl<T: Into<Value>> Key<T> {
    /// The key with a value, as settings are passed on.
    pub fn with(self, value: impl Into<T>) -> (String, Value) {
        (self.name.to_owned(), value.into().into())
    }

    /// The key with the text of a value, as a flag has it.
    pub fn flag(self, value: impl Into<T>) -> (String, String) {
        (self.name.to_owned(), value.into().into().to_string())
    }
}

impl<T> Key<Option<T>> {
    /// The key where the value is needed: it is an error that names the flag where it is unset.
    pub const fn needed(self) -> Key<T> {
        Key::new(self.name)
    }
}

impl<T> Clone for Key<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Key<T> {}

impl<T> Deref for Key<T> {
    type Target = str;

    fn deref(&self) -> &str {
        self.name
    }
}

/// A Rust type that an option's value can be read as.
pub trait FromValue: Sized {
    /// Converts the value; `None` where type or range do not fit.
    fn from_value(value: &Value) -> Option<Self>;

    /// What an option without a value reads as; `None` where it must have one.
    fn unset() -> Option<Self> {
        None
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: &Value) -> Option<Self> {
        T::from_value(value).map(Some)
    }

    fn unset() -> Option<Self> {
        Some(None)
    }
}

impl<T: Choice> FromValue for T {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Text(word) => Self::of_word(word),
            _ => None,
        }
    }
}

impl<T: Choice> From<T> for Value {
    fn from(value: T) -> Self {
        Self::Text(value.word().to_owned())
    }
}

macro_rules! integers {
    ($($type:ty),*) => {$(
        impl FromValue for $type {
            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    Value::Int(number) => (*number).try_into().ok(),
                    _ => None,
                }
            }
        }

        /// Numbers beyond the range of an option are its nearest.
        impl From<$type> for Value {
            fn from(number: $type) -> Self {
                Self::Int(i64::try_from(number).unwrap_or(i64::MAX))
            }
        }
    )*};
}
integers!(i64, u64, u32, u8, usize);

macro_rules! values {
    ($($type:ty: $variant:ident),*) => {$(
        impl FromValue for $type {
            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    Value::$variant(value) => Some(value.clone()),
                    _ => None,
                }
            }
        }

        impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Self::$variant(value)
            }
        }
    )*};
}
values!(bool: Bool, String: Text, Vec<f64>: Floats);

impl FromValue for f64 {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Float(number) => Some(*number),
            Value::Int(number) => Some(*number as f64),
            _ => None,
        }
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl FromValue for PathBuf {
    fn from_value(value: &Value) -> Option<Self> {
        String::from_value(value).map(Self::from)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}
