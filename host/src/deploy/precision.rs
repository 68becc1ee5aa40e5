//! ONNX Runtime with its default options on processors without VNNI, where it decides otherwise
//! than everywhere else: which files are concerned, what is run twice because of it, and what users
//! are told.

use super::measure::{Measured, agreement};
use crate::report::numbers::percent;
use pocketflow_export::onnx::{may_saturate, proto};
use pocketflow_runtime::Choice;
use pocketflow_runtime::precision::{EXACT_OPTION, default_is_exact};
use prost::Message;
use serde_json::{Value, json};

/// Whether an .onnx file's answers depend on the session option where a processor has no VNNI.
pub fn needs_option(onnx: &[u8]) -> bool {
    proto::Model::decode(onnx).is_ok_and(|model| may_saturate(&model))
}

/// Whether this processor runs such a file with other answers by default.
pub fn differs_here(needs_option: bool) -> bool {
    needs_option && !default_is_exact()
}

/// The session options that a run in ONNX Runtime had, for reports; `None` for other runtimes.
pub fn session_options(runtime: &str, choice: Choice) -> Option<Value> {
    let (option, value) = EXACT_OPTION;
    match choice {
        _ if !runtime.starts_with("ONNX Runtime") => None,
        Choice::OnnxruntimeDefault => Some(json!({})),
        _ => Some(json!({ option: value })),
    }
}

/// What a program that runs the file is to do, and why.
pub fn advice() -> String {
    let (option, value) = EXACT_OPTION;
    format!(
        "set ONNX Runtime's session option {option} to {value} (in Python: \
         SessionOptions.add_session_config_entry(\"{option}\", \"{value}\")); without it, x86-64 processors that have no VNNI \
         instructions add products in 16 bits, which saturate, and decide otherwise; processors with VNNI and ARM do not need it"
    )
}

/// What to do where the option cannot be set.
pub const INSTEAD: &str =
    "where the option cannot be set, `host export --onnx_reduce_range` writes weights that need none";

/// What `input.json` says of an integer .onnx file.
pub fn facts(needs_option: bool) -> Value {
    let (option, value) = EXACT_OPTION;
    let mut facts = json!({
        "type": "float32", "input": "(pixel - mean) / std by channel, with the file's own metadata mean and std",
        "session_options": {},
    });
    if needs_option {
        facts["session_options"] = json!({ option: value });
        facts["why"] = advice().into();
    }
    facts
}

/// How the default options' answers differ from the exact ones.
pub fn difference(exact: &Measured, default: &Measured) -> String {
    let alike = agreement(&exact.classes, &default.classes).map_or("-".into(), percent);
    format!(
        "this processor has no VNNI: with ONNX Runtime's default options top-1 is {}, with the session option {}; they decide \
         alike on {alike} of the images",
        percent(default.top1),
        percent(exact.top1)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_figures_are_named() {
        let measured = |top1, classes: &[u32]| Measured { top1, classes: classes.to_vec(), ..Measured::default() };
        let text = difference(&measured(0.75, &[1, 2, 3, 4]), &measured(0.5, &[1, 2, 0, 0]));
        for part in ["no VNNI", "default options top-1 is 50.00 %", "the session option 75.00 %", "alike on 50.00 %"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn programs_are_told_what_to_set() {
        let option = "session.x64quantprecision";
        let facts = [true, false].map(facts);
        assert_eq!(facts[0]["session_options"], json!({ option: "1" }));
        assert!(facts[0]["why"].as_str().unwrap().contains("VNNI"));
        assert_eq!((&facts[1]["session_options"], facts[1].get("why")), (&json!({}), None));
    }

    #[test]
    fn options_of_a_run() {
        assert_eq!(session_options("LiteRT 2.3.0", Choice::Auto), None);
        let exact = session_options("ONNX Runtime 1.32.0", Choice::Auto).unwrap();
        assert_eq!(exact, json!({ "session.x64quantprecision": "1" }));
        let default = session_options("ONNX Runtime 1.32.0 (default options)", Choice::OnnxruntimeDefault).unwrap();
        assert_eq!(default, json!({}));
    }

    #[test]
    fn what_is_no_onnx_file_needs_nothing() {
        assert!(!needs_option(b"\xff\xff\xff\xff") && !needs_option(b""));
        assert!(!differs_here(false));
    }
}
