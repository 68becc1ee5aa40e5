//! Settings as a TOML file: what a run leaves as `run.toml`, and how a single value is written.

use crate::options::{OF_ONE_RUN, OWNER};
use pocketflow::option::Value;
use pocketflow::settings::{Setting, Settings};
use std::fmt::Write as _;

/// All settings as a file that `--config` reads: the same values again, each with a remark on its
/// origin. Unset keys and those of this one run only ([`OF_ONE_RUN`]) are remarks.
pub fn to_toml(settings: &Settings) -> String {
    let mut text = String::from("# The settings of a run, fully resolved. `host --config run.toml` repeats it.\n");
    let mut owners: Vec<&str> = settings.iter().map(|(_, setting)| setting.owner.as_str()).collect();
    owners.sort_by_key(|owner| (*owner != OWNER, *owner));
    owners.dedup();
    for owner in owners {
        let _ = writeln!(text, "\n# {}", one_line(owner));
        for (key, setting) in settings.iter().filter(|(_, setting)| setting.owner == owner) {
            text.push_str(&line(key, setting));
        }
    }
    text
}

fn line(key: &str, setting: &Setting) -> String {
    let origin = one_line(&setting.origin.to_string());
    match &setting.value {
        None => format!("# {key} is unset  # {origin}\n"),
        Some(value) if OF_ONE_RUN.contains(&key) => {
            format!("# {key} = {}  # of this run only; {origin}\n", text_of(value))
        }
        Some(value) => format!("{key} = {}  # {origin}\n", text_of(value)),
    }
}

/// A value as TOML writes it, on one line.
pub fn text_of(value: &Value) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => float(*number),
        Value::Text(text) => quoted(text),
        Value::Floats(numbers) => {
            format!("[{}]", numbers.iter().map(|number| float(*number)).collect::<Vec<_>>().join(", "))
        }
    }
}

/// The shortest text that reads back as the same number.
fn float(number: f64) -> String {
    toml::Value::Float(number).to_string()
}

fn quoted(text: &str) -> String {
    // The crate writes a text with line breaks over several lines, which cannot be commented out.
    match text.contains(['\n', '\r']) {
        false => toml::Value::String(text.into()).to_string(),
        true => serde_json::Value::String(text.into()).to_string().replace('\u{7f}', "\\u007f"),
    }
}

/// Control characters (in a path) would end the remark and start a line of its own.
fn one_line(text: &str) -> String {
    text.chars().map(|each| if each.is_control() { '\u{fffd}' } else { each }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Invocation;
    use crate::layers::{Sources, load_from, sample};
    use proptest::prelude::*;

    fn values(settings: &Settings) -> Vec<(String, Option<Value>)> {
        settings.iter().map(|(key, setting)| (key.to_owned(), setting.value.clone())).collect()
    }

    #[test]
    fn reads_well() {
        let layers = sample::layers(&[("seed", "7"), ("run_dir", "a/b")], &[("x\n.toml", "save_path = 'm\\n\"'\n")]);
        let mut settings = layers.resolve(&[]).unwrap();
        settings.derive("dataset", Value::Text("synthetic".into()), "no data");
        let text = to_toml(&settings);
        let chosen =
            ["seed", "# run_dir", "dataset", "save_path =", "# net", "loss_w_dst", "enbl_dst", "# host", "# The"];
        let lines: Vec<&str> = text.lines().filter(|line| chosen.iter().any(|key| line.starts_with(key))).collect();
        insta::assert_snapshot!(lines.join("\n"), @r#"
        # The settings of a run, fully resolved. `host --config run.toml` repeats it.
        # host
        dataset = "synthetic"  # derived: no data
        enbl_dst = false  # default of host
        loss_w_dst = 4.0  # default of host
        # net is unset  # default of host
        # run_dir = "a/b"  # of this run only; flag --run-dir
        save_path = 'm\n"'  # x�.toml:1
        seed = 7  # flag --seed
        "#);
    }

    #[test]
    fn a_repeated_run_has_the_same_settings() {
        let declarations = sample::declarations();
        let given =
            [("learner", "uniform"), ("net", "resnet_at_cifar10"), ("lrn_rate_init", "0.1"), ("uql_weight_bits", "2")];
        let layers = sample::layers(&given, &[]);
        let owners = layers.select(&declarations).unwrap().owners();
        let settings = layers.resolve(&owners).unwrap();
        let again = sample::layers(&[], &[("run.toml", &to_toml(&settings))]);
        let owners = again.select(&declarations).unwrap().owners();
        let repeated = again.resolve(&owners).unwrap();
        assert_eq!(values(&repeated), values(&settings));
        assert_eq!(values(&repeated).len(), values(&settings).len());
        assert!(repeated.entry("uql_weight_bits").unwrap().origin.to_string().contains("run.toml:"));
    }

    proptest! {
        #[test]
        fn any_text_and_number_survives(text in any::<String>(), number in any::<f64>(), int in any::<i64>()) {
            prop_assume!(!number.is_nan());
            let spec = |key: &str, kind| pocketflow::option::OptionSpec::new(key, kind, None, "Doc.");
            let all = f64::NEG_INFINITY..=f64::INFINITY;
            let specs = [
                pocketflow::option::OptionSpec::float("a", 0.0, all.clone(), "Doc."),
                spec("b", pocketflow::option::Kind::Text),
                pocketflow::option::OptionSpec::int("c", 0, i64::MIN..=i64::MAX, "Doc."),
                spec("d", pocketflow::option::Kind::Floats { min: *all.start(), max: *all.end() }),
            ];
            let given = [Value::Float(number), Value::Text(text), Value::Int(int), Value::Floats(vec![number, 0.1])];
            let file: String = specs.iter().zip(&given).map(|(spec, value)| format!("{} = {}\n", spec.key, text_of(value))).collect();
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("run.toml");
            std::fs::write(&path, &file).unwrap();
            let invocation = Invocation { configs: vec![path], ..Invocation::default() };
            let settings = load_from(&Sources::default(), &invocation, &[], &specs, Vec::new()).unwrap().resolve(&[]).unwrap();
            for (spec, value) in specs.iter().zip(given) {
                prop_assert_eq!(&settings.entry(&spec.key).unwrap().value, &Some(value), "{}", file);
            }
        }
    }
}
