//! `host config explain KEY`: one option in full, and its value now.

use super::{example, overridden, owners};
use crate::cli::Format;
use crate::layers::catalogue::{Owned, shown};
use crate::layers::{Layers, variable};
use pocketflow::names::shown_line;
use pocketflow::plugin::Declaration;
use pocketflow::settings::Setting;
use pocketflow::{Error, Result};
use serde_json::json;
use std::fmt::Write as _;

/// All about one option: `key` is a key, an alias, a flag or a variable.
///
/// # Errors
/// No plugin has such an option (the message has the nearest), or as [`show`](super::show).
pub fn explain(key: &str, layers: &Layers, declarations: &[Declaration], format: Format) -> Result<String> {
    let bare = key.trim_start_matches('-').replace('-', "_");
    let bare = bare.strip_prefix("POCKETFLOW_").map(str::to_ascii_lowercase).unwrap_or(bare);
    let catalogue = layers.catalogue();
    let (key, all) = catalogue.find(&bare).ok_or_else(|| Error::config(catalogue.unknown(key)))?;
    let selection = layers.select(declarations)?;
    let settings = layers.resolve(&selection.owners())?;
    let in_use = owners(&selection);
    let setting = |owned: &Owned| settings.entry(key).filter(|_| in_use.contains(&owned.owner));
    Ok(match format {
        Format::Text => {
            let blocks: Vec<String> = all.iter().map(|owned| block(owned, setting(owned))).collect();
            blocks.join("\n\n")
        }
        Format::Json => {
            let blocks: Vec<_> = all.iter().map(|owned| json_block(owned, setting(owned))).collect();
            format!("{:#}", json!({ "options": blocks }))
        }
    })
}

fn block(Owned { owner, spec }: &Owned, setting: Option<&Setting>) -> String {
    let mut text = format!("{} (option of {owner})\n  {}\n", spec.key, spec.doc);
    let mut line = |name: &str, value: String| {
        let _ = write!(text, "\n  {name:<11}{}", shown_line(&value));
    };
    line("type", spec.kind.to_string());
    line("default", shown(spec.default.as_ref()));
    if !spec.aliases.is_empty() {
        line("aliases", spec.aliases.join(", "));
    }
    line("flag", format!("--{}", spec.flag()));
    line("variable", spec.variable());
    line("in a file", example(spec));
    match setting {
        Some(setting) => {
            line("value", format!("{} ({})", shown(setting.value.as_ref()), setting.origin));
            for overrode in &setting.overrode {
                line("", format!("instead of {}", overridden(overrode)));
            }
        }
        None => {
            let how = owner.selector().map(|flag| format!("; select it with {flag}")).unwrap_or_default();
            line("value", format!("not in use: {owner} is not selected{how}"));
        }
    }
    text
}

fn json_block(Owned { owner, spec }: &Owned, setting: Option<&Setting>) -> serde_json::Value {
    json!({
        "key": spec.key,
        "owner": owner.to_string(),
        "doc": spec.doc,
        "type": spec.kind.to_string(),
        "default": spec.default,
        "aliases": spec.aliases,
        "flag": format!("--{}", spec.flag()),
        "variable": variable(&spec.key),
        "selected": setting.is_some(),
        "value": setting.and_then(|setting| setting.value.clone()),
        "origin": setting.map(|setting| setting.origin.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::config::tests::disagreeing;
    use crate::layers::sample::declarations;

    #[test]
    fn explains_an_option_under_any_of_its_names() {
        let layers = disagreeing();
        let explained = |key: &str| explain(key, &layers, &declarations(), Format::Text);
        insta::assert_snapshot!(explained("uql_weight_bits").unwrap(), @r"
        uql_weight_bits (option of learner uniform)
          Bits; 32 turns quantization off.

          type       a whole number from 1 to 32
          default    4
          flag       --uql-weight-bits
          variable   POCKETFLOW_UQL_WEIGHT_BITS
          in a file  uql_weight_bits = 4
          value      6 (b.yaml:1)
                     instead of 8 (a.toml:3)
                     instead of 4 (default of uniform)
        ");
        insta::assert_snapshot!(explained("resnet_size").unwrap(), @r"
        resnet_size (option of net resnet_at_cifar10)
          Layers.

          type       a whole number from 8 to 110
          default    8
          flag       --resnet-size
          variable   POCKETFLOW_RESNET_SIZE
          in a file  resnet_size = 8
          value      8 (default of resnet_at_cifar10)

        resnet_size (option of net resnet_at_ilsvrc12)
          Layers.

          type       a whole number from 18 to 152
          default    18
          flag       --resnet-size
          variable   POCKETFLOW_RESNET_SIZE
          in a file  resnet_size = 18
          value      not in use: net resnet_at_ilsvrc12 is not selected; select it with --net=resnet_at_ilsvrc12
        ");
        for name in ["uql_quant_epochs", "--uql-quant-epochs", "POCKETFLOW_UQL_QUANT_EPOCH", "uql-quant_epoch"] {
            assert!(explained(name).unwrap().starts_with("uql_quant_epoch (option of learner uniform)"), "{name}");
        }
        insta::assert_snapshot!(explained("uql_bits").unwrap_err(), @"unknown key `uql_bits`; did you mean `uql_bit_plan`?");
        let text = explain("resnet_size", &layers, &declarations(), Format::Json).unwrap();
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["options"][0]["selected"], true);
        assert_eq!(read["options"][0]["origin"], "default of resnet_at_cifar10");
        assert_eq!(read["options"][1]["selected"], false);
        assert_eq!(read["options"][1]["default"], 18);
    }
}
