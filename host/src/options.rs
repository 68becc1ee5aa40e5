//! The host's own options, declared as any plugin declares its own.

use crate::layers::problem::Problem;
use pocketflow::Result;
use pocketflow::option::{Kind, OptionSpec};
use pocketflow::settings::Settings;

/// The owner of these options, where an origin or a help heading names one.
pub const OWNER: &str = "host";

/// Keys that say where one particular run lies or how it goes on: [`crate::layers::to_toml`] keeps
/// them as comments, or a repeated run would write into the directory of the first.
pub const OF_ONE_RUN: [&str; 2] = ["run_dir", "resume"];

/// Variables with our prefix that are no option.
pub const OTHER_VARIABLES: [&str; 4] =
    [crate::probe::limits::SECONDS_VARIABLE, "POCKETFLOW_PLUGIN_PATH", "POCKETFLOW_LITERT", "POCKETFLOW_ONNXRUNTIME"];

/// The options of the host, as the spec lists them.
pub fn host_options() -> Vec<OptionSpec> {
    let count = 1..=i64::MAX;
    let weight = 0.0..=f64::INFINITY;
    let [input_mean, input_std] = crate::normalised::options();
    vec![
        OptionSpec::text("learner", "full-prec", "The compression method, by the name of its plugin."),
        OptionSpec::text("net", "", "The network to train or compress, by the name of its plugin.").optional(),
        OptionSpec::text(
            "dataset",
            "auto",
            "The images, by the name of a plugin; auto: the net's own, or its stand-in where the data are not found.",
        ),
        OptionSpec::choice(
            "exec_mode",
            "train",
            &["train", "eval"],
            "Train a model, or only evaluate the one that was saved.",
        ),
        OptionSpec::path("data_dir", "", "Where the images lie; unset: ./data/ and the name of the data set.")
            .optional(),
        OptionSpec::text(
            "device",
            "auto",
            "What computes: auto, cpu, or cuda:N for the GPU number N; auto prefers a GPU.",
        ),
        OptionSpec::switch(
            "amp",
            false,
            "Mixed precision on a GPU: convolutions in bfloat16, what needs more in 32 bits.",
        ),
        OptionSpec::int("threads", 0, 0..=4096, "Threads for computing; 0: as many as there are cores."),
        OptionSpec::int("seed", 0, 0..=i64::MAX, "Where all random numbers start: the same seed gives the same run."),
        OptionSpec::path("run_dir", "", "Where the run leaves its files; unset: a new directory under ./runs.")
            .optional(),
        OptionSpec::int("n", 1, 1..=1024, "Workers that train together, each on its share of a batch."),
        OptionSpec::path(
            "save_path",
            "./models/model.ckpt",
            "The full-precision model: where it goes and is looked for.",
        )
        .made_if_missing(),
        OptionSpec::switch("enbl_warm_start", false, "Start training from the model at save_path."),
        OptionSpec::switch("enbl_dst", false, "Distillation: learn from the full-precision model's answers too."),
        OptionSpec::float("loss_w_dst", 4.0, weight, "Weight of the distillation loss."),
        OptionSpec::float("tempr_dst", 4.0, 0.01..=1000.0, "Temperature that softens the answers in distillation."),
        OptionSpec::path(
            "save_path_dst",
            "./models_dst/model.ckpt",
            "The model that distillation learns from; where there is none, the one at save_path is saved there.",
        )
        .made_if_missing(),
        OptionSpec::text(
            "parent_learner",
            "full-prec",
            "The learner that trains the model at save_path where there is none.",
        ),
        OptionSpec::int("summ_step", 100, count.clone(), "Training steps between two entries of the metrics."),
        OptionSpec::int("save_step", 10_000, count, "Training steps between two checkpoints."),
        OptionSpec::switch("resume", false, "Go on from the last checkpoint of the run directory."),
        OptionSpec::text(
            "stand_in_for",
            "",
            "The data set whose place a stand-in takes; set by the program when it falls back to one.",
        )
        .optional(),
        OptionSpec::choice(
            "eval_split",
            "eval",
            &["eval", "val"],
            "The images that accuracy is measured on: eval, the test images; val, validation images that are held out of \
             training, for choosing settings without the test images.",
        ),
        input_mean,
        input_std,
    ]
}

/// What a type and a range cannot say of the host's values.
pub(crate) fn check_values(settings: &Settings) -> Vec<Problem> {
    let device = settings.entry("device").filter(|setting| setting.owner == OWNER);
    let Some((setting, Ok(text))) = device.map(|setting| (setting, settings.get::<String>("device"))) else {
        return Vec::new();
    };
    let number = text.strip_prefix("cuda:").map(|digits| Kind::Int { min: 0, max: 255 }.parse(digits).is_ok());
    match number {
        Some(true) => Vec::new(),
        None if text == "auto" || text == "cpu" => Vec::new(),
        _ => vec![Problem::at(
            &setting.origin,
            format!("`device` = {text}: expected auto, cpu or cuda:N with the number of a GPU, as cuda:0"),
        )],
    }
}

/// That the run is of one worker; others are for a later version.
///
/// # Errors
/// It is of more.
pub fn expect_one_worker(settings: &Settings) -> Result<()> {
    match settings.find::<u32>("n")?.unwrap_or(1) {
        0 | 1 => Ok(()),
        _ => Err(settings.invalid("n", "this version trains with one worker; leave it out or give 1")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pocketflow::option::Value;
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
            settings.derive("device", Value::Text(device.into()), "the test");
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
