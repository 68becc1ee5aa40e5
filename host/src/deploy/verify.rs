//! Exported files against the learner that trained the model: both look at the same test images.

use super::files::{Made, QUANTIZED_ONNX};
use super::images::{Images, expect_size};
use super::measure::{Measured, agreement, measure};
use super::origin::Origin;
use super::precision;
use crate::report::numbers::{bytes, grouped, percent, trimmed};
use crate::report::table::{right_aligned, table};
use crate::select::Selected;
use pocketflow::dataset::{DatasetInfo, Split};
use pocketflow::option::HostOptions;
use pocketflow::{Error, Result};
use pocketflow_export::deployed::{Fate, LayerNote};
use pocketflow_runtime::{Choice, LibraryPaths, Normalisation, Opened, open};
use serde::Serialize;
use std::path::Path;

/// A file in a runtime.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Run {
    pub file: String,
    pub runtime: String,
    /// Of ONNX Runtime: the session options that decide how it computes, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_options: Option<serde_json::Value>,
    #[serde(flatten)]
    pub measured: Measured,
    /// The share of images on which it decides as the learner does; `None` where that is not known.
    pub agreement: Option<f64>,
    /// Distance of two neighbouring outputs; `None` for floats.
    #[serde(skip)]
    step: Option<f32>,
}

/// Two runs of the same integers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    pub one: String,
    pub other: String,
    /// The share of images on which they decide alike.
    pub agreement: f64,
    /// The largest difference of two outputs.
    pub largest: f64,
    /// The same in steps of their grid, where they are on one.
    pub largest_step: Option<f64>,
}

/// What the check found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Checked {
    pub runs: Vec<Run>,
    pub comparisons: Vec<Comparison>,
    /// What a person should know: a runtime that is not here.
    pub notes: Vec<String>,
}

/// A file with what is known of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    pub file: String,
    pub bytes: u64,
    pub runs: Vec<Run>,
}

/// All that came of an export: `export.json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    pub model: String,
    #[serde(rename = "type")]
    pub target: String,
    pub origin: Origin,
    /// The learner's own, on all test images; 0–1.
    pub top1: Option<f64>,
    pub files: Vec<Row>,
    pub comparisons: Vec<Comparison>,
    pub notes: Vec<String>,
    pub layers: Vec<LayerNote>,
    /// Those of the .onnx file, where its weights have a range of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub onnx_layers: Option<Vec<LayerNote>>,
}

/// The data set's normalisation, for files that state none.
pub fn normalisation(info: &DatasetInfo) -> Normalisation {
    Normalisation { mean: info.mean.clone(), std: info.std.clone() }
}

