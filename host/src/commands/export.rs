//! `host export`: a saved model as files that other runtimes read, and the proof that they compute
//! what the learner did.

use crate::cli::ExportFlags;
use crate::deploy::calibration_folder;
use crate::deploy::images::{Images, expect_classes};
use crate::deploy::learner::{self, Verdict};
use crate::deploy::origin::Origin as Source;
use crate::deploy::{FORMATS, files, precision, ranges, verify};
use crate::errors;
use crate::layers::Layers;
use crate::outputs::{Outputs, expect_unicode};
use crate::report::numbers::percent;
use crate::run::Program;
use crate::select::{self, Saved, Selected};
use crate::signals::AtOnce;
use pocketflow::atomic::together::Together;
use pocketflow::dataset::Split;
use pocketflow::error::Context;
use pocketflow::integer::Target;
use pocketflow::model::Model;
use pocketflow::option::{Choice, HostOptions};
use pocketflow::plugin::PluginKind;
use pocketflow::settings::{Origin, Settings};
use pocketflow::{Error, ErrorKind, Result, names};
use pocketflow_export::calibrate::Method;
use pocketflow_export::deployed::{Fate, LayerNote, LowerError, WeightRange, lower_within, without_range};
use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::{Path, PathBuf};

/// The name under which learners save.
const MODEL: &str = "model.ckpt";

/// Writes the files, checks them on test images, prints what came of it.
///
/// # Errors
/// Nothing to export; what an exporter cannot express; images that are missing for ranges; a
/// setting or a data set that does not exist; what the disk says. Either all files are written,
/// checked, or none.
pub fn export(program: &Program, layers: Layers, flags: &ExportFlags) -> Result<()> {
    let path = model_in(&flags.model_dir)?;
    expect_unicode("--model-dir", &path)?;
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let at_once = AtOnce::watch()?;
    let together =
        at_once.whole(|| check_files(program, folder, &path, flags).and_then(|()| Together::begin(folder)))?;
    let model = Model::load(&path)?;
    let target = Target::of_word(&flags.target).ok_or_else(|| Error::config(format!("no type `{}`", flags.target)))?;
    let writes = |wanted: &str| flags.formats.iter().any(|format| format == wanted);
    if flags.onnx_reduce_range && !writes("onnx") {
        return Err(Error::config("--onnx_reduce_range is about the .onnx file, and --format names no onnx"));
    }
    let quantizes = writes("tflite") || writes("onnx");
    let selected = Data::select(program, &layers, &model)?;
    let integers = match quantizes {
        true => Some(integers(&model, target, flags, &selected, &layers)?),
        false => None,
    };
    let origin = Source::of(&model);
    let made = files::make(&model, integers.as_ref(), &flags.formats, &origin)?;
    let verdict = match (flags.verify_images, &selected) {
        (0, _) => None,
        (_, Data::Missing(reason)) => {
            tracing::warn!("the files are not checked on images: {reason}");
            None
        }
        (_, Data::Open(selected)) => {
            let scratch = at_once.scratch()?;
            let verdict = learner::evaluate(&program.registry, selected, &path, &model, scratch.path())
                .with_context(|| format!("cannot evaluate {} to compare the files with", path.display()))?;
            Some((selected, verdict))
        }
    };
    let checked = match &verdict {
        Some((selected, Verdict { classes, .. })) => {
            // Only what was checked comes beside the model.
            let trial = at_once.scratch()?;
            for file in made.iter().filter(|file| file.is_model) {
                let path = trial.path().join(&file.name);
                std::fs::write(&path, &file.bytes).with_context(|| format!("cannot write {}", path.display()))?;
            }
            verify::verify(trial.path(), &made, selected, classes.as_deref(), flags.verify_images, &flags.libraries)?
        }
        None => verify::Checked::default(),
    };
    let onnx_layers = integers.as_ref().and_then(|integers| Some(integers.onnx.as_ref()?.layers.clone()));
    let layers = integers.map(|integers| integers.lowered.layers).unwrap_or_default();
    let mut notes = checked.notes.clone();
    notes.extend(in_float(&layers));
    notes.extend(of_earlier(folder, &made));
    notes.extend(option_needed(&made));
    notes.extend(onnx_layers.as_deref().map(|layers| reduced(layers, target, &checked)));
    let outcome = verify::Outcome {
        model: path.display().to_string(),
        target: flags.target.clone(),
        origin,
        top1: verdict.as_ref().map(|(_, verdict)| verdict.report.top1),
        files: verify::rows(&made, &checked),
        comparisons: checked.comparisons,
        notes,
        layers,
        onnx_layers,
    };
    let json = outcome.to_json()?;
    let mut written: Vec<(&str, &[u8])> = made.iter().map(|file| (file.name.as_str(), file.bytes.as_slice())).collect();
    written.push((files::REPORT, json.as_bytes()));
    at_once.writing(|| together.write(&written))?;
    errors::print_result(&if program.json { json } else { outcome.text() })
}

