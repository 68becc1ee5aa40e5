//! What the layers do together: precedence, origins, and what people read when something is wrong.

use super::*;
use crate::layers::sample::{layers, try_layers};
use pocketflow::option::{HostOptions, Key};
use proptest::prelude::*;

fn owners(names: &[&str]) -> Vec<Declaration> {
    sample::declarations().into_iter().filter(|declaration| names.contains(&declaration.name.as_str())).collect()
}

fn resolve(layers: &Layers, names: &[&str]) -> Result<Settings> {
    layers.resolve(&owners(names).iter().collect::<Vec<_>>())
}

#[test]
fn later_layers_win_and_everything_overridden_is_kept() {
    let made = try_layers(
        &[("uql_weight_bits", "1")],
        &[
            ("a.toml", "uql_weight_bits = 8\n"),
            ("b.yaml", "\nuql_weight_bits: 6\n"),
            ("c.json", "{\"uql_weight_bits\": 5}"),
        ],
        &[("POCKETFLOW_UQL_WEIGHT_BITS", "2")],
    );
    let settings = resolve(&made.unwrap(), &["uniform"]).unwrap();
    let setting = settings.entry("uql_weight_bits").unwrap();
    let said: Vec<String> = std::iter::once((&setting.value, &setting.origin))
        .chain(setting.overrode.iter().map(|(value, origin)| (value, origin)))
        .map(|(value, origin)| format!("{} ({origin})", value.as_ref().unwrap()))
        .collect();
    assert_eq!(
        said,
        [
            "1 (flag --uql-weight-bits)",
            "2 (variable POCKETFLOW_UQL_WEIGHT_BITS)",
            "5 (c.json:1)",
            "6 (b.yaml:2)",
            "8 (a.toml:1)",
            "4 (default of uniform)",
        ]
    );
    assert_eq!(setting.owner, "uniform");
    assert_eq!(settings.entry("seed").unwrap().overrode, []);
}

#[test]
fn user_file_then_project_file_then_named_files() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let sources = Sources {
        user_file: Some(file("user.toml", "seed = 1\nn = 2\nsumm_step = 3\n")),
        project_file: Some(file("project.toml", "n = 4\nsumm_step = 5\n")),
        variables: Vec::new(),
    };
    let invocation = Invocation { configs: vec![file("named.toml", "summ_step = 6\n")], ..Invocation::default() };
    let layers = load_from(&sources, &invocation, &[], &options::host_options(), Vec::new()).unwrap();
    let settings = layers.resolve(&[]).unwrap();
    let all: Vec<i64> = ["seed", "n", "summ_step"].iter().map(|key| settings.get(Key::new(key)).unwrap()).collect();
    assert_eq!(all, [1, 4, 6]);
}

#[test]
fn every_option_has_its_default_or_is_unset() {
    let settings = resolve(&layers(&[], &[]), &["uniform", "resnet_at_cifar10"]).unwrap();
    assert_eq!(settings.get(Key::<i64>::new("uql_weight_bits")).unwrap(), 4);
    assert_eq!(settings.get(Key::<i64>::new("resnet_size")).unwrap(), 8);
    assert_eq!(settings.get(HostOptions::net()).unwrap(), None);
    assert_eq!(settings.get(HostOptions::loss_w_dst()).unwrap(), 4.0);
    assert_eq!(settings.get(HostOptions::learner()).unwrap(), "full-prec");
    assert!(settings.entry("batch_size").is_none(), "no data set is selected");
}

#[test]
fn aliases_are_the_same_option_in_every_layer() {
    let settings = resolve(&layers(&[], &[("a.toml", "uql_quant_epochs = 3")]), &["uniform"]).unwrap();
    assert_eq!(settings.get(Key::<f64>::new("uql_quant_epoch")).unwrap(), 3.0);
    let made = try_layers(&[], &[("a.toml", "uql_quant_epochs = 3")], &[("POCKETFLOW_UQL_QUANT_EPOCHS", "5")]).unwrap();
    let settings = resolve(&made, &["uniform"]).unwrap();
    assert_eq!(settings.get(Key::<f64>::new("uql_quant_epoch")).unwrap(), 5.0);
    let error = try_layers(&[], &[("a.toml", "uql_quant_epochs = 3\n\nuql_quant_epoch = 4\n")], &[]).unwrap_err();
    insta::assert_snapshot!(error, @"a.toml:3: `uql_quant_epoch` and `uql_quant_epochs` are one option; it is given already: a.toml:1");
}

