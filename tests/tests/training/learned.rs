//! Steps that are learned: from a parent to a packed file and its exports, resumed exactly, under
//! bit plans and a teacher; and what they refuse.

use pocketflow::model::Model;
use pocketflow_tests::place::{Place, SMALL, finish};
use std::time::{Duration, Instant};

const LEARNED: &str = "--learner=uniform --uql_quantizer=learned";

fn number(report: &serde_json::Value, key: &str) -> f64 {
    report[key].as_f64().unwrap_or_else(|| panic!("`{key}` in {report:#}"))
}

#[test]
fn learned_steps_beat_ranges_at_two_bits_resume_exactly_and_export_exactly() {
    let place = Place::new();
    let place = &place;
    place.host(&format!("--learner=full-prec {SMALL} --nb_epochs_rat=0.04")).expect(0);
    let child = |run: &str| {
        format!(
            "{SMALL} --uql_weight_bits=2 --uql_activation_bits=2 --uql_use_buckets --uql_quant_epochs=3 --save_step=5 \
             --summ_step=1 --run_dir={run} --uql_save_quant_model_path={run}-q/model.ckpt"
        )
    };
    place.host(&format!("{LEARNED} {}", child("whole"))).expect(0);
    place.host(&format!("--learner=uniform {}", child("ranges"))).expect(0);
    let [learned, ranges] = ["whole", "ranges"].map(|run| place.json(&format!("{run}/report.json")));
    let full = number(&learned, "top1_full_precision");
    let [top1, by_ranges] = [&learned, &ranges].map(|report| number(report, "top1"));
    assert!(full > 0.5 && top1 > full - 0.25 && top1 > by_ranges, "{top1} learned, {by_ranges} by ranges of {full}");
    // The same file, but for the digits of ranges in its header.
    let [bytes, by_ranges] = [&learned, &ranges].map(|report| number(report, "model_bytes"));
    assert!((bytes - by_ranges).abs() < 64.0, "{bytes} bytes and {by_ranges}");

    // Zero is on the grid of every bucket, with as many codes below it as there are bits for.
    let model = Model::load(&place.path("whole-q/model.ckpt")).unwrap();
    let mut buckets = 0;
    for tensor in model.tensors.values() {
        let pocketflow::tensors::Stored::Packed { quantized, .. } = tensor else { continue };
        for [alpha, beta] in &quantized.ranges {
            buckets += 1;
            assert!((beta / alpha + 2.0 / 3.0).abs() < 1e-6, "α = {alpha}, β = {beta}");
        }
    }
    assert!(buckets > 100, "{buckets} buckets");

    // Killed on its way and resumed, it ends in the same file.
    let mut killed = place.start(&format!("{LEARNED} {}", child("killed")));
    let (checkpoint, start) = (place.path("killed/checkpoints/uniform.ckpt"), Instant::now());
    while !checkpoint.exists() {
        assert!(start.elapsed() < Duration::from_secs(120) && killed.try_wait().unwrap().is_none(), "no checkpoint");
        std::thread::sleep(Duration::from_millis(3));
    }
    killed.kill().unwrap();
    finish(killed);
    place.host(&format!("{LEARNED} {} --resume", child("killed"))).expect(0);
    assert!(place.bytes("whole-q/model.ckpt") == place.bytes("killed-q/model.ckpt"), "another file after a resume");

    // The file needs no quantizer: it is evaluated and exported as it is, with exact weights.
    let eval = "eval whole-q/model.ckpt --nb_smpls_eval=200 --format=json --run_dir=eval";
    let again: serde_json::Value = serde_json::from_str(&place.host(eval).expect(0).stdout).unwrap();
    assert_eq!(again["top1"], learned["top1"]);
    let export =
        "export --model_dir=whole-q --format=tflite,onnx,pb --nb_smpls_eval=200 --verify_images=200 --threads=1";
    place.host(export).expect(0);
    for layer in place.json("whole-q/export.json")["layers"].as_array().unwrap() {
        let quantized = model.plan.weights.contains_key(layer["name"].as_str().unwrap());
        assert!(!quantized || layer["weights"] == "exact", "{layer}");
    }
}

#[test]
fn bit_plans_buckets_a_teacher_and_no_training() {
    let place = Place::new();
    place.host(&format!("--learner=full-prec {SMALL} --nb_epochs_rat=0.02")).expect(0);
    let plan = "[weight_bits]\n\"layer1.0.conv1\" = 2\n\"conv1\" = 8\n\"layer1.0.conv2\" = 32\n[activation_bits]\n\"layer1.0.relu1\" = 3\n";
    std::fs::write(place.path("plan.toml"), plan).unwrap();
    for (name, flags) in [
        ("plan", "--uql_bit_plan=plan.toml --uql_activation_bits=4"),
        ("split", "--uql_use_buckets --uql_bucket_type=split --uql_bucket_size=100 --enbl_dst"),
        ("all", "--uql_quantize_all_layers --uql_activation_bits=8 --uql_weight_range=mse"),
        ("untrained", "--uql_quant_epoch=0 --uql_weight_bits=8 --uql_activation_bits=8"),
    ] {
        let epochs = if name == "untrained" { "" } else { "--uql_quant_epoch=1" };
        let flags = format!("{LEARNED} {SMALL} {epochs} --run_dir={name} {flags} --save_path_dst=models/model.ckpt");
        place.host(&flags).expect(0);
        let report = place.json(&format!("{name}/report.json"));
        let (quantized, full) = (number(&report, "top1"), number(&report, "top1_full_precision"));
        assert!(quantized > full - 0.15, "{name}: {quantized} after {full}");
    }
    let layers = place.json("plan/report.json")["layers"].clone();
    let bits: Vec<u64> =
        layers.as_array().unwrap().iter().map(|layer| layer["weight_bits"].as_u64().unwrap()).collect();
    assert_eq!(bits[..3], [8, 2, 32], "as the plan says");
}

#[test]
fn bits_that_no_step_has() {
    let place = Place::new();
    let run = |flags: &str| place.host(&format!("{LEARNED} {SMALL} {flags}")).expect(2);
    run("--uql_weight_bits=1").says(&["uql_weight_bits", "2 to 16 bits", "minmax"]);
    run("--uql_activation_bits=1").says(&["uql_activation_bits", "2 to 16 bits"]);
    run("--uql_weight_bits=17").says(&["uql_weight_bits", "2 to 16 bits"]);
    run("--uql_bit_search=uniform --uql_w_bit_min=1").says(&["uql_w_bit_min", "2 to 16 bits"]);
    std::fs::write(place.path("plan.toml"), "[weight_bits]\n\"layer1.0.conv1\" = 1\n").unwrap();
    run("--uql_bit_plan=plan.toml").says(&["plan.toml", "layer1.0.conv1", "2 to 16 bits"]);
    assert!(!place.path("models").exists(), "nothing was trained before it was said");
}