/// That all files can be written, before anything is computed.
fn check_files(program: &Program, folder: &Path, model: &Path, flags: &ExportFlags) -> Result<()> {
    let mut outputs = Outputs::default();
    outputs.read("the model", model);
    outputs.read_program(&Settings::default(), &program.registry);
    for name in files::names(&flags.formats) {
        let path = folder.join(name);
        outputs.write(format!("{}", path.display()), Origin::Flag { name: "--model-dir".into() }, path);
    }
    outputs.check()
}

/// What to know of files that an earlier export left, in formats that this one does not write.
fn of_earlier(folder: &Path, made: &[files::Made]) -> Option<String> {
    let is_made = |name: &str| made.iter().any(|file| file.name == name) || name == files::REPORT;
    let all = files::names(&FORMATS.map(str::to_owned));
    let left: Vec<&str> = all.into_iter().filter(|name| !is_made(name) && folder.join(name).exists()).collect();
    (!left.is_empty()).then(|| {
        let verb = if left.len() == 1 { "is" } else { "are" };
        format!("{} {verb} of an earlier export; export all formats together, or remove what is old", left.join(", "))
    })
}

/// What to know where layers compute with floats.
fn in_float(layers: &[LayerNote]) -> Option<String> {
    let float = layers.iter().filter(|note| !note.integer).count();
    (float > 0).then(|| {
        format!(
            "{float} of {} layers compute in float: training left their weights, or a value that they read or write, so; \
             --enbl_post_quant makes integers of all",
            layers.len()
        )
    })
}

/// Where the .onnx file needs a session option to compute the same on every processor.
fn option_needed(made: &[files::Made]) -> Option<String> {
    let file = made.iter().find(|file| file.name == files::QUANTIZED_ONNX)?;
    precision::needs_option(&file.bytes)
        .then(|| format!("{}: {}; {}", file.name, precision::advice(), precision::INSTEAD))
}

/// What `--onnx_reduce_range` did.
fn reduced(layers: &[LayerNote], target: Target, checked: &verify::Checked) -> String {
    let name = files::QUANTIZED_ONNX;
    let changed = layers.iter().filter(|note| note.weights == Fate::Requantized).count();
    let mut text = format!("{name} has weights of 7 bits (--onnx_reduce_range)");
    if changed > 0 {
        text += &format!(", {changed} of {} layers are re-quantized", layers.len());
    }
    let run = |file: &str| checked.runs.iter().find(|run| run.file == file);
    if let (Some(onnx), Some(other)) = (run(name), run("model_quantized.tflite")) {
        let said = |run: &verify::Run| {
            let alike = run.agreement.map(|share| format!(" and decides as the learner on {}", percent(share)));
            format!("has {} of the images right{}", percent(run.measured.top1), alike.unwrap_or_default())
        };
        text += &format!("; it {}, model_quantized.tflite with 8 bits {}", said(onnx), said(other));
    }
    if target == Target::Uint8 {
        text += "; products of uint8 weights are exact everywhere, also with 8 bits";
    }
    text
}

/// The images of the model's own data set, or why there are none.
enum Data {
    Open(Box<Selected>),
    Missing(String),
}

