//! Variants of a newer version are dropped, kept as text or refused by name, as the table in
//! [`super`] says.

use super::{inward, pack, unpack};
use crate::dataset::{Shard, Split};
use crate::error::{Error, ErrorKind, Result};
use crate::job::Event;
use crate::net::{Recipe, Schedule};
use crate::option::{Key, Value};
use crate::settings::{Origin, Settings};
use abi_stable::std_types::RResult;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};

fn read<T: DeserializeOwned>(value: &Json) -> Result<T> {
    unpack("a value", &pack("a value", value).unwrap())
}

#[test]
fn an_event() {
    let events: Vec<Event> =
        read(&json!([{ "event": "saved", "path": "a.ckpt", "parts": [1, { "a": null }] }, { "event": "idle" }]))
            .unwrap();
    assert_eq!(events, [Event::Unknown, Event::Unknown]);
}

#[test]
fn an_error() {
    let error: Error = read(&json!({ "kind": "DiskFull", "chain": ["no room", "2 GB are needed"] })).unwrap();
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Failed, "no room: 2 GB are needed"));
    let empty: Error = read(&json!({ "kind": "Config", "chain": [] })).unwrap();
    assert_eq!(format!("{empty} {empty:#}"), "it failed without a message it failed without a message");
    let nothing = inward::<()>(RResult::RErr(pack("an error", &json!({})).unwrap())).unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::Failed);
}

#[test]
fn an_origin_is_kept_as_text() {
    let setting = json!({
        "value": 4, "origin": { "Store": { "url": "x" } }, "owner": "uniform",
        "overrode": [[8, "Prompt"], [{ "a": 1 }, { "Flag": { "name": "--a" } }], [2, { "Flag": { "name": "--a" } }]],
    });
    let settings: Settings = read(&json!({ "entries": { "bits": setting } })).unwrap();
    let setting = settings.entry("bits").unwrap();
    assert_eq!(setting.origin.to_string(), "derived: from `Store`, which a newer version knows");
    assert_eq!(setting.overrode[0].1.to_string(), "derived: from `Prompt`, which a newer version knows");
    assert_eq!(setting.overrode[1], (Some(Value::Int(2)), Origin::Flag { name: "--a".into() }));
    assert_eq!(setting.overrode.len(), 2, "a value that cannot be read is left out");
}

#[test]
fn a_setting_of_an_unknown_type_is_as_if_nobody_declared_it() {
    let entries = json!({ "map": { "value": { "a": 1 } }, "bits": { "value": 4 } });
    let settings: Settings = read(&json!({ "entries": entries })).unwrap();
    assert_eq!(settings.get(Key::<u8>::new("bits")).unwrap(), 4);
    assert!(settings.get(Key::<String>::new("map")).unwrap_err().to_string().contains("`map`"));
}

#[test]
fn what_cannot_be_done_without_is_refused_by_name() {
    let recipe = json!({ "epochs": 2.0, "schedule": { "kind": "warm_restarts", "init": 0.1 } });
    let refused = |error: Error, name: &str| {
        let said = error.to_string();
        assert!(said.contains(&format!("`{name}`")) && said.contains("update the host"), "{said}");
    };
    refused(read::<Recipe>(&recipe).unwrap_err(), "warm_restarts");
    refused(read::<(Split, Shard, u64)>(&json!(["hard", { "index": 0, "count": 1 }, 7])).unwrap_err(), "hard");
}

#[test]
fn a_recipe_is_plain_unless_it_says_otherwise() {
    let schedule = Schedule::OneCycle { peak: 0.5, warm_up: 0.25 };
    let recipe: Recipe = read(&json!({ "epochs": 2.0, "schedule": &schedule })).unwrap();
    assert_eq!(recipe, Recipe::new(2.0, schedule));
    assert_eq!(recipe.lrn_rate, 0.02, "its first rate");
    recipe.check("n").unwrap();
}
