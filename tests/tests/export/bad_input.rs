//! What cannot be exported or run is said, with what to do, and no file is left behind.

use crate::{quantized, trained};
use pocketflow_tests::place::{Place, SMALL};
use std::fs;

#[test]
fn nothing_to_export() {
    let place = Place::new();
    place.host("export --model_dir=nowhere").expect(2).says(&["nowhere", "cannot read"]);
    fs::create_dir(place.path("empty")).unwrap();
    place.host("export --model_dir=empty").expect(2).says(&["holds no model to export"]);
    fs::write(place.path("empty/model.ckpt"), "no model").unwrap();
    place.host("export --model_dir=empty").expect(2).says(&["not a model or checkpoint of PocketFlow"]);
    assert_eq!(fs::read_dir(place.path("empty")).unwrap().count(), 1, "nothing was written");
}

#[test]
fn a_float_network_needs_leave_and_images() {
    let place = trained();
    place.host("export --model_dir=models").expect(2).says(&["layers in float", "conv1", "--enbl_post_quant"]);
    // Of another data set than the one that is here.
    let flags = "export --model_dir=models --enbl_post_quant --dataset=cifar10 --format=tflite";
    place.host(flags).expect(2).says(&["must be taken from training images", "--default-ranges-min"]);
    assert_eq!(fs::read_dir(place.path("models")).unwrap().count(), 1, "nothing was written");
    let flags = format!("{flags} --default_ranges_min=-4 --default_ranges_max=4");
    place.host(&flags).expect(0).says(&["no image tells the range of", "relu", "not checked"]);
    let refused = place.host("export --model_dir=models --default_ranges_min=1 --default_ranges_max=4").expect(2);
    assert!(refused.stderr.contains("zero between them"), "{}", refused.stderr);
    place.host("export --model_dir=models --default_ranges_min=-1").expect(2).says(&["both"]);
    place.host("export --model_dir=models --format=tfl").expect(2).says(&["tfl"]);
}

#[test]
fn more_bits_than_a_byte() {
    let place = trained();
    quantized(&place, "--uqtf_weight_bits=12 --uqtf_activation_bits=10");
    let flags = "export --model_dir=models_uqtf_eval --format=tflite --verify_images=0";
    place.host(flags).expect(2).says(&["--enbl_post_quant"]);
    place.host(&format!("{flags} --enbl_post_quant --calibration_images=64")).expect(0);
    // `uniform`'s are no codes any more once batch normalisations are folded.
    let uniform = format!("--learner=uniform {SMALL} --uql_weight_bits=12 --uql_quant_epoch=0 --run_dir=uniform");
    place.host(&uniform).expect(0);
    let flags = "export --model_dir=uql_quant_models --format=tflite --verify_images=0";
    place.host(flags).expect(2).says(&["weights of layer1.0.conv1 (12)", "--enbl_post_quant"]);
    assert_eq!(fs::read_dir(place.path("uql_quant_models")).unwrap().count(), 1, "nothing was written");
}

#[test]
fn files_and_runtimes_that_are_none() {
    let place = trained();
    let export =
        "export --model_dir=models --enbl_post_quant --calibration_images=32 --verify_images=0 --format=tflite";
    place.host(export).expect(0);
    let whole = place.bytes("models/model_quantized.tflite");
    fs::write(place.path("cut.tflite"), &whole[..whole.len() / 2]).unwrap();
    fs::write(place.path("text.tflite"), "no model").unwrap();
    fs::write(place.path("text.onnx"), "no model").unwrap();
    for file in ["cut.tflite", "text.tflite", "text.onnx"] {
        let run = place.host(&format!("eval {file} --runtime=auto {SMALL}"));
        assert!(run.status == 1 || run.status == 2, "{file}: {}", run.stderr);
        assert!(run.stderr.contains(file), "{}", run.stderr);
        assert!(!run.stderr.contains("panicked"), "{}", run.stderr);
    }
    fs::write(place.path("libLiteRt.so"), "no library").unwrap();
    let eval = "eval models/model_quantized.tflite --nb_smpls_eval=10";
    place.host(&format!("{eval} --runtime=litert --litert=libLiteRt.so")).expect(2).says(&["libLiteRt.so"]);
    place.host(&format!("{eval} --runtime=onnxruntime")).expect(2).says(&["onnx"]);
    place.host(&format!("{eval} --runtime=litert --litert=nowhere")).expect(2).says(&["nowhere", "pip install"]);
    place.host("bench models/model.ckpt").expect(2).says(&["neither .tflite nor .onnx"]);
    place.host("eval models/model.ckpt --runtime=litert").expect(2).says(&["leave --runtime out"]);
    // Made-up images come in the file's own size, whatever shape they imitate.
    place.host(&format!("{eval} --runtime=reference --dataset=synthetic --synthetic_shape=ilsvrc12")).expect(0);
}