impl Data {
    /// # Errors
    /// Whatever is wrong with the settings. That images are not there, or the plugins that the
    /// model was made with, is none: an export needs neither.
    fn select(program: &Program, layers: &Layers, model: &Model) -> Result<Self> {
        if let Some(reason) = missing_plugin(program, layers, model)? {
            return Ok(Self::Missing(reason));
        }
        let selected = match select::select(&program.registry, layers, Some(Saved::of(model))) {
            Ok(selected) => selected,
            Err(error) if error.kind() == ErrorKind::DataNotFound => return Ok(Self::Missing(error.to_string())),
            Err(error) => return Err(error),
        };
        Ok(Self::of(selected, model))
    }

    fn of(selected: Selected, model: &Model) -> Self {
        let info = selected.dataset.info();
        if info.stand_in != model.meta.stand_in || info.name != model.meta.dataset {
            let (own, found) = (&model.meta.dataset, info.name);
            return Self::Missing(format!(
                "the model was trained on `{own}`, and only `{found}` is here; give --data_dir"
            ));
        }
        if info.shape != model.graph.input_shape() {
            let (own, found) = (model.graph.input_shape(), info.shape);
            return Self::Missing(format!("the model takes images of {own:?}, the data set gives {found:?}"));
        }
        if let Err(error) = model.classes().and_then(|outputs| expect_classes(&info, outputs, "the model")) {
            return Self::Missing(error.to_string());
        }
        Self::Open(Box::new(selected))
    }
}

/// Why the model's own plugins cannot be taken, where nobody chose others.
fn missing_plugin(program: &Program, layers: &Layers, model: &Model) -> Result<Option<String>> {
    let meta = &model.meta;
    let own = [
        (PluginKind::Learner, HostOptions::learner().name(), &meta.learner),
        (PluginKind::Net, HostOptions::net().name(), &meta.net),
        (PluginKind::Dataset, HostOptions::dataset().name(), &meta.dataset),
    ];
    for (kind, key, name) in own {
        if !select::is_chosen(layers, key)?
            && !name.is_empty()
            && let Err(error) = program.registry.find(kind, name)
        {
            return Ok(Some(error.to_string()));
        }
    }
    Ok(None)
}

/// The model that a folder holds, or that the path is.
fn model_in(given: &Path) -> Result<PathBuf> {
    if given.is_file() {
        return Ok(given.to_owned());
    }
    let shown = given.display();
    let entries = std::fs::read_dir(given)
        .map_err(|error| Error::from_error(ErrorKind::Config, &error).context(format!("cannot read `{shown}`")))?;
    let usual = given.join(MODEL);
    if usual.is_file() {
        return Ok(usual);
    }
    let mut models: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    models.retain(|path| path.is_file() && Model::load(path).is_ok());
    models.sort();
    match models.as_slice() {
        [only] => Ok(only.clone()),
        [] => {
            Err(Error::config(format!("`{shown}` holds no model to export; give the folder that a learner saved to")))
        }
        several => {
            let names: Vec<String> = several.iter().map(|path| path.display().to_string()).collect();
            Err(Error::config(format!("`{shown}` holds several models: {}; give one of them", names.join(", "))))
        }
    }
}

/// The networks as integers, with ranges from images for what has none.
fn integers(
    model: &Model,
    target: Target,
    flags: &ExportFlags,
    data: &Data,
    layers: &Layers,
) -> Result<files::Integers> {
    let open = match flags.post_quant {
        true => without_range(model, target)?,
        false => Vec::new(),
    };
    let ranges = match (open.as_slice(), data, flags.default_ranges) {
        ([], ..) => BTreeMap::new(),
        (open, _, _) if flags.calibration_dir.is_some() => of_folder(model, open, flags, layers)?,
        (open, Data::Open(selected), _) if flags.calibration_images > 0 => of_training(model, open, flags, selected)?,
        (open, _, Some(range)) => {
            let names = names::list(open.iter().map(String::as_str));
            tracing::warn!(
                "no image tells the range of {names}: --default-ranges-min/max are taken, accuracy may suffer"
            );
            open.iter().map(|name| (name.clone(), range)).collect()
        }
        (open, data, None) => {
            let reason = match data {
                Data::Missing(reason) => reason.as_str(),
                Data::Open(_) => "--calibration-images is 0",
            };
            return Err(Error::config(format!(
                "the ranges of these values must be taken from training images: {}; {reason} (or name a folder \
                 of any images by --calibration-dir, or give --default-ranges-min and --default-ranges-max)",
                names::list(open.iter().map(String::as_str))
            )));
        }
    };
    let lowered = |weights| {
        lower_within(model, target, &ranges, flags.post_quant, weights).map_err(|error| refused(error, flags))
    };
    let onnx = flags.onnx_reduce_range.then(|| lowered(WeightRange::Reduced)).transpose()?;
    Ok(files::Integers { lowered: lowered(WeightRange::Full)?, onnx })
}

