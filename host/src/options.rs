//! What the program knows of its own options beside their declarations
//! ([`pocketflow::option::HostOptions`]).

use crate::layers::problem::Problem;
use pocketflow::option::{HostOptions, Kind, OptionSpec};
use pocketflow::settings::Settings;

/// The owner of these options, where an origin or a help heading names one.
pub const OWNER: &str = "host";

/// Keys that say where one particular run lies or how it goes on: [`crate::layers::to_toml`] keeps
/// them as comments, or a repeated run would write into the directory of the first.
pub const OF_ONE_RUN: [&str; 2] = [HostOptions::run_dir().name(), HostOptions::resume().name()];

/// Variables with our prefix that are no option.
pub const OTHER_VARIABLES: [&str; 5] = [
    crate::probe::limits::SECONDS_VARIABLE,
    crate::workers::STARTED_BY,
    "POCKETFLOW_PLUGIN_PATH",
    "POCKETFLOW_LITERT",
    "POCKETFLOW_ONNXRUNTIME",
];

/// The learner of models in full precision, which runs where nobody chose one.
pub const LEARNER: &str = "full-prec";

/// The options of the host.
pub fn host_options() -> Vec<OptionSpec> {
    HostOptions::specs(LEARNER)
}

/// What a type and a range cannot say of the host's values.
pub(crate) fn check_values(settings: &Settings) -> Vec<Problem> {
    let key = HostOptions::device();
    let device = settings.entry(&key).filter(|setting| setting.owner == OWNER);
    let Some((setting, Ok(text))) = device.map(|setting| (setting, settings.get(key))) else {
        return Vec::new();
    };
    let number = text.strip_prefix("cuda:").map(|digits| Kind::Int { min: 0, max: 255 }.parse(digits).is_ok());
    match number {
        Some(true) => Vec::new(),
        None if text == "auto" || text == "cpu" => Vec::new(),
        _ => vec![Problem::at(
            &setting.origin,
            format!("`{}` = {text}: expected auto, cpu or cuda:N with the number of a GPU, as cuda:0", key.name()),
        )],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_default_is_valid_and_every_key_is_good_and_unique() {
        let mut seen = BTreeSet::new();
        for spec in host_options() {
            spec.check().unwrap();
            assert!(seen.insert(spec.key.clone()), "{} is declared twice", spec.key);
            assert!(spec.doc.ends_with('.'), "{}: {}", spec.key, spec.doc);
        }
    }

    #[test]
    fn devices() {
        let problem = |device: &str| {
            let mut settings = Settings::defaults([(OWNER, host_options())]);
            settings.derive(&HostOptions::device(), device, "the test");
            check_values(&settings).first().map(ToString::to_string)
        };
        for good in ["auto", "cpu", "cuda:0", "cuda:12"] {
            assert_eq!(problem(good), None);
        }
        for bad in ["gpu", "cuda", "cuda:", "cuda:-1", "cuda:x", "CPU", ""] {
            assert!(problem(bad).is_some_and(|text| text.contains("cuda:N") && text.contains("the test")), "{bad}");
        }
    }
}
