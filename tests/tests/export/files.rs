//! What export writes, and that the integers compute what the learner measured.

use crate::{exported, exported_on, number, quantized, runs, trained};
use pocketflow_export::tflite;
use pocketflow_tests::place::SMALL;

/// No other runtime, whatever is installed here.
const ALONE: &str = "--format=tflite,pb --verify_images=200";

#[test]
fn a_network_trained_for_integers_exports_as_it_was_trained() {
    let place = trained();
    for target in ["int8", "uint8"] {
        let report = quantized(&place, &format!("--uqtf_target={target}"));
        assert!(number(&report["top1"]) > number(&report["top1_full_precision"]) - 0.1, "{report:#}");
        // Of 200 images, a share of 98.8 % is too often found below 98.5 %.
        let flags = format!("--type={target} --format=tflite,pb --verify_images=2000");
        let outcome = exported_on(2000, &place, "models_uqtf_eval", &flags);
        for layer in outcome["layers"].as_array().unwrap() {
            assert_eq!((&layer["weights"], &layer["output"]), (&"exact".into(), &"exact".into()), "{target}: {layer}");
        }
        let runs = runs(&outcome, "model_quantized.tflite");
        let reference = runs.iter().find(|run| run["runtime"].as_str().unwrap().contains("reference")).unwrap();
        assert!(number(&reference["agreement"]) >= 0.985, "{target}: {outcome:#}");
        for file in ["model_original.pb", "model_original.tflite", "labels.txt", "input.json"] {
            assert!(!place.bytes(&format!("models_uqtf_eval/{file}")).is_empty(), "{file}");
        }
        // The file says itself on what images it is measured.
        let eval =
            "eval models_uqtf_eval/model_quantized.tflite --runtime=reference --nb_smpls_eval=2000 --format=json";
        let again: serde_json::Value = serde_json::from_str(&place.host(eval).expect(0).stdout).unwrap();
        assert_eq!(again["top1"], reference["top1"]);
        assert_eq!(again["stand_in_data"], true);
        // The learner's own model is compared with its parent, though its batch normalisations are
        // folded and the parent's are not.
        let eval =
            format!("eval models_uqtf_eval/model.ckpt --nb_smpls_eval=200 --run_dir=eval-{target} --format=json");
        let again: serde_json::Value = serde_json::from_str(&place.host(&eval).expect(0).stdout).unwrap();
        for figure in ["top1", "top1_full_precision"] {
            assert_eq!(again[figure], report[figure], "{figure}");
        }
        let model = tflite::read(&place.bytes("models_uqtf_eval/model_quantized.tflite")).unwrap();
        assert_eq!(model.signature.as_ref().unwrap().key, "serving_default");
        assert_eq!(model.files[0].0, "labels.txt");
    }
}

#[test]
fn a_float_network_is_quantized_after_training() {
    let place = trained();
    let outcome = exported(&place, "models", &format!("--enbl_post_quant --calibration_images=128 {ALONE}"));
    assert!(outcome["layers"].as_array().unwrap().iter().all(|layer| layer["weights"] == "post_quantized"));
    let runs = runs(&outcome, "model_quantized.tflite");
    assert!(number(&runs.last().unwrap()["agreement"]) > 0.93, "{outcome:#}");
    for method in ["minmax", "percentile --calibration_percent=0.1"] {
        let flags = format!("--enbl_post_quant --calibration_images=64 --calibration_method={method} {ALONE}");
        let outcome = exported(&place, "models", &flags);
        assert!(
            number(&crate::runs(&outcome, "model_quantized.tflite").last().unwrap()["agreement"]) > 0.9,
            "{method}"
        );
    }
    let sizes =
        ["model_original.tflite", "model_quantized.tflite"].map(|name| place.bytes(&format!("models/{name}")).len());
    assert!(sizes[0] as f64 > 2.5 * sizes[1] as f64, "{sizes:?}");
}