#[test]
fn all_problems_come_at_once_each_with_its_source() {
    let error = try_layers(
        &[("loss_w_dst", "heavy"), ("seed", "-1")],
        &[
            ("a.toml", "uql_weight_bit = 4\nuql_weight_bits = 40\nuql_use_buckets = \"True\"\n[uniform]\n"),
            ("b.yaml", "uql_bucket_type: Channel\nseed: 1.5\nsave_path: ~\n"),
            ("c.json", "{\"save_step\": 0,\n\"seed\": [1],\n\"qqqqqqqqqqqq\": 1}"),
        ],
        &[("POCKETFLOW_UQL_ACTIVATION_BITS", "four")],
    );
    insta::assert_snapshot!(error.unwrap_err(), @r#"
    13 problems with the settings:
      a.toml:1: unknown key `uql_weight_bit`; did you mean `uql_weight_bits`?
      a.toml:2: `uql_weight_bits` = 40 (option of learner uniform): 40 is out of range: a whole number from 1 to 32
      a.toml:3: `uql_use_buckets` = "True" (option of learner uniform): expected True or False, got text; leave the quotes out
      a.toml:4: `uniform` is a group of keys; keys are not grouped: write each at the top of the file
      b.yaml:1: `uql_bucket_type` = Channel (option of learner uniform): `Channel` is not one of channel, split; did you mean `channel`?
      b.yaml:2: `seed` = 1.5: expected a whole number, 0 or more, got `1.5`
      b.yaml:3: `save_path` = null: expected a path, got nothing; leave the key out to keep the default
      c.json:1: `save_step` = 0: 0 is out of range: a whole number, 1 or more
      c.json:2: `seed` = [1]: expected a whole number, 0 or more, got a list
      c.json:3: unknown key `qqqqqqqqqqqq`; `host config show` lists the keys there are
      variable POCKETFLOW_UQL_ACTIVATION_BITS: `uql_activation_bits` = four (option of learner uniform): expected a whole number from 1 to 32, got `four`
      flag --loss-w-dst: `loss_w_dst` = heavy: expected a number, 0 or more, got `heavy`
      flag --seed: `seed` = -1: -1 is out of range: a whole number, 0 or more
    "#);
}

#[test]
fn files_may_hold_keys_of_other_plugins_but_flags_and_variables_may_not() {
    let made = try_layers(
        &[("uql_weight_bits", "4"), ("resnet_size", "18")],
        &[("a.toml", "uql_weight_bits = 8\nddpg_tau = 0.5\n")],
        &[("POCKETFLOW_DDPG_TAU", "0.1")],
    )
    .unwrap();
    insta::assert_snapshot!(resolve(&made, &["full-prec"]).unwrap_err(), @r"
    3 problems with the settings:
      variable POCKETFLOW_DDPG_TAU: `ddpg_tau` = 0.1 is an option of agent rl-agent, which is not selected; leave it out, or select a learner that uses it
      flag --resnet-size: `resnet_size` = 18 is an option of net resnet_at_cifar10 and of net resnet_at_ilsvrc12, which is not selected; select it with --net=resnet_at_cifar10 or --net=resnet_at_ilsvrc12, or leave `resnet_size` out
      flag --uql-weight-bits: `uql_weight_bits` = 4 is an option of learner uniform, which is not selected; select it with --learner=uniform, or leave `uql_weight_bits` out
    ");
    let made = layers(&[], &[("a.toml", "uql_weight_bits = 8\nddpg_tau = 0.5\n")]);
    assert!(resolve(&made, &["full-prec"]).unwrap().entry("uql_weight_bits").is_none());
}

#[test]
fn the_selected_net_decides_the_range() {
    let made = layers(&[], &[("a.toml", "resnet_size = 152")]);
    assert_eq!(resolve(&made, &["resnet_at_ilsvrc12"]).unwrap().get(Key::<i64>::new("resnet_size")).unwrap(), 152);
    let error = resolve(&made, &["resnet_at_cifar10"]).unwrap_err().to_string();
    insta::assert_snapshot!(error, @"a.toml:1: `resnet_size` = 152 (option of net resnet_at_cifar10): 152 is out of range: a whole number from 8 to 110");
}

#[test]
fn the_host_checks_its_device() {
    let error = resolve(&layers(&[], &[("a.toml", "device = 'gpu'")]), &[]).unwrap_err().to_string();
    insta::assert_snapshot!(error, @"a.toml:1: `device` = gpu: expected auto, cpu or cuda:N with the number of a GPU, as cuda:0");
}

#[test]
fn choices_are_known_before_plugins_are() {
    let made = layers(&[("net", "resnet_at_cifar10")], &[("a.toml", "learner = 'uniform'\nn = 3")]);
    assert_eq!(made.choice("learner").unwrap().as_deref(), Some("uniform"));
    assert_eq!(made.choice("net").unwrap().as_deref(), Some("resnet_at_cifar10"));
    assert_eq!(made.choice("n").unwrap().as_deref(), Some("3"));
    assert_eq!(made.choice("dataset").unwrap().as_deref(), Some("auto"));
    assert_eq!(made.choice("run_dir").unwrap(), None);
    assert!(made.choice("uql_weight_bits").is_err());
    assert_eq!(made.chosen("learner").unwrap().unwrap().1.to_string(), "a.toml:1");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_files_say_is_an_error_or_settings(
        lines in prop::collection::vec(("(uql_weight_bits|seed|extends|uql_boundaries|save_path|net|x)", "\\PC{0,8}"), 0..6),
        extension in "(toml|yaml|json)",
        value in "(1|-1|1e400|\"x\"|\\[1, 2.5\\]|\\[\\]|\\{\\}|true|null|1979-05-27)",
    ) {
        let separator = if extension == "toml" { "=" } else { ":" };
        let mut text: Vec<String> = lines.iter().map(|(key, value)| format!("{key} {separator} {value}")).collect();
        text.push(format!("uql_weight_bits {separator} {value}"));
        let text = if extension == "json" { format!("{{{}}}", text.join(",")) } else { text.join("\n") };
        if let Ok(made) = try_layers(&[], &[(&format!("a.{extension}"), &text)], &[]) {
            let _ = resolve(&made, &["uniform"]);
        }
    }
}
