//! What makes a run the same run: a resumed one must have the settings it began with, or its end
//! would be neither's.

use crate::provenance::{self, Files, Was};
use crate::run_dir;
use pocketflow::dataset::options::DatasetOptions;
use pocketflow::error::Context;
use pocketflow::option::{HostOptions, Value};
use pocketflow::settings::{Origin, Settings};
use pocketflow::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Keys that say where a run is kept and shown, not what it computes.
const FREE: [&str; 4] = [
    HostOptions::resume().name(),
    HostOptions::run_dir().name(),
    HostOptions::summ_step().name(),
    HostOptions::worker_timeout().name(),
];
/// Keys that may differ together where another number of workers goes on with batches of as many
/// images in all.
const OF_WORKERS: [&str; 3] =
    [HostOptions::n().name(), DatasetOptions::batch_size().name(), HostOptions::threads().name()];

/// Compares the settings of now with those that the run in `dir` began with. Paths of results may
/// differ, and those of files with the content that they had; true where such paths do.
///
/// # Errors
/// `run.toml` cannot be read, or any other setting differs; all that do are named with both values
/// and where they come from.
pub fn check(dir: &Path, settings: &Settings, files: &Files<'_>, was: &Was) -> Result<bool> {
    let mut moved = false;
    compare(dir, settings, |key| {
        let may = files.is_result(key) || files.is_same_input(key, was)?;
        moved |= may;
        Ok(may)
    })?;
    Ok(moved)
}

/// `may_differ` is asked of each key that does.
fn compare(dir: &Path, settings: &Settings, mut may_differ: impl FnMut(&str) -> Result<bool>) -> Result<()> {
    let path = dir.join(run_dir::SETTINGS);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let began = read(&text).map_err(|problem| {
        Error::config(format!("`{}` is damaged ({problem}); the run cannot be resumed", path.display()))
    })?;
    let mut differences = Vec::new();
    let shared_out_anew = shared_out_anew(&began, settings);
    for (key, difference) in self::differences(&path, &began, settings) {
        let of_workers = shared_out_anew && OF_WORKERS.contains(&key.as_str());
        if !of_workers && !may_differ(&key)? {
            differences.push(difference);
        }
    }
    if differences.is_empty() {
        return Ok(());
    }
    let (count, noun) = (differences.len(), if differences.len() == 1 { "setting" } else { "settings" });
    Err(Error::config(format!(
        "`{}` began with other settings; resume with the same ones, or leave out --resume to begin a new run\n{count} {noun} \
         changed:\n{}",
        dir.display(),
        differences.join("\n")
    )))
}

/// Values by key with the line of each, counted from 1.
type Lines = BTreeMap<String, (toml::Value, usize)>;

fn read(text: &str) -> std::result::Result<Lines, toml::de::Error> {
    let mut parsed: BTreeMap<String, toml::Spanned<toml::Value>> = toml::from_str(text)?;
    parsed.remove(provenance::TABLE);
    let line = |at: usize| text[..at].matches('\n').count() + 1;
    let lines = parsed.into_iter().map(|(key, value)| {
        let at = line(value.span().start);
        (key, (value.into_inner(), at))
    });
    Ok(lines.collect())
}

/// Whether the same batches are shared out to another number of workers.
fn shared_out_anew(began: &Lines, settings: &Settings) -> bool {
    let before = |key: &str| began.get(key).and_then(|(value, _)| value.as_integer());
    let (n, size) = (HostOptions::n(), DatasetOptions::batch_size());
    let were = (before(n.name()), before(size.name()));
    let are = (settings.get(n).map(i64::from), settings.get(size).map(i64::try_from));
    match (were, are) {
        ((Some(n), Some(size)), (Ok(now), Ok(Ok(now_size)))) => n != now && n * size == now * now_size,
        _ => false,
    }
}

/// By key, as text.
fn differences(path: &Path, began: &Lines, settings: &Settings) -> Vec<(String, String)> {
    let set = settings.iter().filter(|(_, setting)| setting.value.is_some());
    let keys: BTreeSet<&str> = began.keys().map(String::as_str).chain(set.map(|(key, _)| key)).collect();
    let mut differences = Vec::new();
    for key in keys.into_iter().filter(|key| !FREE.contains(key)) {
        let now = settings.entry(key);
        let value = now.and_then(|setting| setting.value.as_ref());
        let before = began.get(key);
        if same(before.map(|(value, _)| value), value) {
            continue;
        }
        // Every option stands in the file; one that does not came with a later version, whose
        // default is what the earlier one did.
        if before.is_none() && now.is_some_and(|setting| matches!(setting.origin, Origin::Default { .. })) {
            continue;
        }
        let was = match before {
            Some((value, line)) => {
                let origin = Origin::File { path: path.to_owned(), line: Some(*line) };
                format!("was {value} ({origin})")
            }
            None => format!("was not set ({})", path.display()),
        };
        let is = match (value, now) {
            (Some(value), Some(setting)) => format!("is {} ({})", quoted(value), setting.origin),
            _ => "is not set".to_owned(),
        };
        differences.push((key.to_owned(), format!("{key}: {was}, {is}")));
    }
    differences
}

