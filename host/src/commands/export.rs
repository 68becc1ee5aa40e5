//! `host export`: a saved model as files that other runtimes read, and the proof that they compute what the learner did.

use crate::cli::ExportFlags;
use crate::deploy::learner::{self, Verdict};
use crate::deploy::origin::Origin;
use crate::deploy::{files, ranges, verify};
use crate::errors;
use crate::layers::Layers;
use crate::run::Program;
use crate::select::{self, Saved, Selected};
use pocketflow::atomic::write_atomically;
use pocketflow::error::Context;
use pocketflow::integer::Target;
use pocketflow::model::Model;
use pocketflow::{Error, ErrorKind, Result};
use pocketflow_export::calibrate::Method;
use pocketflow_export::deployed::{LayerNote, Lowered, lower, without_range};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The name under which learners save.
const MODEL: &str = "model.ckpt";
/// What came of it, beside the files.
const REPORT: &str = "export.json";

/// Writes the files, checks them on test images, prints what came of it.
///
/// # Errors
/// Nothing to export; what an exporter cannot express; images that are missing for ranges; what the disk says. Either all files are
/// written or none.
pub fn export(program: &Program, layers: Layers, flags: &ExportFlags) -> Result<()> {
    let path = model_in(&flags.model_dir)?;
    let model = Model::load(&path)?;
    let target = Target::parse(&flags.target).ok_or_else(|| Error::config(format!("no type `{}`", flags.target)))?;
    let quantizes = flags.formats.iter().any(|format| format == "tflite" || format == "onnx");
    let selected = Data::select(program, &layers, &model);
    let lowered = match quantizes {
        true => Some(integers(&model, target, flags, &selected)?),
        false => None,
    };
    let origin = Origin::of(&model);
    let made = files::make(&model, lowered.as_ref(), &flags.formats, &origin)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    for file in &made {
        write_atomically(&folder.join(&file.name), &file.bytes)?;
    }
    let verdict = match (flags.verify_images, &selected) {
        (0, _) => None,
        (_, Data::Missing(reason)) => {
            tracing::warn!("the files are not checked on images: {reason}");
            None
        }
        (_, Data::Open(selected)) => {
            let verdict = learner::evaluate(&program.registry, selected, &path, &model)
                .with_context(|| format!("cannot evaluate {} to compare the files with", path.display()))?;
            Some((selected, verdict))
        }
    };
    let checked = match &verdict {
        Some((selected, Verdict { classes, .. })) => {
            verify::verify(folder, &made, selected, classes.as_deref(), flags.verify_images, &flags.libraries)?
        }
        None => verify::Checked::default(),
    };
    let layers = lowered.map(|lowered| lowered.layers).unwrap_or_default();
    let mut notes = checked.notes.clone();
    notes.extend(in_float(&layers));
    let outcome = verify::Outcome {
        model: path.display().to_string(),
        target: flags.target.clone(),
        origin,
        top1: verdict.as_ref().map(|(_, verdict)| verdict.report.top1),
        files: verify::rows(&made, &checked),
        comparisons: checked.comparisons,
        notes,
        layers,
    };
    let json = outcome.to_json()?;
    write_atomically(&folder.join(REPORT), json.as_bytes())?;
    errors::print_result(&if program.json { json } else { outcome.text() })
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

/// The images of the model's own data set, or why there are none.
enum Data {
    Open(Box<Selected>),
    Missing(String),
}

impl Data {
    fn select(program: &Program, layers: &Layers, model: &Model) -> Self {
        let selected = match select::select(&program.registry, layers, Some(Saved::of(model))) {
            Ok(selected) => selected,
            Err(error) => return Self::Missing(error.to_string()),
        };
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
        Self::Open(Box::new(selected))
    }
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

/// The network as integers, with ranges from images for what has none.
fn integers(model: &Model, target: Target, flags: &ExportFlags, data: &Data) -> Result<Lowered> {
    let open = match flags.post_quant {
        true => without_range(model, target)?,
        false => Vec::new(),
    };
    let ranges = match (open.as_slice(), data, flags.default_ranges) {
        ([], ..) => BTreeMap::new(),
        (open, Data::Open(selected), _) if flags.calibration_images > 0 => {
            ranges::from_images(model, selected, open, flags.calibration_images, method(flags)?)?
        }
        (open, _, Some(range)) => {
            let names = open.join(", ");
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
                "the ranges of these values must be taken from training images: {}; {reason} (or give \
                 --default-ranges-min and --default-ranges-max)",
                open.join(", ")
            )));
        }
    };
    lower(model, target, &ranges, flags.post_quant)
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
