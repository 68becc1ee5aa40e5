//! A learner from outside, with a quantizer that the engine does not know, gets what ours get:
//! parent, loop, checkpoints, resume, packed file, report, evaluation and export. One that changes
//! the graph hands its model on as a parent.

use pocketflow::model::Model;
use pocketflow::quant::{Buckets, Grid};
use pocketflow::tensors::Stored;
use pocketflow_tests::place::{Place, SMALL, finish};
use std::time::{Duration, Instant};

const PARENT: &str = "--nb_epochs_rat=0.04";
/// As [`SMALL`], with residual blocks that keep their size.
const DEEPER: &str = "--net=resnet_at_cifar10 --resnet_size=14 --nb_smpls_train=960 --nb_smpls_val=100 \
                      --nb_smpls_eval=200 --batch_size=64 --threads=1";

/// The flag that adds the plugins from outside.
fn plugins() -> String {
    let outside = std::env::current_exe().unwrap().with_file_name("libpocketflow_fixture_outside.so");
    format!("--plugin-dir={}", outside.display())
}

fn ternary(run: &str) -> String {
    format!(
        "{} --learner=ternary {SMALL} {PARENT} --ternary_epochs=4 --save_step=5 --summ_step=1 --run_dir={run} \
         --save_path={run}.ckpt --ternary_save_path={run}-t/model.ckpt",
        plugins()
    )
}

#[test]
fn a_quantizer_of_ones_own_trains_resumes_packs_reports_and_exports() {
    let place = Place::new();
    let place = &place;
    place.host(&ternary("whole")).expect(0).says(&["full-prec trains it first", "ternary model saved"]);
    let report = place.json("whole/report.json");
    let number = |key: &str| report[key].as_f64().unwrap();
    let (top1, full) = (number("top1"), number("top1_full_precision"));
    assert!(full > 0.5 && top1 > full - 0.2, "{top1} after {full}");
    assert!(number("weight_bits_mean") < 10.0, "{report:#}");

    // Two bits a weight, and one table of three values for a layer.
    let model = Model::load(&place.path("whole-t/model.ckpt")).unwrap();
    let mut ternary_layers = 0;
    for (name, tensor) in &model.tensors {
        let Stored::Packed { quantized, .. } = tensor else { continue };
        ternary_layers += 1;
        let [book] = quantized.codebooks.as_slice() else { panic!("{name}: {} codebooks", quantized.codebooks.len()) };
        assert_eq!((quantized.grid, quantized.bits, book.len()), (Grid::Codebook, 2, 3), "{name}");
        assert_eq!((book[0], book[1]), (-book[2], 0.0), "{name}");
        let quant = model.plan.weights[name.trim_end_matches(".weight")];
        assert_eq!((quant.bits, quant.buckets), (2, Buckets::Layer));
    }
    assert_eq!(ternary_layers, report["layers"].as_array().unwrap().len() - 2, "all but the first and the last");
    // The scales were learned: they are not what they began as.
    let parent = Model::load(&place.path("whole.ckpt")).unwrap();
    let begun = |name: &str| {
        let weights = parent.values(name).unwrap();
        2.0 * weights.iter().map(|weight| weight.abs()).sum::<f32>() / weights.len() as f32
    };
    let learned = |name: &str| model.values(name).unwrap().into_iter().fold(0.0, f32::max);
    let name = format!("{}.weight", model.plan.weights.keys().next().unwrap());
    assert!((learned(&name) / begun(&name) - 1.0).abs() > 1e-3, "{} {}", learned(&name), begun(&name));

    // Killed on its way and resumed, it ends in the same file.
    let mut child = place.start(&ternary("killed"));
    let (checkpoint, start) = (place.path("killed/checkpoints/ternary.ckpt"), Instant::now());
    while !checkpoint.exists() {
        assert!(start.elapsed() < Duration::from_secs(120) && child.try_wait().unwrap().is_none(), "no checkpoint");
        std::thread::sleep(Duration::from_millis(3));
    }
    child.kill().unwrap();
    finish(child);
    place.host(&format!("{} --resume", ternary("killed"))).expect(0);
    assert!(place.bytes("whole-t/model.ckpt") == place.bytes("killed-t/model.ckpt"), "another file after a resume");

    let eval = "eval whole-t/model.ckpt --save_path=whole.ckpt --nb_smpls_eval=200 --format=json --run_dir=eval";
    let again: serde_json::Value =
        serde_json::from_str(&place.host(&format!("{} {eval}", plugins())).expect(0).stdout).unwrap();
    assert_eq!((&again["top1"], &again["top1_full_precision"]), (&report["top1"], &report["top1_full_precision"]));

    // The file is exported without its plugin: three values around zero are exact in 8 bits.
    let export =
        "export --model_dir=whole-t --format=tflite,onnx,pb --nb_smpls_eval=200 --verify_images=200 --threads=1";
    place.host(export).expect(0);
    let exported = place.json("whole-t/export.json");
    for layer in exported["layers"].as_array().unwrap() {
        let ternary = model.plan.weights.contains_key(layer["name"].as_str().unwrap());
        assert!(!ternary || layer["weights"] == "exact", "{layer}");
    }
}

#[test]
fn a_network_that_a_learner_changed_is_a_parent() {
    let place = Place::new();
    let shallow =
        format!("{} --learner=shallow {DEEPER} {PARENT} --run_dir=shallow --shallow_save_path=small.ckpt", plugins());
    place.host(&shallow).expect(0).says(&["smaller model saved"]);
    let (whole, small) = (place.path("models/model.ckpt"), place.path("small.ckpt"));
    let [whole, small] = [whole, small].map(|path| Model::load(&path).unwrap().graph.nodes.len());
    assert!(small < whole, "{small} of {whole} nodes");
    let child = format!(
        "--learner=uniform {DEEPER} --save_path=small.ckpt --uql_quant_epochs=2 --run_dir=run \
         --uql_activation_bits=8"
    );
    place.host(&child).expect(0);
    let model = Model::load(&place.path("uql_quant_models/model.ckpt")).unwrap();
    assert_eq!(model.graph.nodes.len(), small, "the child has the parent's graph");
    let again =
        place.host("eval uql_quant_models/model.ckpt --save_path=small.ckpt --nb_smpls_eval=200 --run_dir=eval");
    again.expect(0);
    // A model of another net is none.
    let other = format!("--learner=uniform {SMALL} --save_path=small.ckpt --run_dir=other");
    place.host(&other).expect(2).says(&["is not a model of"]);
}