/// As in a file, so that both sides of a difference read alike.
fn quoted(value: &Value) -> String {
    match value {
        Value::Text(text) => toml::Value::from(text.as_str()).to_string(),
        other => other.to_string(),
    }
}

fn same(before: Option<&toml::Value>, now: Option<&Value>) -> bool {
    let number = |value: &toml::Value| match value {
        toml::Value::Integer(number) => Some(*number as f64),
        toml::Value::Float(number) => Some(*number),
        _ => None,
    };
    match (before, now) {
        (None, None) => true,
        (Some(toml::Value::Boolean(before)), Some(Value::Bool(now))) => before == now,
        (Some(toml::Value::Integer(before)), Some(Value::Int(now))) => before == now,
        (Some(before), Some(Value::Float(now))) => number(before) == Some(*now),
        (Some(toml::Value::String(before)), Some(Value::Text(now))) => before == now,
        (Some(toml::Value::Array(before)), Some(Value::Floats(now))) => {
            before.len() == now.len() && before.iter().zip(now).all(|(before, now)| number(before) == Some(*now))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pocketflow::option::OptionSpec;

    fn settings() -> Settings {
        let options = vec![
            OptionSpec::int("uql_weight_bits", 4, 1..=32, "bits"),
            OptionSpec::float("loss_w_dst", 4.0, 0.0..=9.0, "weight"),
            OptionSpec::switch("enbl_dst", false, "distillation"),
            OptionSpec::text("net", "resnet_at_cifar10", "net"),
            OptionSpec::path("run_dir", "", "folder").optional(),
            OptionSpec::path("uql_bit_plan", "", "plan").optional(),
            OptionSpec::int("summ_step", 100, 1..=1000, "steps"),
        ];
        Settings::defaults([("uniform", options)])
    }

    const SAME: &str =
        "uql_weight_bits = 4\nloss_w_dst = 4.0\nenbl_dst = false\nnet = \"resnet_at_cifar10\"\nsumm_step = 7\n";

    fn compare(text: &str, settings: &Settings) -> Result<()> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(run_dir::SETTINGS), text).unwrap();
        super::compare(dir.path(), settings, |_| Ok(false)).map_err(|error| {
            Error::new(error.kind(), error.to_string().replace(&dir.path().display().to_string(), "runs/r"))
        })
    }

    #[test]
    fn the_same_settings_pass_wherever_the_run_is_kept() {
        let mut settings = settings();
        settings.derive("run_dir", Value::Text("runs/r".into()), "the newest");
        compare(SAME, &settings).unwrap();
        compare(&SAME.replace("4.0", "4"), &settings).unwrap();
    }

    #[test]
    fn an_option_that_came_with_a_later_version_has_its_default() {
        compare(&SAME.replace("enbl_dst = false\n", ""), &settings()).unwrap();
    }

    #[test]
    fn each_difference_is_named_with_both_origins() {
        let mut settings = settings();
        let flag = |value, name: &str| pocketflow::settings::Setting {
            value: Some(value),
            origin: Origin::Flag { name: name.into() },
            overrode: Vec::new(),
            owner: "uniform".into(),
        };
        settings.insert("uql_weight_bits", flag(Value::Int(8), "--uql_weight_bits"));
        settings.insert("uql_bit_plan", flag(Value::Text("plan.toml".into()), "--uql-bit-plan"));
        let text = SAME.replace("enbl_dst = false\n", "old_key = 3\n");
        let error = compare(&text, &settings).unwrap_err();
        assert_eq!(error.kind(), pocketflow::ErrorKind::Config);
        insta::assert_snapshot!(error.to_string(), @r#"
        `runs/r` began with other settings; resume with the same ones, or leave out --resume to begin a new run
        3 settings changed:
        old_key: was 3 (runs/r/run.toml:3), is not set
        uql_bit_plan: was not set (runs/r/run.toml), is "plan.toml" (flag --uql-bit-plan)
        uql_weight_bits: was 4 (runs/r/run.toml:1), is 8 (flag --uql_weight_bits)
        "#);
    }

    #[test]
    fn what_may_differ_is_left_out_and_fingerprints_are_no_settings() {
        let dir = tempfile::tempdir().unwrap();
        let text = SAME.replace("uql_weight_bits = 4", "uql_weight_bits = 8") + "[provenance]\nprogram = \"1\"\n";
        std::fs::write(dir.path().join(run_dir::SETTINGS), text).unwrap();
        let mut asked = Vec::new();
        let ask = |key: &str| {
            asked.push(key.to_owned());
            Ok(true)
        };
        super::compare(dir.path(), &settings(), ask).unwrap();
        assert_eq!(asked, ["uql_weight_bits"]);
    }

    #[test]
    fn a_damaged_file_is_named() {
        let message = compare("uql_weight_bits = = 4", &settings()).unwrap_err().to_string();
        assert!(message.contains("run.toml") && message.contains("damaged"), "{message}");
    }
}
