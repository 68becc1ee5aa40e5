//! The environment as a layer. The names are derived from the options; taking variables apart at
//! `_` would break keys in snake case.

use super::Layer;
use super::catalogue::Catalogue;
use super::leaf::{Leaf, Raw};
use super::problem::Problem;
use crate::options::OTHER_VARIABLES;
use crate::refused::why_unknown;
use pocketflow::names;
use pocketflow::settings::Origin;
use std::ffi::OsString;

/// What all our variables begin with.
pub const PREFIX: &str = "POCKETFLOW_";

/// The variable of a key or alias.
pub fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_ascii_uppercase())
}

/// What the environment says.
#[derive(Default)]
pub struct Environment {
    pub layer: Layer,
    pub problems: Vec<Problem>,
    /// Variables with our prefix that mean nothing: a typing error, or for another version.
    pub warnings: Vec<String>,
}

/// Picks our variables. An empty variable counts as not set, as shells have no better way to take
/// one back for one command.
pub fn read(variables: impl IntoIterator<Item = (OsString, OsString)>, catalogue: &Catalogue) -> Environment {
    let mut made = Environment { layer: Layer { leaves: Vec::new(), strict: true }, ..Environment::default() };
    let mut ours: Vec<(String, OsString)> = variables
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, value)| name.starts_with(PREFIX) && !value.is_empty())
        .filter(|(name, _)| !OTHER_VARIABLES.contains(&name.as_str()))
        .collect();
    ours.sort();
    for (name, value) in ours {
        let key = name.trim_start_matches(PREFIX).to_ascii_lowercase();
        // A variable in another case is another variable.
        let Some(key) = catalogue.find(&key).and(Some(key)).filter(|key| variable(key) == name) else {
            made.warnings.push(unknown(&name, catalogue));
            continue;
        };
        let origin = Origin::Variable { name };
        match value.into_string() {
            Ok(text) => made.layer.leaves.push(Leaf { key, raw: Raw::Words(text), origin }),
            Err(_) => made.problems.push(Problem::at(&origin, format!("the value of `{key}` is no UTF-8 text"))),
        }
    }
    made
}

fn unknown(name: &str, catalogue: &Catalogue) -> String {
    let shown = names::shown(name);
    // Without the prefix, which makes all names look alike.
    let key = name.trim_start_matches(PREFIX).to_ascii_lowercase();
    if let Some(why) = why_unknown(catalogue.refused(), &key) {
        return format!("the variable {shown} is not known and is ignored: {why}");
    }
    match catalogue.nearest(&key) {
        Some(near) => format!("the variable {shown} is not known and is ignored; did you mean {}?", variable(near)),
        None => format!("the variable {shown} is not known and is ignored"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::sample;

    fn read_all(variables: &[(&str, &str)]) -> Environment {
        read(variables.iter().map(|(name, value)| (name.into(), value.into())), &sample::catalogue())
    }

    #[test]
    fn names_come_from_the_options() {
        let made = read_all(&[
            ("POCKETFLOW_UQL_WEIGHT_BITS", "4"),
            ("POCKETFLOW_UQL_QUANT_EPOCHS", "2"),
            ("POCKETFLOW_SEED", ""),
            ("POCKETFLOW_PLUGIN_PATH", "/x"),
            ("PATH", "/bin"),
        ]);
        let leaves: Vec<_> = made.layer.leaves.iter().map(|leaf| (leaf.key.as_str(), leaf.raw.shown())).collect();
        assert_eq!(leaves, [("uql_quant_epochs", "2".to_owned()), ("uql_weight_bits", "4".to_owned())]);
        assert_eq!(made.warnings, [""; 0]);
        assert_eq!(made.problems, []);
    }

    #[test]
    fn unknown_variables_are_warned_of() {
        let made = read_all(&[("POCKETFLOW_UQL_WEIGTH_BITS", "4"), ("POCKETFLOW_QQQQ", "1")]);
        assert_eq!(
            made.warnings,
            [
                "the variable POCKETFLOW_QQQQ is not known and is ignored",
                "the variable POCKETFLOW_UQL_WEIGTH_BITS is not known and is ignored; \
                 did you mean POCKETFLOW_UQL_WEIGHT_BITS?",
            ]
        );
        assert_eq!(made.layer.leaves, []);
    }

    #[cfg(unix)]
    #[test]
    fn bytes_that_are_no_text_are_a_problem() {
        use std::os::unix::ffi::OsStringExt;
        let value = OsString::from_vec(vec![0xff]);
        let made = read([("POCKETFLOW_DATA_DIR".into(), value)], &sample::catalogue());
        assert_eq!(
            made.problems[0].to_string(),
            "variable POCKETFLOW_DATA_DIR: the value of `data_dir` is no UTF-8 text"
        );
    }
}
