//! TOML, through the `toml` crate's spanned tree, which goes on after an error and so finds them
//! all.

use super::{Entry, Fault, Lines, twice};
use crate::layers::leaf::Raw;
use std::collections::HashSet;
use toml::de::{DeInteger, DeTable, DeValue};

pub fn parse(text: &str) -> (Vec<Entry>, Vec<Fault>) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let table = table.into_inner();
    let lines = Lines::of(text);
    let faults: Vec<Fault> = errors.iter().map(|error| fault(text, &lines, &table, error)).collect();
    let broken: HashSet<usize> = faults.iter().filter_map(|fault| fault.line).collect();
    let mut entries: Vec<Entry> = table
        .iter()
        .map(|(key, value)| Entry {
            key: key.get_ref().to_string(),
            line: lines.at(key.span().start),
            raw: raw(value.get_ref()),
        })
        // What the parser put in place of what it could not read is no setting.
        .filter(|entry| !broken.contains(&entry.line))
        .collect();
    entries.sort_by_key(|entry| entry.line);
    (entries, faults)
}

fn fault(text: &str, lines: &Lines, table: &DeTable<'_>, error: &toml::de::Error) -> Fault {
    let Some(span) = error.span() else {
        return Fault { line: None, text: format!("no valid TOML: {}", error.message()) };
    };
    let line = lines.at(span.start);
    let source = lines.text(text, line);
    if error.message() == "duplicate key" {
        let key = text.get(span).unwrap_or_default().trim_matches(['"', '\'']);
        if let Some((first, _)) = table.get_key_value(key) {
            return Fault::new(line, twice(key, lines.at(first.span().start)));
        }
    }
    let mut said = format!("no valid TOML: {}", error.message().replace('\n', ", "));
    if source.split_once('=').is_some_and(|(_, value)| matches!(value.trim(), "True" | "False" | "TRUE" | "FALSE")) {
        said.push_str("; TOML writes true and false in lower case");
    }
    Fault::new(line, said)
}

fn raw(value: &DeValue<'_>) -> Raw {
    match value {
        DeValue::String(text) => Raw::Text(text.to_string()),
        DeValue::Integer(number) => integer(number),
        DeValue::Float(number) => match number.as_str().parse() {
            Ok(number) => Raw::Float(number),
            Err(_) => Raw::Other(format!("the number {number}")),
        },
        DeValue::Boolean(value) => Raw::Bool(*value),
        DeValue::Datetime(_) => Raw::Other("a date or time".into()),
        DeValue::Array(items) => Raw::List(items.iter().map(|item| raw(item.get_ref())).collect()),
        DeValue::Table(_) => Raw::Table,
    }
}

fn integer(number: &DeInteger<'_>) -> Raw {
    match i64::from_str_radix(number.as_str(), number.radix()) {
        Ok(number) => Raw::Int(number),
        Err(_) => Raw::Other(format!("the number {number}, which does not fit in 64 bits")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(text: &str) -> Raw {
        let (entries, faults) = parse(text);
        assert_eq!(faults, []);
        entries.into_iter().next().unwrap().raw
    }

    #[test]
    fn numbers_in_every_notation() {
        assert_eq!(only("a = 1_000"), Raw::Int(1000));
        assert_eq!(only("a = 0x10"), Raw::Int(16));
        assert_eq!(only("a = -9223372036854775808"), Raw::Int(i64::MIN));
        assert_eq!(only("a = 1e-4"), Raw::Float(1e-4));
        assert_eq!(only("a = 1_0.5"), Raw::Float(10.5));
        assert_eq!(only("a = inf"), Raw::Float(f64::INFINITY));
        assert!(only("a = 9223372036854775808").shown().contains("64 bits"));
        assert_eq!(only("a = 2020-01-01"), Raw::Other("a date or time".into()));
    }

    #[test]
    fn python_spelling_gets_a_hint() {
        let (entries, faults) = parse("a = 1\nenbl_dst = True\n");
        assert_eq!(entries.len(), 1);
        assert!(faults[0].text.ends_with("lower case"), "{}", faults[0].text);
    }
}
