//! An option, declared once by its owner. Flag, environment variable, file key, help, completion,
//! reference page and the checks on a value are all derived from the [`OptionSpec`].

mod choice;
mod declare;
mod host;
mod key;

pub use choice::Choice;
pub use host::{EvalSplit, ExecMode, HostOptions};
pub use key::{FromValue, Key};

use crate::names;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::RangeInclusive;

/// The value of an option.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// Of a [`Kind::Switch`].
    Bool(bool),
    /// Of a [`Kind::Int`].
    Int(i64),
    /// Of a [`Kind::Float`].
    Float(f64),
    /// Of a [`Kind::Text`], a [`Kind::Path`] or a [`Kind::Choice`].
    Text(String),
    /// Of a [`Kind::Floats`].
    Floats(Vec<f64>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Text(value) => value.fmt(f),
            Self::Floats(values) => {
                let texts: Vec<String> = values.iter().map(f64::to_string).collect();
                f.write_str(&texts.join(","))
            }
        }
    }
}

/// What values an option takes. Bounds are inclusive; an infinite bound leaves the range open, and
/// numbers are finite all the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Kind {
    /// `--key`, `--key=True`, `--key=false`.
    Switch,
    /// A whole number: `4`, `1_000`.
    Int {
        /// The least that is taken; `i64::MIN` leaves it open.
        min: i64,
        /// The most that is taken; `i64::MAX` leaves it open.
        max: i64,
    },
    /// A number: `0.5`, `1e-3`, `4`.
    Float {
        /// The least that is taken; −∞ leaves it open.
        min: f64,
        /// The most that is taken; ∞ leaves it open.
        max: f64,
    },
    /// Any text.
    Text,
    /// A path of a file or a folder; never empty.
    Path,
    /// One of these words, spelt exactly so.
    Choice(Vec<String>),
    /// A comma-separated list of numbers.
    Floats {
        /// The least that each number may be; −∞ leaves it open.
        min: f64,
        /// The most that each number may be; ∞ leaves it open.
        max: f64,
    },
}

/// Why a value was refused; the caller adds key and origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Not of the option's kind.
    #[error("expected {expected}, got `{got}`")]
    Type {
        /// What [`Kind`]'s `Display` says of the kind.
        expected: String,
        /// The value, as it was given.
        got: String,
    },
    /// The text for a path is empty.
    #[error("the path is empty; leave it out for the default")]
    EmptyPath,
    /// A number beyond the option's bounds.
    #[error("{got} is out of range: {expected}")]
    Range {
        /// What [`Kind`]'s `Display` says of the kind.
        expected: String,
        /// The value, as it was given.
        got: String,
    },
    /// A number that is infinite or not a number.
    #[error("{got} is not a finite number: expected {expected}")]
    Infinite {
        /// What [`Kind`]'s `Display` says of the kind.
        expected: String,
        /// The value, as it was given.
        got: String,
    },
    /// No word of a [`Kind::Choice`].
    #[error("`{got}` is not one of {choices}{hint}")]
    Choice {
        /// The word, as it was given.
        got: String,
        /// The words there are, separated by commas.
        choices: String,
        /// `; did you mean …?` where one of the words is near, else empty.
        hint: String,
    },
}

