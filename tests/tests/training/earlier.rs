//! What earlier versions wrote is read: a parent, a quantized model, a bit plan, and a run that was
//! interrupted, with its settings and its checkpoint. The files of `tests/samples` were written by
//! the commands in its README.

use pocketflow::model::Model;
use pocketflow_tests::place::{Place, SMALL};
use std::path::Path;

/// The sample, in a place of its own.
fn sample() -> Place {
    let place = Place::new();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/version-0.1.0");
    for file in ["run/run.toml", "run/checkpoints/uniform.ckpt", "models/model.ckpt", "plan.toml", "quantized.ckpt"] {
        std::fs::create_dir_all(place.path(file).parent().unwrap()).unwrap();
        std::fs::copy(from.join(file), place.path(file)).unwrap();
    }
    place
}

#[test]
fn a_run_of_an_earlier_version_is_resumed() {
    let place = sample();
    // What messages ask for: the folder was moved, the plugins are not those of then, and the
    // made-up images may differ in a bit where another processor draws them.
    let settings = std::fs::read_to_string(place.path("run/run.toml")).unwrap();
    let here = place.path("").canonicalize().unwrap();
    let has_changed =
        |line: &&str| ["\"dataset ", "\"learner ", "\"net ", "data = "].iter().any(|start| line.starts_with(start));
    let moved: String = settings
        .lines()
        .filter(|line| !has_changed(line))
        .map(|line| match line.starts_with("\"working folder\"") {
            true => format!("\"working folder\" = {:?}\n", here.display().to_string().trim_end_matches('/')),
            false => format!("{line}\n"),
        })
        .collect();
    std::fs::write(place.path("run/run.toml"), moved).unwrap();
    let flags =
        "--nb_epochs_rat=0.012 --uql_activation_bits=4 --uql_quant_epochs=12 --uql_bit_plan=plan.toml --save_step=5";
    place.host(&format!("--resume --learner=uniform {SMALL} {flags} --run_dir=run")).expect(0);
    let log = String::from_utf8(place.bytes("run/log.txt")).unwrap();
    assert!(log.contains("uniform goes on after step 6 of 180"), "{log}");
    let model = Model::load(&place.path("uql_quant_models/model.ckpt")).unwrap();
    let bits = |layer: &str| model.plan.weights[layer].bits;
    assert_eq!((bits("layer1.0.conv1"), bits("layer1.0.conv2")), (2, 4), "the plan was read");
    assert_eq!(model.plan.activations["layer1.0.relu1"].bits, 8);
}

#[test]
fn a_model_of_an_earlier_version_is_evaluated_and_exported() {
    let place = sample();
    let evaluated = place.host("eval quantized.ckpt --nb_smpls_eval=200 --format=json --run_dir=eval").expect(0);
    let report: serde_json::Value = serde_json::from_str(&evaluated.stdout).unwrap();
    assert!(report["top1"].as_f64().unwrap() > 0.15 && report["top1_full_precision"].as_f64().is_some(), "{report:#}");
    std::fs::create_dir(place.path("deploy")).unwrap();
    std::fs::rename(place.path("quantized.ckpt"), place.path("deploy/model.ckpt")).unwrap();
    place.host("export --model_dir=deploy --format=pb --nb_smpls_eval=200 --threads=1").expect(0);
}
