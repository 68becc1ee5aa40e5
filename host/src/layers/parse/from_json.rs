//! JSON, through `serde_json`'s raw values: each is a slice of the text, so its place in the text
//! is its line.

use super::{Entry, Fault, Lines};
use crate::layers::leaf::Raw;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use std::fmt;

pub fn parse(text: &str) -> (Vec<Entry>, Vec<Fault>) {
    let object: Object<'_> = match serde_json::from_str(text) {
        Ok(object) => object,
        Err(error) => return (Vec::new(), vec![invalid(error.line().max(1), &error)]),
    };
    let lines = Lines::of(text);
    let (mut entries, mut faults) = (Vec::new(), Vec::new());
    for (key, value) in object.0 {
        // The slice lies within the text: the raw value borrows from it.
        let place = (value.get().as_ptr().addr()).saturating_sub(text.as_ptr().addr());
        let line = lines.at(place);
        match serde_json::from_str(value.get()) {
            Ok(value) => entries.push(Entry { key, line, raw: raw(value) }),
            Err(error) => faults.push(invalid(line + error.line().saturating_sub(1), &error)),
        }
    }
    (entries, faults)
}

fn invalid(line: usize, error: &serde_json::Error) -> Fault {
    let text = error.to_string();
    // The place is said by the line; serde_json's own is relative to the slice.
    let text = text.split(" at line ").next().unwrap_or_default();
    Fault::new(line, format!("no valid JSON: {text}"))
}

fn raw(value: Value) -> Raw {
    match value {
        Value::Null => Raw::Null,
        Value::Bool(value) => Raw::Bool(value),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => Raw::Int(number),
            (None, Some(number_f)) if number.is_f64() => Raw::Float(number_f),
            _ => Raw::Other(format!("the number {number}, which does not fit in 64 bits")),
        },
        Value::String(text) => Raw::Text(text),
        Value::Array(items) => Raw::List(items.into_iter().map(raw).collect()),
        Value::Object(_) => Raw::Table,
    }
}

/// The members of an object in order; a map would hide one that is given twice.
struct Object<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with keys and values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_text_and_nothing() {
        let (entries, faults) = parse(r#"{"a": 18446744073709551615, "b": 1.0, "c": null, "d": "\ud83d\ude00\/"}"#);
        assert_eq!(faults, []);
        assert!(entries[0].raw.shown().contains("64 bits"));
        assert_eq!(entries[1].raw, Raw::Float(1.0));
        assert_eq!(entries[2].raw, Raw::Null);
        assert_eq!(entries[3].raw, Raw::Text("😀/".into()));
    }
}