impl Kind {
    /// Reads a value as a person writes it in a flag or an environment variable.
    pub fn parse(&self, text: &str) -> Result<Value, ValueError> {
        let wrong = || ValueError::Type { expected: self.to_string(), got: text.to_owned() };
        let value = match self {
            Self::Switch => match text.to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" => Value::Bool(true),
                "false" | "0" | "no" | "off" => Value::Bool(false),
                _ => return Err(wrong()),
            },
            Self::Int { .. } => Value::Int(text.trim().replace('_', "").parse().map_err(|_| wrong())?),
            Self::Float { .. } => Value::Float(text.trim().parse().map_err(|_| wrong())?),
            Self::Text | Self::Path | Self::Choice(_) => Value::Text(text.to_owned()),
            Self::Floats { .. } => {
                let parsed: Result<Vec<f64>, _> = text.split(',').map(|part| part.trim().parse()).collect();
                Value::Floats(parsed.map_err(|_| wrong())?)
            }
        };
        self.check(value)
    }

    /// Takes a typed value (from a file), widening an integer to a float where a float is asked
    /// for; checks the range.
    pub fn check(&self, value: Value) -> Result<Value, ValueError> {
        let wrong = |got: &Value| ValueError::Type { expected: self.to_string(), got: got.to_string() };
        let outside = |got: &Value| {
            let (expected, got_text) = (self.to_string(), got.to_string());
            let finite = match got {
                Value::Float(number) => number.is_finite(),
                Value::Floats(numbers) => numbers.iter().all(|number| number.is_finite()),
                _ => true,
            };
            match finite {
                true => ValueError::Range { expected, got: got_text },
                false => ValueError::Infinite { expected, got: got_text },
            }
        };
        let within = |number: &f64, min: &f64, max: &f64| number.is_finite() && number >= min && number <= max;
        match (self, value) {
            (Self::Switch, value @ Value::Bool(_)) => Ok(value),
            (Self::Int { min, max }, Value::Int(number)) => match number {
                number if (*min..=*max).contains(&number) => Ok(Value::Int(number)),
                number => Err(outside(&Value::Int(number))),
            },
            (Self::Float { min, max }, Value::Int(number)) => {
                Self::Float { min: *min, max: *max }.check(Value::Float(number as f64))
            }
            (Self::Float { min, max }, Value::Float(number)) => match number {
                number if within(&number, min, max) => Ok(Value::Float(number)),
                number => Err(outside(&Value::Float(number))),
            },
            (Self::Path, Value::Text(text)) if text.is_empty() => Err(ValueError::EmptyPath),
            (Self::Text | Self::Path, value @ Value::Text(_)) => Ok(value),
            (Self::Choice(choices), Value::Text(text)) => {
                if choices.contains(&text) {
                    return Ok(Value::Text(text));
                }
                let hint = names::hint(&text, choices.iter().map(String::as_str));
                Err(ValueError::Choice { got: text, choices: choices.join(", "), hint })
            }
            (Self::Floats { min, max }, Value::Floats(numbers)) => {
                match numbers.iter().all(|number| within(number, min, max)) {
                    true => Ok(Value::Floats(numbers)),
                    false => Err(outside(&Value::Floats(numbers))),
                }
            }
            (Self::Floats { .. }, Value::Int(number)) => self.check(Value::Floats(vec![number as f64])),
            (Self::Floats { .. }, Value::Float(number)) => self.check(Value::Floats(vec![number])),
            (_, value) => Err(wrong(&value)),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Switch => f.write_str("True or False"),
            Self::Int { min: i64::MIN, max: i64::MAX } => f.write_str("a whole number"),
            Self::Int { min, max: i64::MAX } => write!(f, "a whole number, {min} or more"),
            Self::Int { min, max } => write!(f, "a whole number from {min} to {max}"),
            Self::Float { min, max } if min.is_infinite() && max.is_infinite() => f.write_str("a number"),
            Self::Float { min, max } if max.is_infinite() => write!(f, "a number, {min} or more"),
            Self::Float { min, max } => write!(f, "a number from {min} to {max}"),
            Self::Text => f.write_str("text"),
            Self::Path => f.write_str("a path"),
            Self::Choice(choices) => f.write_str(&choices.join("|")),
            Self::Floats { min, max } => write!(f, "numbers from {min} to {max}, separated by commas"),
        }
    }
}

/// What a run does with the file or folder that an option of [`Kind::Path`] names. The program
/// checks the files that will be written before the work begins, so that a training does not end at
/// a path that cannot be written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PathUse {
    /// It is read.
    #[default]
    Read,
    /// It is read; where there is none, it is written first and then read.
    Made,
    /// It is written. Where the option is unset, a file of the name `in_run_dir` in the run's
    /// folder is written instead.
    Written {
        /// Name of the file in the run's folder; `None`: nothing is written where the option is
        /// unset.
        in_run_dir: Option<String>,
    },
}

