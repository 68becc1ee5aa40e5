//! What crosses is read without the fields that may be missing and with fields that nobody knows
//! yet: each struct of each committed value is changed in every such way, one at a time.

use super::golden::{Golden, bytes};
use super::samples::samples;
use rmpv::Value;

/// The fields without which a value means nothing, by sample; all others may be missing. Of a
/// variant all fields must be there: what is new comes as another variant.
fn needed(sample: &str, fields: &[(Value, Value)]) -> &'static [&'static str] {
    let has = |name: &str| fields.iter().any(|(field, _)| field.as_str() == Some(name));
    match sample.split('.').next().unwrap_or(sample) {
        "agent_space" => &["state_dims", "action_dims", "action_max", "rollouts", "steps"],
        "dataset_info" => &["name", "shape", "labels", "mean", "std"],
        "declarations" => &["kind", "name", "result"],
        "events" => &[
            "event",
            "name",
            "steps",
            "done",
            "phase",
            "step",
            "epoch",
            "loss",
            "top1",
            "top5",
            "lrn_rate",
            "images_per_second",
            "text",
            "split",
            "value",
            "classes",
            "seconds",
            "warning",
        ],
        "graph" | "graph_later" => &[
            "name",
            "nodes",
            "op",
            "in",
            "shape",
            "out",
            "kernel",
            "stride",
            "padding",
            "groups",
            "bias",
            "eps",
            "start",
            "end",
            "ceil",
            "count_padding",
            "slope",
            "by_channel",
            "values",
            "probability",
        ],
        // A place among several workers is both numbers, or a single worker's: `group` is missing.
        "job" => &["settings", "net_id", "run_dir", "entries", "rank", "size"],
        // What nets used to say of fine-tuning, of which the rate is still read.
        "recipes" if !has("schedule") && !has("kind") => &["lrn_rate"],
        "recipes" => &["epochs", "schedule", "kind", "init", "factor", "boundaries", "peak", "warm_up"],
        "requests" => &["index", "count"],
        "settings" => &["entries"],
        _ => &[],
    }
}

/// The ways to all maps in a value, by position.
fn maps(value: &Value, way: &mut Vec<usize>, found: &mut Vec<Vec<usize>>) {
    let parts: Vec<&Value> = match value {
        Value::Map(entries) => {
            found.push(way.clone());
            entries.iter().map(|(_, part)| part).collect()
        }
        Value::Array(parts) => parts.iter().collect(),
        _ => return,
    };
    for (at, part) in parts.into_iter().enumerate() {
        way.push(at);
        maps(part, way, found);
        way.pop();
    }
}

fn map<'a>(value: &'a mut Value, way: &[usize]) -> &'a mut Vec<(Value, Value)> {
    let part = way.iter().fold(value, |value, at| match value {
        Value::Map(entries) => &mut entries[*at].1,
        Value::Array(parts) => &mut parts[*at],
        other => panic!("no part of {other}"),
    });
    match part {
        Value::Map(entries) => entries,
        other => panic!("{other} is no map"),
    }
}

/// A variant with data, `{"Int": {…}}`, and the settings by their keys are no structs.
fn is_struct(entries: &[(Value, Value)]) -> bool {
    let key = entries.first().and_then(|(key, _)| key.as_str()).unwrap_or_default();
    let is_variant = key.starts_with(char::is_uppercase) || key == "written";
    !is_variant && !key.starts_with("uql_")
}

fn packed(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, value).unwrap();
    bytes
}

/// Calls back with each struct: the sample, its value, and the way there.
fn each_struct(mut with: impl FnMut(&dyn Golden, &Value, &[usize])) {
    for sample in samples() {
        let value = rmpv::decode::read_value(&mut bytes(sample.name()).as_slice()).unwrap();
        assert_eq!(packed(&value), bytes(sample.name()), "nothing is lost on the way");
        let mut ways = Vec::new();
        maps(&value, &mut Vec::new(), &mut ways);
        for way in ways {
            if is_struct(map(&mut value.clone(), &way)) {
                with(sample.as_ref(), &value, &way);
            }
        }
    }
}

#[test]
fn a_field_that_nobody_knows_is_passed_over() {
    each_struct(|sample, value, way| {
        let mut newer = value.clone();
        let strange = Value::Map(vec![("a".into(), Value::Array(vec![Value::Nil, Value::F64(f64::NAN)]))]);
        map(&mut newer, way).push(("of_a_newer_version".into(), strange));
        sample.compare(&packed(&newer));
    });
}

#[test]
fn a_field_may_be_missing_unless_nothing_can_stand_for_it() {
    let mut wrong = Vec::new();
    each_struct(|sample, value, way| {
        let fields = map(&mut value.clone(), way).clone();
        for at in 0..fields.len() {
            let mut older = value.clone();
            let (field, _) = map(&mut older, way).remove(at);
            let field = field.as_str().unwrap_or_default();
            let refused = sample.refused(&packed(&older));
            match (needed(sample.name(), &fields).contains(&field), refused) {
                // What cannot be read of a plugin is no error of the library.
                (true, None) if !sample.name().starts_with("declarations") => {
                    wrong.push(format!("{}: without `{field}` it means nothing and is read", sample.name()));
                }
                (true, Some(error)) if !error.to_string().contains(&format!("`{field}`")) => {
                    wrong.push(format!("{}: without `{field}`, which is not named: {error}", sample.name()));
                }
                (false, Some(error)) => wrong.push(format!("{}: without `{field}`: {error}", sample.name())),
                _ => {}
            }
        }
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
