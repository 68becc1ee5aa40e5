//! Exports as a user makes them: the program as a process, files of small nets trained on the
//! stand-in, run by the reference interpreter and by the runtimes that people deploy with.

mod bad_input;
mod files;
mod large;
mod outputs;
mod runtimes;
mod saturation;

use pocketflow_tests::place::{Place, SMALL};
use serde_json::Value;

/// A ResNet-8 that was trained a little, at full precision.
fn trained() -> Place {
    let place = Place::new();
    place.host(&format!("--learner=full-prec {SMALL} --nb_epochs_rat=0.06")).expect(0);
    place
}

/// Trains on with `uniform-tf`; the evaluation model is in `models_uqtf_eval`.
fn quantized(place: &Place, flags: &str) -> Value {
    // A folder of its own for every set of flags.
    let run = format!("uqtf{}", flags.replace(['-', ' ', '='], "_"));
    place.host(&format!("--learner=uniform-tf {SMALL} --nb_epochs_rat=0.008 --run_dir={run} {flags}")).expect(0);
    place.json(&format!("{run}/report.json"))
}

/// Exports a folder's model, of 200 test images; what `export.json` says.
fn exported(place: &Place, folder: &str, flags: &str) -> Value {
    exported_on(200, place, folder, flags)
}

/// As [`exported`], of so many test images.
fn exported_on(images: u32, place: &Place, folder: &str, flags: &str) -> Value {
    place.host(&format!("export --model_dir={folder} --nb_smpls_eval={images} --threads=1 {flags}")).expect(0);
    place.json(&format!("{folder}/export.json"))
}

/// The runs of one file.
fn runs<'a>(outcome: &'a Value, file: &str) -> &'a [Value] {
    let files = outcome["files"].as_array().unwrap();
    let row = files.iter().find(|row| row["file"] == file).unwrap_or_else(|| panic!("{file} in {outcome:#}"));
    row["runs"].as_array().unwrap()
}

#[track_caller]
fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}