/// One option: declared once, by the plugin (or the host) that owns it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OptionSpec {
    /// Snake case, as in files: `batch_size`.
    pub key: String,
    /// Further keys that mean the same.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// What values it takes.
    pub kind: Kind,
    /// `None`: the option may stay unset.
    #[serde(default)]
    pub default: Option<Value>,
    /// One or two sentences; units and special values named.
    #[serde(default)]
    pub doc: String,
    /// What becomes of the file that a [`Kind::Path`] names; of no meaning for other kinds.
    #[serde(default)]
    pub path_use: PathUse,
}

impl OptionSpec {
    /// An option of any kind; `doc` is its help text.
    pub fn new(key: &str, kind: Kind, default: Option<Value>, doc: &str) -> Self {
        Self { key: key.into(), aliases: Vec::new(), kind, default, doc: doc.into(), path_use: PathUse::Read }
    }

    /// A [`Kind::Switch`].
    pub fn switch(key: &str, default: bool, doc: &str) -> Self {
        Self::new(key, Kind::Switch, Some(Value::Bool(default)), doc)
    }

    /// A [`Kind::Int`] with inclusive bounds.
    pub fn int(key: &str, default: i64, range: RangeInclusive<i64>, doc: &str) -> Self {
        Self::new(key, Kind::Int { min: *range.start(), max: *range.end() }, Some(Value::Int(default)), doc)
    }

    /// A [`Kind::Float`] with inclusive bounds; infinite ones leave it open.
    pub fn float(key: &str, default: f64, range: RangeInclusive<f64>, doc: &str) -> Self {
        Self::new(key, Kind::Float { min: *range.start(), max: *range.end() }, Some(Value::Float(default)), doc)
    }

    /// A [`Kind::Text`].
    pub fn text(key: &str, default: &str, doc: &str) -> Self {
        Self::new(key, Kind::Text, Some(Value::Text(default.into())), doc)
    }

    /// A [`Kind::Path`] that is read, until [`OptionSpec::output`] or its like says otherwise.
    pub fn path(key: &str, default: &str, doc: &str) -> Self {
        Self::new(key, Kind::Path, Some(Value::Text(default.into())), doc)
    }

    /// A [`Kind::Choice`] among words; `default` is one of them.
    pub fn choice(key: &str, default: &str, choices: &[&str], doc: &str) -> Self {
        let choices = choices.iter().map(|choice| (*choice).to_owned()).collect();
        Self::new(key, Kind::Choice(choices), Some(Value::Text(default.into())), doc)
    }

    /// One of the words of an enum.
    pub fn one_of<T: Choice>(key: &str, default: T, doc: &str) -> Self {
        let words: Vec<&str> = T::WORDS.iter().map(|(word, _)| *word).collect();
        Self::choice(key, default.word(), &words, doc)
    }

    /// A [`Kind::Floats`] with inclusive bounds for each number, unset by default.
    pub fn floats(key: &str, range: RangeInclusive<f64>, doc: &str) -> Self {
        Self::new(key, Kind::Floats { min: *range.start(), max: *range.end() }, None, doc)
    }

    /// The same option under one more key.
    #[must_use]
    pub fn alias(mut self, alias: &str) -> Self {
        self.aliases.push(alias.into());
        self
    }

