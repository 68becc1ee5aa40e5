//! `host eval MODEL`: which kind of file it is, and who can run it.

use crate::layers::Layers;
use crate::run::{self, Program, Task};
use pocketflow::model::Model;
use pocketflow::{Error, Result};
use std::path::{Path, PathBuf};

/// Files of other runtimes, by extension, with the runtime's name.
const EXPORTED: [(&str, &str); 2] = [("tflite", "litert"), ("onnx", "onnxruntime")];

/// Evaluates a model on the test images and prints the report.
///
/// # Errors
/// No such file, not a model, or a runtime that does not run it.
pub fn eval(program: &Program, layers: Layers, model: Option<PathBuf>, runtime: &str) -> Result<()> {
    let Some(path) = model else {
        check_runtime(runtime, "a saved model")?;
        return run::run(program, layers, Task::Evaluate);
    };
    check_file(&path)?;
    check_runtime(runtime, &format!("`{}`", path.display()))?;
    let model = Box::new(Model::load(&path)?);
    run::run(program, layers, Task::EvaluateModel { path, model })
}

fn check_file(path: &Path) -> Result<()> {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    if let Some((extension, runtime)) = EXPORTED.iter().find(|(known, _)| known.eq_ignore_ascii_case(extension)) {
        return Err(Error::config(format!(
            "`{}`: this version runs no .{extension} files ({runtime}); give the model that a learner saved",
            path.display()
        )));
    }
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
    fn only_saved_models_are_taken() {
        let said = |path: &str| check_file(Path::new(path)).unwrap_err().to_string();
        assert!(said("a/model.TFLITE").contains("litert"));
        assert!(said("model.onnx").contains("onnxruntime"));
        assert!(said("nowhere/model.ckpt").contains("no such file"));
        check_runtime("auto", "it").unwrap();
        assert!(check_runtime("litert", "it").unwrap_err().to_string().contains("leave --runtime out"));
    }
}
