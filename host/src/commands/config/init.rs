//! `host config init`: a file to begin with, every option in it with its doc.

use super::{example, owners};
use crate::layers::catalogue::Owned;
use crate::layers::{Layers, PROJECT_FILE, Selection, text_of};
use pocketflow::atomic::write_atomically;
use pocketflow::option::Kind;
use pocketflow::plugin::Declaration;
use pocketflow::settings::{Origin, Settings};
use pocketflow::{Error, Result};
use std::fmt::Write as _;
use std::path::Path;

/// Writes a file with every option of the host and the selected plugins: those given as flags set,
/// all others commented out with their defaults. Returns what to tell.
///
/// # Errors
/// The file is there and `force` is not given; it cannot be written; or as [`show`](super::show).
pub fn init(path: Option<&Path>, force: bool, layers: &Layers, declarations: &[Declaration]) -> Result<String> {
    let path = path.unwrap_or(Path::new(PROJECT_FILE));
    // Another syntax than the name says would not be read again.
    if !path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml")) {
        return Err(Error::config(format!(
            "`{}`: the file is written as TOML; give it a name that ends in .toml",
            path.display()
        )));
    }
    let selection = layers.select(declarations)?;
    let settings = layers.resolve(&selection.owners())?;
    let text = commented(layers, &settings, &selection);
    if !force && path.symlink_metadata().is_ok() {
        return Err(Error::config(format!("`{}` is there already; --force replaces it", path.display())));
    }
    write_atomically(path, text.as_bytes())?;
    Ok(format!("wrote {}", path.display()))
}

fn commented(layers: &Layers, settings: &Settings, selection: &Selection<'_>) -> String {
    let mut text = String::from(
        "# Settings for PocketFlow. Lines that are commented out show the defaults.\n\
         # Variables (POCKETFLOW_<KEY>) and flags win over this file; `host config show` prints what is in force.\n\
         # extends = [\"base.toml\"]\n",
    );
    for owner in owners(selection) {
        let own = layers.catalogue().iter().flat_map(|(_, all)| all).filter(|owned| owned.owner == owner);
        let mut own = own.peekable();
        if own.peek().is_some() {
            let _ = write!(text, "\n# ---- {owner}\n");
        }
        for Owned { spec, .. } in own {
            let takes = match &spec.kind {
                // As TOML spells them.
                Kind::Switch => "true or false".to_owned(),
                kind => kind.to_string(),
            };
            let _ = write!(text, "\n{}", wrapped(&format!("{} Takes {takes}.", spec.doc)));
            let given = settings.entry(&spec.key).filter(|setting| matches!(setting.origin, Origin::Flag { .. }));
            let given = given.and_then(|setting| setting.value.as_ref());
            let _ = match given {
                Some(value) => writeln!(text, "{} = {}", spec.key, text_of(value)),
                None => writeln!(text, "# {}", example(spec)),
            };
        }
    }
    text
}

/// A doc as comment lines.
fn wrapped(doc: &str) -> String {
    const WIDTH: usize = 100;
    let mut text = String::new();
    let mut line = String::from("#");
    for word in doc.split_whitespace() {
        if line.chars().count() + word.chars().count() >= WIDTH {
            text.push_str(&line);
            text.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    text + &line + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::sample::{declarations, layers};

    #[test]
    fn init_writes_a_file_that_reads_back_and_replaces_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pocketflow.toml");
        let given = [("learner", "uniform"), ("uql_weight_bits", "2"), ("net", "resnet_cifar10")];
        let made = layers(&given, &[]);
        assert!(init(Some(&path), false, &made, &declarations()).unwrap().starts_with("wrote "));
        let text = std::fs::read_to_string(&path).unwrap();
        let again = layers(&[], &[("pocketflow.toml", &text)]);
        let selection = made.select(&declarations()).map(|selection| format!("{selection:?}")).unwrap();
        assert_eq!(again.select(&declarations()).map(|selection| format!("{selection:?}")).unwrap(), selection);
        // Every commented default is valid once the mark is taken away, and says the same.
        let active: String = text
            .lines()
            .filter(|line| line.contains(" = ") && !line.contains('…') && !line.contains("extends"))
            .map(|line| format!("{}\n", line.trim_start_matches("# ")))
            .collect();
        let all = layers(&[], &[("all.toml", &active)]);
        let declarations = declarations();
        let owners = all.select(&declarations).unwrap().owners();
        let (all, made) = (all.resolve(&owners).unwrap(), made.resolve(&owners).unwrap());
        for (key, setting) in made.iter() {
            assert_eq!(all.entry(key).unwrap().value, setting.value, "{key}");
        }
        let error = init(Some(&path), false, &again, &declarations).unwrap_err().to_string();
        assert!(error.contains("--force"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        init(Some(&path), true, &layers(&[], &[]), &declarations).unwrap();
        assert_ne!(std::fs::read_to_string(&path).unwrap(), text);
        assert!(init(Some(Path::new("x.yaml")), false, &again, &declarations).is_err());
        let below = dir.path().join("pocketflow.toml/x.toml");
        let error = init(Some(&below), false, &again, &declarations).unwrap_err().to_string();
        assert!(error.contains("cannot write"), "{error}");
    }

    #[test]
    fn the_commented_file_reads_well() {
        let declarations = declarations();
        let made = layers(&[("learner", "uniform"), ("uql_weight_bits", "2")], &[]);
        let selection = made.select(&declarations).unwrap();
        let text = commented(&made, &made.resolve(&selection.owners()).unwrap(), &selection);
        let start = text.find("# ---- learner uniform").unwrap();
        insta::assert_snapshot!(&text[start..], @r#"
        # ---- learner uniform

        # Bits; 32 turns quantization off. Takes a whole number from 1 to 32.
        # uql_activation_bits = 32

        # A file with the bits of each layer. Takes a path.
        # uql_bit_plan = …

        # Epochs at which the rate falls. Takes numbers from 0 to inf, separated by commas.
        # uql_boundaries = …

        # What a bucket is. Takes channel|split.
        # uql_bucket_type = "channel"

        # Epochs of fine-tuning. Takes a number, 0 or more.
        # uql_quant_epoch = 60.0

        # Quantize each bucket with a range of its own. Takes true or false.
        # uql_use_buckets = false

        # Bits; 32 turns quantization off. Takes a whole number from 1 to 32.
        uql_weight_bits = 2

        # ---- agent rl-agent

        # Rate of the target networks. Takes a number from 0 to 1.
        # ddpg_tau = 0.01
        "#);
    }
}