#[test]
fn a_network_of_uniform_says_layer_by_layer_what_became_of_it() {
    let place = trained();
    let flags = "--uql_weight_bits=4 --uql_activation_bits=4 --uql_use_buckets --uql_quant_epoch=1 --run_dir=run";
    place.host(&format!("--learner=uniform {SMALL} {flags}")).expect(0);
    let outcome = exported(&place, "uql_quant_models", &format!("--enbl_post_quant --calibration_images=128 {ALONE}"));
    let layers = outcome["layers"].as_array().unwrap();
    assert_eq!(layers[0]["weights"], "post_quantized", "the first layer was float");
    assert_eq!((&layers[1]["bits"], &layers[1]["weights"]), (&4.into(), &"requantized".into()));
    assert_eq!(layers[0]["output"], "exact", "4 bits after a ReLU");
    let run = runs(&outcome, "model_quantized.tflite").last().unwrap();
    assert!(number(&run["agreement"]) > 0.9, "{outcome:#}");
}

#[test]
fn what_uniform_left_in_float_stays_so() {
    let place = trained();
    let flags = "--uql_weight_bits=8 --uql_activation_bits=8 --uql_use_buckets --uql_quant_epoch=1 --run_dir=run";
    place.host(&format!("--learner=uniform {SMALL} {flags}")).expect(0);
    let outcome = exported(&place, "uql_quant_models", ALONE);
    let of_layer = |name: &str| {
        let layers = outcome["layers"].as_array().unwrap();
        layers.iter().find(|layer| layer["name"] == name).unwrap_or_else(|| panic!("{name}: {outcome:#}"))
    };
    let said = |name: &str| {
        let layer = of_layer(name);
        format!("{} {} {}", layer["weights"], layer["output"], layer["integer"]).replace('"', "")
    };
    assert_eq!(said("conv1"), "float exact false", "read in float, quantized behind its ReLU");
    assert_eq!(said("layer1.0.conv1"), "requantized exact true", "from grid to grid");
    assert_eq!(said("layer1.0.conv2"), "requantized float false", "before a sum nothing was quantized");
    assert_eq!(said("fc"), "float float false");
    assert!(outcome["notes"].to_string().contains("compute in float"), "{outcome:#}");
    // Between the file and the learner is the rounding of the weights to other grids, near 1 % of
    // them, in a net that is not sure of much.
    let run = runs(&outcome, "model_quantized.tflite").last().unwrap();
    assert!(number(&run["agreement"]) >= 0.95, "{outcome:#}");
    let sizes =
        ["original", "quantized"].map(|kind| place.bytes(&format!("uql_quant_models/model_{kind}.tflite")).len());
    assert!(sizes[0] as f64 > 2.5 * sizes[1] as f64, "{sizes:?}");
    let eval = "eval uql_quant_models/model_quantized.tflite --runtime=reference --nb_smpls_eval=200 --format=json";
    let again: serde_json::Value = serde_json::from_str(&place.host(eval).expect(0).stdout).unwrap();
    assert_eq!(again["top1"], run["top1"], "the file says how its images are normalised");
}

#[test]
fn files_side_by_side() {
    let place = trained();
    exported(&place, "models", &format!("--enbl_post_quant --calibration_images=32 {ALONE}"));
    let bench = "bench models/model_original.tflite models/model_quantized.tflite --images=50 --nb_smpls_eval=50";
    let text = place.host(bench).expect(0).stdout;
    assert!(text.contains("model_quantized.tflite") && text.contains("STAND-IN DATA"), "{text}");
    let rows: serde_json::Value =
        serde_json::from_str(&place.host(&format!("{bench} --format=json")).expect(0).stdout).unwrap();
    assert_eq!(rows[0]["images"], 50);
    for row in rows.as_array().unwrap() {
        let latency = &row["latency"][0];
        assert!(number(&latency["p90_ms"]) >= number(&latency["median_ms"]), "{row:#}");
    }
}
