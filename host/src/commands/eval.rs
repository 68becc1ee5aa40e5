//! `host eval MODEL`: which kind of file it is, and who runs it.

use crate::deploy::exported::Exported;
use crate::deploy::images::Images;
use crate::deploy::measure::{Measured, agreement, measure};
use crate::deploy::precision;
use crate::errors;
use crate::layers::Layers;
use crate::outputs::expect_unicode;
use crate::report::numbers::{grouped, percent};
use crate::run::{self, Program, Task};
use crate::signals::AtOnce;
use pocketflow::dataset::Split;
use pocketflow::model::Model;
use pocketflow::option::HostOptions;
use pocketflow::{Error, Result};
use pocketflow_runtime::{Choice, LibraryPaths, Runtime};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Evaluates a model on the test images and prints the report.
///
/// # Errors
/// No such file, not a model, or a runtime that does not run it.
pub fn eval(
    program: &Program,
    layers: Layers,
    model: Option<PathBuf>,
    runtime: &str,
    libraries: &LibraryPaths,
) -> Result<()> {
    let Some(path) = model else {
        check_runtime(runtime, "a saved model")?;
        return run::run(program, layers, Task::Evaluate);
    };
    check_file(&path)?;
    if Exported::is_one(&path) {
        return exported(program, &layers, &path, runtime.parse()?, libraries);
    }
    check_runtime(runtime, &format!("`{}`", path.display()))?;
    expect_unicode("MODEL", &path)?;
    let model = Box::new(Model::load(&path)?);
    run::run(program, layers, Task::EvaluateModel { path, model })
}

/// A .tflite or .onnx file, on all test images.
fn exported(program: &Program, layers: &Layers, path: &Path, choice: Choice, libraries: &LibraryPaths) -> Result<()> {
    let _watched = AtOnce::watch()?;
    let file = Exported::select(program, layers, path)?;
    let threads = file.selected.settings.get(HostOptions::threads())?;
    let mut runtime = file.open(choice, libraries, threads)?;
    let run = |runtime: &mut dyn Runtime| {
        let mut images = Images::open(&file.selected.dataset, Split::Eval, 0, u64::MAX)?;
        measure(runtime, &mut images)
    };
    let measured = run(&mut *runtime)?;
    let default = (file.default_differs && choice != Choice::OnnxruntimeDefault)
        .then(|| run(&mut *file.open(Choice::OnnxruntimeDefault, libraries, threads)?))
        .transpose()?;
    let info = file.selected.dataset.info();
    let size = file.bytes;
    let input = runtime.io().image.as_ref();
    if program.json {
        let normalisation = input.and_then(|image| image.normalisation.as_ref());
        let (mean, std) = normalisation.map(|applied| (&applied.mean, &applied.std)).unzip();
        let is_stated = input.is_some_and(|image| image.is_stated);
        let mut result = json!({
            "file": path.display().to_string(), "runtime": runtime.name(), "dataset": info.name,
            "stand_in_data": info.stand_in, "images": measured.images, "top1": measured.top1, "top5": measured.top5,
            "milliseconds": measured.milliseconds, "model_bytes": size,
            "mean": mean, "std": std, "normalisation_stated": is_stated,
        });
        if let Some(options) = precision::session_options(runtime.name(), choice) {
            result["session_options"] = options;
        }
        if let Some(Measured { top1, top5, milliseconds, classes, .. }) = &default {
            let alike = agreement(&measured.classes, classes);
            result["default_options"] =
                json!({ "top1": top1, "top5": top5, "milliseconds": milliseconds, "agreement": alike });
        }
        return errors::print_result(&format!("{result:#}\n"));
    }
    let mut text = format!("{} · {} · {}\n", path.display(), runtime.name(), info.name);
    if info.stand_in {
        text +=
            "STAND-IN DATA: these images are made up on the fly; the accuracy says nothing about the real data set.\n";
    }
    let rows = [
        ("top-1 accuracy", percent(measured.top1)),
        ("top-5 accuracy", percent(measured.top5)),
        ("test images", grouped(measured.images)),
        ("ms/image", format!("{:.3}", measured.milliseconds)),
        ("bytes on disk", grouped(size)),
    ];
    for (name, value) in rows {
        text += &format!("{name:<16}{value:>12}\n");
    }
    if let Some(image) = input {
        text += &format!("input           {}\n", image.described());
    }
    if let Some(default) = &default {
        text += &format!("note: {}: {}\n", precision::difference(&measured, default), precision::advice());
    }
    errors::print_result(&text)
}

fn check_file(path: &Path) -> Result<()> {
    match path.try_exists() {
        Ok(true) => Ok(()),
        Ok(false) => {
            Err(Error::config(format!("`{}`: there is no such file; give the path of a saved model", path.display())))
        }
        Err(error) => Err(Error::from(error).context(format!("cannot read `{}`", path.display()))),
    }
}

fn check_runtime(runtime: &str, model: &str) -> Result<()> {
    match runtime {
        "auto" => Ok(()),
        other => Err(Error::config(format!(
            "--runtime={other} is for exported files (.tflite, .onnx); {model} is run by its learner: leave --runtime out"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_or_not_for_a_runtime() {
        assert!(check_file(Path::new("nowhere/model.ckpt")).unwrap_err().to_string().contains("no such file"));
        check_runtime("auto", "it").unwrap();
        assert!(check_runtime("litert", "it").unwrap_err().to_string().contains("leave --runtime out"));
    }
}
