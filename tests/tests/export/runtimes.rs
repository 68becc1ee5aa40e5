//! The same files in LiteRT, ONNX Runtime and TensorFlow, installed from PyPI.

use crate::{exported, number, quantized, runs, trained};
use pocketflow_export::interpret::{Data, Interpreter};
use pocketflow_export::tflite::model::DType;
use pocketflow_export::tflite::{self, part::single_operator};
use pocketflow_runtime::{Choice, LibraryPaths, Normalisation, open};
use pocketflow_tests::place::SMALL;
use pocketflow_tests::wheels::{LITERT, ONNXRUNTIME, TENSORFLOW, python, wheels};
use serde_json::Value;
use std::path::Path;

fn pixels() -> Normalisation {
    Normalisation { mean: vec![0.0], std: vec![1.0] }
}

/// An image's worth of noise.
fn noise(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// Those of exact runs: where the processor has no VNNI, ONNX Runtime's default options are
/// compared too, and differ.
fn comparisons(outcome: &Value) -> Vec<&Value> {
    let all = outcome["comparisons"].as_array().unwrap().iter();
    all.filter(|comparison| !comparison["one"].as_str().unwrap().contains("default options")).collect()
}

#[test]
fn litert_and_onnx_runtime_decide_as_the_reference() {
    let place = trained();
    quantized(&place, "");
    let libraries = format!("--litert={} --onnxruntime={}", wheels(LITERT).display(), wheels(ONNXRUNTIME).display());
    let outcome =
        exported(&place, "models_uqtf_eval", &format!("--format=tflite,onnx --verify_images=200 {libraries}"));
    let named = |file: &str, runtime: &str| {
        let run = runs(&outcome, file).iter().find(|run| run["runtime"].as_str().unwrap().contains(runtime));
        run.unwrap_or_else(|| panic!("{file} in {runtime}: {outcome:#}")).clone()
    };
    for (file, runtime, least) in [
        ("model_quantized.tflite", "LiteRT", 0.985),
        ("model_quantized.tflite", "reference", 0.985),
        ("model_quantized.onnx", "ONNX", 0.985),
        // Floats, where the learner computes with 8 bits.
        ("model_original.tflite", "LiteRT", 0.95),
    ] {
        assert!(number(&named(file, runtime)["agreement"]) >= least, "{file} in {runtime}: {outcome:#}");
    }
    let comparisons = comparisons(&outcome);
    assert_eq!(comparisons.len(), 3, "LiteRT and ONNX Runtime, each with the reference, and together: {outcome:#}");
    for comparison in comparisons {
        assert!(number(&comparison["agreement"]) >= 0.985, "{comparison:#}");
        // Rounding errors of one operator move on through the next ones, from the specification's
        // way to round; the runtimes share one.
        let most = if comparison["other"].as_str().unwrap().contains("reference") { 3.0 } else { 1.0 };
        assert!(number(&comparison["largest_step"]) <= most, "{comparison:#}");
    }
}

/// Weights alone, and weights and activations: `uniform` leaves the first and the last layer and
/// all sums in float.
#[test]
fn the_runtimes_run_what_is_float_in_part() {
    let place = trained();
    let libraries = format!("--litert={} --onnxruntime={}", wheels(LITERT).display(), wheels(ONNXRUNTIME).display());
    for (weight_bits, bits) in [(4, 32), (8, 8)] {
        let run = format!("--run_dir=run{bits} --uql_save_quant_model_path=bits{bits}/model.ckpt");
        let flags = format!("--uql_weight_bits={weight_bits} --uql_activation_bits={bits} --uql_quant_epoch=1");
        place.host(&format!("--learner=uniform {SMALL} {flags} {run}")).expect(0);
        let flags = format!("--format=tflite,onnx --verify_images=200 {libraries}");
        let outcome = exported(&place, &format!("bits{bits}"), &flags);
        for (file, runtime) in [
            ("model_quantized.tflite", "LiteRT"),
            ("model_quantized.tflite", "reference"),
            ("model_quantized.onnx", "ONNX"),
        ] {
            let mut of_file = runs(&outcome, file).iter();
            let run = of_file.find(|run| run["runtime"].as_str().unwrap().contains(runtime));
            let run = run.unwrap_or_else(|| panic!("{file} in {runtime}: {outcome:#}"));
            // The weights' grids are others than in training.
            assert!(number(&run["agreement"]) >= 0.95, "{bits} bits, {file} in {runtime}: {outcome:#}");
        }
        let comparisons = comparisons(&outcome);
        assert_eq!(comparisons.len(), 3, "{outcome:#}");
        for comparison in comparisons {
            assert!(number(&comparison["agreement"]) >= 0.99, "{bits} bits: {comparison:#}");
            let summed_in_another_order = number(&comparison["largest"]) < 1e-4;
            assert!(summed_in_another_order || bits == 8, "{comparison:#}");
        }
    }
}

#[test]
fn every_operator_is_within_a_step_of_the_reference() {
    let place = trained();
    let libraries = LibraryPaths { litert: Some(wheels(LITERT)), onnxruntime: None };
    for target in ["int8", "uint8"] {
        quantized(&place, &format!("--uqtf_target={target} --resnet_shortcut=projection"));
        exported(&place, "models_uqtf_eval", &format!("--type={target} --format=tflite --verify_images=0"));
        let model = tflite::read(&place.bytes("models_uqtf_eval/model_quantized.tflite")).unwrap();
        let mut interpreter = Interpreter::new(&model).unwrap();
        let mut values: Vec<Option<Vec<u8>>> = model.tensors.iter().map(|tensor| tensor.data.clone()).collect();
        let input = noise(32 * 32 * 3, 7);
        let dtype = model.tensors[model.inputs[0]].dtype;
        values[model.inputs[0]] = Some(input.clone());
        let input = Data::from_bytes(dtype, &input).unwrap();
        interpreter.run_watched(&[input], &mut |tensor, data| values[tensor] = Some(bytes(data))).unwrap();
        for (index, operator) in model.operators.iter().enumerate() {
            let part = single_operator(&model, index);
            let path = place.path(format!("operator{index}.tflite"));
            std::fs::write(&path, tflite::write(&part).unwrap()).unwrap();
            let mut runtime = open(&path, Choice::Litert, &libraries, 1, &pixels()).unwrap().runtime;
            let computed = operator.inputs.iter().flatten().filter(|input| model.tensors[**input].data.is_none());
            let inputs: Vec<&[u8]> = computed.map(|input| values[*input].as_deref().unwrap()).collect();
            let found = &runtime.run_raw(&inputs).unwrap()[0];
            let wanted = values[operator.outputs[0]].as_ref().unwrap();
            let signed = model.tensors[operator.outputs[0]].dtype == DType::Int8;
            let code = |byte: u8| if signed { i32::from(byte as i8) } else { i32::from(byte) };
            let gap = found.iter().zip(wanted).map(|(found, wanted)| (code(*found) - code(*wanted)).abs()).max();
            assert!(gap.unwrap() <= 1, "{target}, operator {index} ({:?}): {gap:?} steps", operator.kind);
            assert_eq!(found.len(), wanted.len());
        }
    }
}

fn bytes(data: &Data) -> Vec<u8> {
    match data {
        Data::Int8(values) => values.iter().map(|value| *value as u8).collect(),
        Data::Uint8(values) => values.clone(),
        Data::Float(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        Data::Int32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    }
}

/// TensorFlow takes a minute to install and to start: one test for all that needs it.
#[test]
fn tensorflow_imports_the_graph_and_makes_integers_of_it() {
    let place = trained();
    exported(&place, "models", "--enbl_post_quant --calibration_images=32 --format=tflite,pb --verify_images=0");
    let float = tflite::read(&place.bytes("models/model_original.tflite")).unwrap();
    let mut interpreter = Interpreter::new(&float).unwrap();
    let input: Vec<f32> = noise(32 * 32 * 3, 3).into_iter().map(|pixel| f32::from(pixel) / 64.0 - 2.0).collect();
    let Data::Float(logits) = interpreter.run(&[Data::Float(input.clone())]).unwrap().remove(0) else {
        panic!("floats")
    };
    let put = |name: &str, values: &[f32]| {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        std::fs::write(place.path(name), bytes).unwrap();
    };
    put("input.f32", &input);
    put("logits.f32", &logits);
    let path = |name: &str| place.path(name);
    std::fs::create_dir(path("floats")).unwrap();
    for (from, to) in [
        ("models/model_original.pb", "floats/model.pb"),
        ("input.f32", "floats/model.input.f32"),
        ("logits.f32", "floats/model.logits.f32"),
    ] {
        std::fs::copy(path(from), path(to)).unwrap();
    }
    let said = python("graph_def.py", TENSORFLOW, &[&path("floats"), Path::new("floats")]);
    assert!(said.contains("outputs of 1 files agree"), "{said}");

    quantized(&place, "");
    exported(&place, "models_uqtf_eval", "--format=tflite,pb --verify_images=0");
    let integer = tflite::read(&place.bytes("models_uqtf_eval/model_quantized.tflite")).unwrap();
    std::fs::write(path("ours.tflite"), tflite::write(&integer).unwrap()).unwrap();
    let arguments = [&path("models_uqtf_eval/model_original.pb"), &path("input.f32"), &path("ours.tflite")];
    let said = python("graph_def.py", TENSORFLOW, &[arguments[0], arguments[1], arguments[2], Path::new("integer")]);
    assert!(said.contains("full-integer"), "{said}");
}
