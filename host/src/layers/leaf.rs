//! One key with its value as a layer gives it, before the option's type is known to apply, and how
//! the value is then read.
//!
//! A file says more than text (`4` and `"4"` differ), a flag says only text. Both are kept as they
//! are until an [`OptionSpec`](pocketflow::option::OptionSpec) says what is wanted, because the
//! same key may belong to several nets.

use pocketflow::option::{Kind, Value, ValueError};
use pocketflow::settings::Origin;

/// A value as its source wrote it.
#[derive(Debug, Clone, PartialEq)]
pub enum Raw {
    /// Text without a type, to be read as the option wants it: flags, variables, plain scalars of
    /// YAML.
    Words(String),
    Bool(bool),
    Int(i64),
    Float(f64),
    /// Text that the source says is text.
    Text(String),
    List(Vec<Raw>),
    /// A group of keys.
    Table,
    Null,
    /// Something no option can be, as a person would call it: `a date`.
    Other(String),
}

/// A key in a layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Leaf {
    /// As written: may be an alias.
    pub key: String,
    pub raw: Raw,
    pub origin: Origin,
}

impl Raw {
    /// The value that an option of this kind takes from it.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn read(&self, kind: &Kind) -> Result<Value, String> {
        let say = |error: ValueError| error.to_string();
        match self {
            Self::Words(text) => kind.parse(text).map_err(say),
            Self::Bool(value) => kind.check(Value::Bool(*value)).map_err(say),
            Self::Int(number) => kind.check(Value::Int(*number)).map_err(say),
            Self::Float(number) => kind.check(Value::Float(*number)).map_err(say),
            Self::Text(text) => kind.check(Value::Text(text.clone())).map_err(|error| match kind.parse(text) {
                Ok(_) => format!("expected {kind}, got text; leave the quotes out"),
                Err(_) => say(error),
            }),
            Self::List(items) => match (kind, numbers(items)) {
                (Kind::Floats { .. }, Some(numbers)) => kind.check(Value::Floats(numbers)).map_err(say),
                _ => Err(format!("expected {kind}, got a list")),
            },
            Self::Table => Err(format!("expected {kind}, got a group of keys; keys are not grouped")),
            Self::Null => Err(format!("expected {kind}, got nothing; leave the key out to keep the default")),
            Self::Other(what) => Err(format!("expected {kind}, got {what}")),
        }
    }

    /// As a person would write it, for messages.
    pub fn shown(&self) -> String {
        match self {
            Self::Words(text) => text.clone(),
            Self::Bool(value) => value.to_string(),
            Self::Int(number) => number.to_string(),
            Self::Float(number) => format!("{number:?}"),
            Self::Text(text) => format!("{text:?}"),
            Self::List(items) => format!("[{}]", items.iter().map(Self::shown).collect::<Vec<_>>().join(", ")),
            Self::Table => "{…}".into(),
            Self::Null => "null".into(),
            Self::Other(what) => what.clone(),
        }
    }
}

fn numbers(items: &[Raw]) -> Option<Vec<f64>> {
    let number = |item: &Raw| match item {
        Raw::Int(number) => Some(*number as f64),
        Raw::Float(number) => Some(*number),
        Raw::Words(text) => text.trim().parse().ok(),
        _ => None,
    };
    items.iter().map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_files_say_is_read_as_the_option_wants_it() {
        let float = Kind::Float { min: 0.0, max: 1.0 };
        assert_eq!(Raw::Words("1e-4".into()).read(&float), Ok(Value::Float(1e-4)));
        assert_eq!(Raw::Int(1).read(&float), Ok(Value::Float(1.0)));
        let floats = Kind::Floats { min: 0.0, max: 1e9 };
        let list = Raw::List(vec![Raw::Int(100), Raw::Float(150.5), Raw::Words("2e2".into())]);
        assert_eq!(list.read(&floats), Ok(Value::Floats(vec![100.0, 150.5, 200.0])));
        assert_eq!(Raw::Int(100).read(&floats), Ok(Value::Floats(vec![100.0])));
        assert_eq!(Raw::Words("null".into()).read(&Kind::Text), Ok(Value::Text("null".into())));
    }

    #[test]
    fn wrong_types_say_what_they_are() {
        let int = Kind::Int { min: 1, max: 32 };
        let said = |raw: Raw, kind: &Kind| raw.read(kind).unwrap_err();
        assert_eq!(
            said(Raw::Text("4".into()), &int),
            "expected a whole number from 1 to 32, got text; leave the quotes out"
        );
        assert_eq!(said(Raw::Text("four".into()), &int), "expected a whole number from 1 to 32, got `four`");
        assert_eq!(said(Raw::Float(4.0), &int), "expected a whole number from 1 to 32, got `4.0`");
        assert_eq!(
            said(Raw::Text("True".into()), &Kind::Switch),
            "expected True or False, got text; leave the quotes out"
        );
        assert_eq!(said(Raw::List(vec![Raw::Int(1)]), &int), "expected a whole number from 1 to 32, got a list");
        assert!(said(Raw::Null, &int).contains("leave the key out"));
        assert!(said(Raw::Table, &int).contains("not grouped"));
        assert!(said(Raw::Int(3), &Kind::Text).contains("expected text"));
        assert!(said(Raw::Other("a date".into()), &Kind::Path).ends_with("got a date"));
    }
}
