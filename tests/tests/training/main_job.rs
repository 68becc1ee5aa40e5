//! From nothing to a packed 4-bit network and its report, by one command.

use pocketflow::model::Model;
use pocketflow_tests::place::{Place, SMALL};

fn number(report: &serde_json::Value, key: &str) -> f64 {
    report[key].as_f64().unwrap_or_else(|| panic!("`{key}` in {report:#}"))
}

#[test]
fn one_command_trains_quantizes_packs_and_reports() {
    let place = Place::new();
    let flags = "--learner=uniform --net=resnet_at_cifar10 --resnet_size=8 --nb_smpls_eval=500 --uql_activation_bits=4 \
                 --nb_epochs_rat=0.02 --uql_quant_epochs=2 --threads=1 --run_dir=run";
    let run = place.host(flags).expect(0).says(&["full-prec trains it first", "STAND-IN", "synthetic"]);
    assert!(run.stdout.contains("STAND-IN DATA"), "{}", run.stdout);
    for file in ["run.toml", "report.json", "report.html", "metrics.jsonl", "log.txt"] {
        assert!(!place.bytes(&format!("run/{file}")).is_empty(), "{file}");
    }
    let report = place.json("run/report.json");
    assert_eq!(report["learner"], "uniform");
    assert_eq!(report["net"], "resnet_at_cifar10");
    assert_eq!(report["dataset"], "synthetic");
    assert_eq!(report["stand_in_data"], true);
    let (quantized, full) = (number(&report, "top1"), number(&report, "top1_full_precision"));
    assert!(full > 0.5, "chance is 0.1, full precision reached {full}");
    assert!(quantized > full - 0.1, "{quantized} after {full}");

    // The file is as small as bits, ranges and full-precision tensors make it, and a header.
    let model = Model::load(&place.path("uql_quant_models/model.ckpt")).unwrap();
    let bytes = place.bytes("uql_quant_models/model.ckpt").len() as u64;
    assert_eq!(number(&report, "model_bytes") as u64, bytes);
    let needed: u64 = model.tensors.values().map(pocketflow::tensors::Stored::payload_bytes).sum();
    assert!(bytes < needed + 2048, "{bytes} bytes for {needed}");
    assert!(number(&report, "compression_ratio") > 4.0, "{report:#}");
    let layers = report["layers"].as_array().unwrap();
    let bits: Vec<u64> = layers.iter().map(|layer| layer["weight_bits"].as_u64().unwrap()).collect();
    assert_eq!((bits[0], bits[1], bits[bits.len() - 1]), (32, 4, 32), "all but the first and the last");

    // What was saved is what was measured.
    let again = place.host("eval uql_quant_models/model.ckpt --nb_smpls_eval=500 --format=json").expect(0);
    let again: serde_json::Value = serde_json::from_str(&again.stdout).unwrap();
    assert_eq!(again["top1"], report["top1"]);
    let mode = format!("{flags} --exec_mode=eval --format=json").replace("--run_dir=run", "--run_dir=eval");
    let mode: serde_json::Value = serde_json::from_str(&place.host(&mode).expect(0).stdout).unwrap();
    assert_eq!(mode["top1"], report["top1"]);
    assert_eq!(mode["top1_full_precision"], report["top1_full_precision"]);
}

#[test]
fn run_toml_repeats_a_run_bit_for_bit() {
    let place = Place::new();
    place
        .host(&format!("--learner=full-prec {SMALL} --nb_epochs_rat=0.004 --run_dir=first --save_path=a.ckpt"))
        .expect(0);
    place.host("--config=first/run.toml --run_dir=second --save_path=b.ckpt").expect(0);
    assert!(place.bytes("a.ckpt") == place.bytes("b.ckpt"), "the same weights");
    place.host("--config=first/run.toml --run_dir=third --save_path=c.ckpt --seed=1").expect(0);
    assert!(place.bytes("a.ckpt") != place.bytes("c.ckpt"), "another seed, other weights");
}

#[test]
fn every_way_of_cutting_buckets_distillation_and_a_bit_plan() {
    let place = Place::new();
    place.host(&format!("--learner=full-prec {SMALL} --nb_epochs_rat=0.008")).expect(0);
    std::fs::write(
        place.path("plan.toml"),
        "[weight_bits]\n\"layer1.0.conv1\" = 2\n\"conv1\" = 8\n\"layer1.0.conv2\" = 32\n",
    )
    .unwrap();
    let mut sizes = Vec::new();
    for (name, flags) in [
        ("layer", ""),
        ("channel", "--uql_use_buckets"),
        ("split", "--uql_use_buckets --uql_bucket_type=split --uql_bucket_size=16 --enbl_dst"),
        ("all", "--uql_quantize_all_layers=True --uql_activation_bits=8"),
        ("plan", "--uql_bit_plan=plan.toml"),
    ] {
        let flags = format!(
            "--learner=uniform {SMALL} --uql_quant_epoch=1 --run_dir={name} {flags} --save_path_dst=models/model.ckpt"
        );
        place.host(&flags).expect(0);
        let report = place.json(&format!("{name}/report.json"));
        let (quantized, full) = (number(&report, "top1"), number(&report, "top1_full_precision"));
        assert!(quantized > full - 0.15, "{name}: {quantized} after {full}");
        sizes.push((name, number(&report, "model_bytes"), number(&report, "bucket_bytes")));
    }
    let bytes = |name: &str| sizes.iter().find(|(other, ..)| *other == name).unwrap();
    assert!(bytes("channel").2 > bytes("layer").2, "a range for each channel: {sizes:?}");
    assert!(bytes("split").2 > bytes("channel").2, "{sizes:?}");
    assert!(bytes("all").1 < bytes("layer").1, "{sizes:?}");
    let layers = place.json("plan/report.json")["layers"].clone();
    let bits: Vec<u64> =
        layers.as_array().unwrap().iter().map(|layer| layer["weight_bits"].as_u64().unwrap()).collect();
    assert_eq!(bits[..3], [8, 2, 32], "as the plan says");
}

#[test]
fn without_training_it_is_quantization_alone() {
    let place = Place::new();
    place.host(&format!("--learner=full-prec {SMALL} --nb_epochs_rat=0.008")).expect(0);
    let flags = "--uql_quant_epoch=0 --uql_weight_bits=8 --uql_activation_bits=8 --run_dir=run";
    place.host(&format!("--learner=uniform {SMALL} {flags}")).expect(0);
    let report = place.json("run/report.json");
    let (quantized, full) = (number(&report, "top1"), number(&report, "top1_full_precision"));
    assert!((quantized - full).abs() < 0.05, "{quantized} after {full}");
}