/// Why a model cannot be lowered, with the flag that does what training did not.
fn refused(error: LowerError, flags: &ExportFlags) -> Error {
    match error.is_unquantized() && !flags.post_quant {
        true => Error::config(format!("{error}; give --enbl_post_quant to quantize them now, from training images")),
        false => error.into(),
    }
}

/// Ranges from images of the folder that the flags name.
fn of_folder(
    model: &Model,
    open: &[String],
    flags: &ExportFlags,
    layers: &Layers,
) -> Result<BTreeMap<String, [f32; 2]>> {
    let number = |key: &str| -> Result<u64> {
        Ok(layers.choice(key)?.and_then(|number| number.parse().ok()).unwrap_or_default())
    };
    let seed = number(HostOptions::seed().name())?;
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let threads = match usize::try_from(number(HostOptions::threads().name())?) {
        Ok(0) | Err(_) => cores,
        Ok(asked) => asked.min(cores),
    };
    if flags.calibration_images == 0 {
        return Err(Error::config("--calibration-images is 0, and --calibration-dir names images to take ranges from"));
    }
    let folder = flags.calibration_dir.as_deref().unwrap_or(Path::new(""));
    let shape = model.graph.input_shape();
    let images = calibration_folder::open(folder, shape, flags.calibration_images, seed, threads)?;
    let what = format!("the images in {}", folder.display());
    ranges::from_images(model, images, &what, open, method(flags)?, threads)
}

/// Ranges from the training images of the model's own data set.
fn of_training(
    model: &Model,
    open: &[String],
    flags: &ExportFlags,
    selected: &Selected,
) -> Result<BTreeMap<String, [f32; 2]>> {
    let threads = selected.settings.get(HostOptions::threads())?;
    let seed = selected.settings.get(HostOptions::seed())?;
    if selected.dataset.info().samples(Split::Plain) == 0 {
        return Err(Error::config(format!(
            "ranges come from training images, and there are none ({}); name a folder of any images by --calibration-dir",
            selected.dataset.info().source
        )));
    }
    let images = Images::open(&selected.dataset, Split::Plain, seed, flags.calibration_images)?;
    ranges::from_images(model, images, "the training images", open, method(flags)?, threads)
}

fn method(flags: &ExportFlags) -> Result<Method> {
    match flags.calibration_method.as_str() {
        "minmax" => Ok(Method::MinMax),
        "percentile" if !(0.0..=50.0).contains(&flags.calibration_percent) => Err(Error::config(format!(
            "--calibration-percent={}: 0 to 50 percent can be left out",
            flags.calibration_percent
        ))),
        "percentile" => Ok(Method::Percentile(flags.calibration_percent)),
        _ => Ok(Method::Mse),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_a_model_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let said = |path: &Path| model_in(path).unwrap_err().to_string();
        assert!(said(folder.path()).contains("holds no model"));
        std::fs::write(folder.path().join("notes.txt"), "no model").unwrap();
        assert!(said(folder.path()).contains("holds no model"));
        assert!(said(&folder.path().join("nowhere")).contains("cannot read"));
        std::fs::write(folder.path().join(MODEL), "whatever it is, it is the one").unwrap();
        assert_eq!(model_in(folder.path()).unwrap(), folder.path().join(MODEL));
    }
}