/// Runs the files on the first `count` test images. `classes`: what the learner decided of them.
///
/// # Errors
/// A file that its runtime refuses; the data set's errors.
pub fn verify(
    folder: &Path,
    made: &[Made],
    selected: &Selected,
    classes: Option<&[u32]>,
    count: u64,
    libraries: &LibraryPaths,
) -> Result<Checked> {
    let info = selected.dataset.info();
    let threads = selected.settings.get(HostOptions::threads())?;
    let mut checked = Checked::default();
    let run = |name: &str, choice: Choice, checked: &mut Checked| -> Result<()> {
        let path = folder.join(name);
        let opened = open(&path, choice, libraries, threads, &normalisation(&info));
        let Opened { mut runtime, note } = match opened {
            Ok(opened) => opened,
            // A runtime that is not installed is no fault of the file.
            Err(error) if error.kind() == pocketflow::ErrorKind::Config && choice == Choice::Auto => {
                checked.notes.push(format!("{name} was not run: {error}"));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        checked.notes.extend(note.map(|note| format!("{name} {note}")));
        if let Some(image) = &runtime.io().image {
            expect_size(info.shape, [image.height, image.width, image.channels], &format!("`{}`", path.display()))?;
        }
        let mut images = Images::open(&selected.dataset, Split::Eval, 0, count)?;
        let measured = measure(&mut *runtime, &mut images)?;
        let step = runtime.io().outputs.first().and_then(|output| output.grid).map(|grid| grid.scale);
        let agreement = classes.and_then(|classes| agreement(&measured.classes, classes));
        let runtime = runtime.name().to_owned();
        let session_options = precision::session_options(&runtime, choice);
        checked.runs.push(Run { file: name.into(), runtime, session_options, measured, agreement, step });
        Ok(())
    };
    for file in made.iter().filter(|file| file.is_model && !file.name.ends_with(".pb")) {
        run(&file.name, Choice::Auto, &mut checked)?;
        let by_reference = checked.runs.last().is_some_and(|last| last.runtime.starts_with("reference"));
        if file.name == "model_quantized.tflite" && !by_reference {
            run(&file.name, Choice::Reference, &mut checked)?;
        }
        let onnx = file.name.ends_with(".onnx") && precision::differs_here(precision::needs_option(&file.bytes));
        if onnx && checked.runs.last().is_some_and(|last| last.file == file.name) {
            run(&file.name, Choice::OnnxruntimeDefault, &mut checked)?;
            if let [.., exact, default] = checked.runs.as_slice() {
                let difference = precision::difference(&exact.measured, &default.measured);
                checked.notes.push(format!("{}: {difference}", file.name));
            }
        }
    }
    checked.comparisons = comparisons(&checked.runs);
    Ok(checked)
}

/// Every run of integers against the reference interpreter's, and the runtimes against each other.
fn comparisons(runs: &[Run]) -> Vec<Comparison> {
    let integers = || runs.iter().filter(|run| run.file.starts_with("model_quantized"));
    let is_reference = |run: &&Run| run.runtime.starts_with("reference");
    let reference = integers().find(is_reference);
    let of_file = integers().find(|run| run.file.ends_with(".tflite") && !is_reference(run));
    let others = |one: &Run| integers().filter(|run| !std::ptr::eq(*run, one) && !is_reference(run)).collect();
    let pairs = [reference, of_file].into_iter().flatten().map(|one| (one, others(one)));
    pairs.flat_map(|(one, others): (&Run, Vec<&Run>)| against(one, &others)).collect()
}

/// Runs of the same network against one of them.
fn against(reference: &Run, others: &[&Run]) -> Vec<Comparison> {
    let compare = |run: &&Run| {
        let (one, other) = (&run.measured, &reference.measured);
        // uint8 files end in a softmax, .onnx files in logits.
        let of_softmax = reference.step == Some(1.0 / 256.0);
        let alike = run.step == reference.step || run.step.is_none() && !of_softmax;
        let gaps = one.outputs.iter().zip(&other.outputs).map(|(one, other)| (one - other).abs());
        let largest = f64::from(gaps.fold(0.0, f32::max));
        Some(Comparison {
            one: format!("{} in {}", run.file, run.runtime),
            other: format!("{} in {}", reference.file, reference.runtime),
            agreement: agreement(&one.classes, &other.classes)?,
            largest,
            largest_step: reference.step.map(|step| largest / f64::from(step)),
        })
        .filter(|_| alike && one.outputs.len() == other.outputs.len())
    };
    others.iter().filter_map(compare).collect()
}

/// Each file with its size and its runs.
pub fn rows(made: &[Made], checked: &Checked) -> Vec<Row> {
    let row = |file: &Made| Row {
        file: file.name.clone(),
        bytes: file.bytes.len() as u64,
        runs: checked.runs.iter().filter(|run| run.file == file.name).cloned().collect(),
    };
    made.iter().filter(|file| file.is_model).map(row).collect()
}

impl Outcome {
    /// # Errors
    /// A number that JSON cannot hold.
    pub fn to_json(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self);
        text.map(|text| text + "\n").map_err(|error| Error::failed(format!("export.json: {error}")))
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = format!("{} · {} · {}\n", self.origin.graph, self.target, self.model);
        if self.origin.stand_in {
            text +=
                "STAND-IN DATA: the model was trained on made-up images; its accuracy says nothing about real ones.\n";
        }
        if let Some(top1) = self.top1 {
            text += &format!("learner {}: top-1 {} on all test images\n", self.origin.learner, percent(top1));
        }
        text += "\n";
        text += &self.files();
        for Comparison { one, other, agreement, largest, largest_step } in &self.comparisons {
            let gap = match largest_step {
                Some(steps) => format!("{} steps", trimmed(*steps, 2)),
                None => format!("{largest:.1e}"),
            };
            text +=
                &format!("{one}\n  decides as {other} on {}; outputs differ by at most {gap}\n", percent(*agreement));
        }
        if !self.layers.is_empty() {
            text += "\n";
            text += &self.table_of(&self.layers);
        }
        if let Some(layers) = &self.onnx_layers {
            text += &format!("\n{QUANTIZED_ONNX}:\n");
            text += &self.table_of(layers);
        }
        for note in &self.notes {
            text += &format!("note: {note}\n");
        }
        text
    }

    fn files(&self) -> String {
        let mut table =
            table(&["file", "bytes", "runtime", "top-1", "as the learner", "ms/image"], right_aligned(&[1, 3, 4, 5]));
        for row in &self.files {
            let size = format!("{} ({})", grouped(row.bytes), bytes(row.bytes));
            if row.runs.is_empty() {
                table.add_row([row.file.as_str(), &size, "-", "-", "-", "-"]);
            }
            for run in &row.runs {
                let agreement = run.agreement.map_or("-".into(), percent);
                let ms = format!("{:.2}", run.measured.milliseconds);
                let top1 = format!("{} of {}", percent(run.measured.top1), grouped(run.measured.images));
                table.add_row([row.file.as_str(), &size, &run.runtime, &top1, &agreement, &ms]);
            }
        }
        table.trim_fmt() + "\n"
    }

    fn table_of(&self, layers: &[LayerNote]) -> String {
        let fate = |fate: Fate| match fate {
            Fate::Exact => "exact",
            Fate::Requantized => "re-quantized",
            Fate::PostQuantized => "quantized now",
            Fate::Float => "stays float",
        };
        let header = ["layer", "kind", "bits in training", "weights", "error", "output", "computes in"];
        let mut table = table(&header, right_aligned(&[2, 4]));
        for note in layers {
            let bits = if note.bits == 32 { "float".into() } else { note.bits.to_string() };
            let error = format!("{:.2} %", 100.0 * note.weight_error);
            let arithmetic = if note.integer { &self.target } else { "float" };
            let fates = [note.weights, note.output].map(fate);
            table.add_row([note.name.as_str(), &note.kind, &bits, fates[0], &error, fates[1], arithmetic]);
        }
        table.trim_fmt() + "\n"
    }
}