    /// The same option without a default: it stays unset until somebody sets it.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.default = None;
        self
    }

    /// The same option with another text, where owners have different things to say of it.
    #[must_use]
    pub fn doc(mut self, doc: impl Into<String>) -> Self {
        self.doc = doc.into();
        self
    }

    /// The same option of a path that a run writes.
    #[must_use]
    pub fn output(mut self) -> Self {
        self.path_use = PathUse::Written { in_run_dir: None };
        self
    }

    /// The same option of a path that a run writes; where it is unset, the run writes `name` in its
    /// folder.
    #[must_use]
    pub fn output_or(mut self, name: &str) -> Self {
        self.path_use = PathUse::Written { in_run_dir: Some(name.into()) };
        self
    }

    /// The same option of a path that a run reads, and writes first where nothing is there.
    #[must_use]
    pub fn made_if_missing(mut self) -> Self {
        self.path_use = PathUse::Made;
        self
    }

    /// Whether a run writes the file that the option names, if only where nothing is there yet.
    pub fn is_output(&self) -> bool {
        self.kind == Kind::Path && self.path_use != PathUse::Read
    }

    /// The flag: `--batch-size` without the dashes in front.
    pub fn flag(&self) -> String {
        self.key.replace('_', "-")
    }

    /// The environment variable: `POCKETFLOW_BATCH_SIZE`.
    pub fn variable(&self) -> String {
        format!("POCKETFLOW_{}", self.key.to_ascii_uppercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_every_notation() {
        let float = Kind::Float { min: 0.0, max: 1.0 };
        assert_eq!(float.parse("1e-4"), Ok(Value::Float(1e-4)));
        assert_eq!(float.check(Value::Int(1)), Ok(Value::Float(1.0)));
        assert!(matches!(float.parse("2"), Err(ValueError::Range { .. })));
        assert!(matches!(float.parse("NaN"), Err(ValueError::Infinite { .. })));
        let int = Kind::Int { min: 1, max: 32 };
        assert_eq!(int.parse("4"), Ok(Value::Int(4)));
        assert_eq!(int.parse("33").unwrap_err().to_string(), "33 is out of range: a whole number from 1 to 32");
        assert_eq!(int.parse("four").unwrap_err().to_string(), "expected a whole number from 1 to 32, got `four`");
    }

    #[test]
    fn numbers_are_finite_whatever_the_range() {
        let open = Kind::Float { min: 0.0, max: f64::INFINITY };
        let any = Kind::Floats { min: f64::NEG_INFINITY, max: f64::INFINITY };
        for bad in [f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
            assert!(matches!(open.check(Value::Float(bad)), Err(ValueError::Infinite { .. })), "{bad}");
            assert!(matches!(any.check(Value::Floats(vec![0.5, bad])), Err(ValueError::Infinite { .. })), "{bad}");
        }
        let message = open.parse("inf").unwrap_err().to_string();
        assert_eq!(message, "inf is not a finite number: expected a number, 0 or more");
        assert_eq!(open.parse("1e300"), Ok(Value::Float(1e300)));
        assert!(any.parse("1,inf").is_err() && any.parse("nan").is_err());
        // A number that no f64 holds.
        assert!(matches!(open.parse("1e999"), Err(ValueError::Infinite { .. })));
    }

    #[test]
    fn switches_in_any_case() {
        for text in ["True", "TRUE", "true", "1"] {
            assert_eq!(Kind::Switch.parse(text), Ok(Value::Bool(true)));
        }
        assert!(Kind::Switch.parse("maybe").is_err());
    }

    /// Plugins that were built before paths had a use declare none.
    #[test]
    fn a_path_without_a_use_is_read() {
        let spec = OptionSpec::path("plan", "", "Bits.").output_or("plan.toml");
        let mut written = serde_json::to_value(&spec).unwrap();
        assert_eq!(serde_json::from_value::<OptionSpec>(written.clone()).unwrap(), spec);
        written.as_object_mut().unwrap().remove("path_use").unwrap();
        let read: OptionSpec = serde_json::from_value(written).unwrap();
        assert_eq!(read.path_use, PathUse::Read);
        assert!(spec.is_output() && !read.is_output());
    }

    #[test]
    fn choices_suggest_the_right_case() {
        let choice = Kind::Choice(vec!["channel".into(), "split".into()]);
        let message = choice.parse("Split").unwrap_err().to_string();
        assert_eq!(message, "`Split` is not one of channel, split; did you mean `split`?");
    }
}
