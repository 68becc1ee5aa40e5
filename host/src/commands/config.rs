//! `host config show|explain|init`: the settings with their origins, one option in full, a file to
//! begin with.
//!
//! Each function returns the text for stdout; nothing here prints.

mod explain;
mod init;

pub use explain::explain;
pub use init::init;

use crate::cli::Format;
use crate::layers::catalogue::{Owner, shown};
use crate::layers::{Layers, Selection, text_of};
use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use pocketflow::Result;
use pocketflow::names::shown_line;
use pocketflow::option::{OptionSpec, Value};
use pocketflow::plugin::Declaration;
use pocketflow::settings::{Origin, Setting, Settings};
use serde_json::json;

/// Every resolved value of the host and the selected plugins: where it came from and what it
/// overrode.
///
/// # Errors
/// As [`Layers::select`] and [`Layers::resolve`].
pub fn show(layers: &Layers, declarations: &[Declaration], format: Format) -> Result<String> {
    let selection = layers.select(declarations)?;
    let settings = layers.resolve(&selection.owners())?;
    Ok(match format {
        Format::Text => table(&settings, &owners(&selection)),
        Format::Json => json(&settings),
    })
}

/// The host, then the selected plugins.
fn owners(selection: &Selection<'_>) -> Vec<Owner> {
    std::iter::once(Owner::host()).chain(selection.owners().into_iter().map(Owner::of)).collect()
}

fn table(settings: &Settings, owners: &[Owner]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["key", "value", "from", "instead of"]);
    for owner in owners {
        let own: Vec<(&str, &Setting)> = settings.iter().filter(|(_, setting)| setting.owner == owner.name).collect();
        if !own.is_empty() {
            table.add_row([format!("# {owner}")]);
        }
        for (key, setting) in own {
            let overrode: Vec<String> = setting.overrode.iter().map(overridden).collect();
            let value = shown_line(&shown(setting.value.as_ref())).into_owned();
            table.add_row([
                key.to_owned(),
                value,
                shown_line(&setting.origin.to_string()).into_owned(),
                overrode.join(", "),
            ]);
        }
    }
    // No padding before the first column, none after the last.
    let lines: Vec<String> =
        table.lines().map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned()).collect();
    lines.join("\n")
}

fn overridden((value, origin): &(Option<Value>, Origin)) -> String {
    shown_line(&format!("{} ({origin})", shown(value.as_ref()))).into_owned()
}

fn json(settings: &Settings) -> String {
    let entry = |setting: &Setting| {
        let overrode: Vec<_> = setting
            .overrode
            .iter()
            .map(|(value, origin)| json!({ "value": value, "origin": origin.to_string() }))
            .collect();
        json!({
            "value": setting.value,
            "origin": setting.origin.to_string(),
            "overrode": overrode,
            "owner": setting.owner,
        })
    };
    let entries: serde_json::Map<String, serde_json::Value> =
        settings.iter().map(|(key, setting)| (key.to_owned(), entry(setting))).collect();
    format!("{:#}", json!({ "settings": entries }))
}

/// A line for a file: the default, or what a value looks like.
fn example(spec: &OptionSpec) -> String {
    match &spec.default {
        Some(value) => format!("{} = {}", spec.key, text_of(value)),
        None => format!("{} = …", spec.key),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::layers::sample::{declarations, try_layers};

    pub fn disagreeing() -> Layers {
        let files = [
            ("a.toml", "learner = 'uniform'\nnet = 'resnet_at_cifar10'\nuql_weight_bits = 8\n"),
            ("b.yaml", "uql_weight_bits: 6\nuql_boundaries: [15, 40]\n"),
        ];
        try_layers(&[("uql_use_buckets", "TRUE")], &files, &[("POCKETFLOW_SAVE_PATH", "m.ckpt")]).unwrap()
    }

    #[test]
    fn the_table_says_what_was_overridden() {
        insta::assert_snapshot!(show(&disagreeing(), &declarations(), Format::Text).unwrap(), @r"
        key                      value                    from                           instead of
        # host
        amp                      False                    default of host
        data_dir                 (unset)                  default of host
        dataset                  auto                     default of host
        device                   auto                     default of host
        enbl_dst                 False                    default of host
        enbl_warm_start          False                    default of host
        eval_split               eval                     default of host
        exec_mode                train                    default of host
        input_mean               (unset)                  default of host
        input_std                (unset)                  default of host
        learner                  uniform                  a.toml:1                       full-prec (default of host)
        loss_w_dst               4.0                      default of host
        n                        1                        default of host
        net                      resnet_at_cifar10        a.toml:2
        parent_learner           full-prec                default of host
        resume                   False                    default of host
        run_dir                  (unset)                  default of host
        save_path                m.ckpt                   variable POCKETFLOW_SAVE_PATH  ./models/model.ckpt (default of host)
        save_path_dst            ./models_dst/model.ckpt  default of host
        save_step                10000                    default of host
        seed                     0                        default of host
        stand_in_for             (unset)                  default of host
        summ_step                100                      default of host
        tempr_dst                4.0                      default of host
        threads                  0                        default of host
        worker_timeout           25                       default of host
        # learner uniform
        uql_activation_bits      32                       default of uniform
        uql_bit_plan             (unset)                  default of uniform
        uql_boundaries           15,40                    b.yaml:2
        uql_bucket_type          channel                  default of uniform
        uql_quant_epoch          60.0                     default of uniform
        uql_use_buckets          True                     flag --uql-use-buckets         False (default of uniform)
        uql_weight_bits          6                        b.yaml:1                       8 (a.toml:3), 4 (default of uniform)
        # net resnet_at_cifar10
        lrn_rate_init            0.4                      default of resnet_at_cifar10
        resnet_size              8                        default of resnet_at_cifar10
        # dataset cifar10
        batch_size               128                      default of cifar10
        # agent rl-agent
        ddpg_tau                 0.01                     default of rl-agent
        ");
    }

    #[test]
    fn json_has_the_same() {
        let text = show(&disagreeing(), &declarations(), Format::Json).unwrap();
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            read["settings"]["uql_weight_bits"],
            json!({
                "value": 6,
                "origin": "b.yaml:1",
                "overrode": [{ "value": 8, "origin": "a.toml:3" }, { "value": 4, "origin": "default of uniform" }],
                "owner": "uniform",
            })
        );
        assert_eq!(read["settings"]["run_dir"]["value"], serde_json::Value::Null);
    }
}
