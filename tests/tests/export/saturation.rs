//! ONNX Runtime on processors without VNNI, where its default kernels add products in 16 bits: what
//! a file computes there, and what users are told. What depends on the processor is asked of the
//! processor.

use crate::{exported, number, runs, trained};
use pocketflow::graph::{Graph, GraphBuilder, Linear};
use pocketflow::integer::Target;
use pocketflow::model::{Model, ModelMeta};
use pocketflow::quant::QuantPlan;
use pocketflow_export::deployed::{WeightRange, lower_within};
use pocketflow_export::interpret::{Data, Interpreter};
use pocketflow_export::onnx::{self, OnnxInfo};
use pocketflow_export::tflite::{build, model::DType};
use pocketflow_runtime::precision::default_is_exact;
use pocketflow_runtime::{Choice, LibraryPaths, Normalisation, open};
use pocketflow_tests::wheels::{ONNXRUNTIME, wheels};
use serde_json::{Value, json};
use std::path::Path;

const CHANNELS: usize = 16;

fn libraries() -> LibraryPaths {
    LibraryPaths { litert: None, onnxruntime: Some(wheels(ONNXRUNTIME)) }
}

/// A convolution and a fully connected layer, nearly all of whose weights are the largest code.
fn heavy() -> Model {
    let mut builder = GraphBuilder::new("heavy", [CHANNELS, 1, 1]);
    let conv = builder.conv("conv", 0, CHANNELS, 1, 1, 0);
    builder.add("fc", Linear { out: 4, bias: true }, &[conv]);
    let graph: Graph = builder.finish().unwrap();
    // One in each row is not a multiple of a coarser step, so that all codes are spent.
    let row = |output: usize| (0..CHANNELS).map(move |input| if input == output { 0.7312 } else { 1.0 });
    let values = graph.params().unwrap().into_iter().map(|param| {
        let values = match param.name.as_str() {
            "fc.bias" => vec![0.0; 4],
            _ => (0..param.shape[0]).flat_map(row).collect(),
        };
        (param.name, values)
    });
    let values = values.collect();
    let meta = ModelMeta { mean: vec![0.0; CHANNELS], std: vec![1.0; CHANNELS], ..ModelMeta::default() };
    Model::new(graph, QuantPlan::default(), meta, values).unwrap()
}

/// Logits of the brightest image.
fn in_onnx_runtime(file: &Path, choice: Choice) -> Vec<f32> {
    let pixels = Normalisation { mean: vec![0.0], std: vec![1.0] };
    let mut runtime = open(file, choice, &libraries(), 1, &pixels).unwrap().runtime;
    let image: Vec<u8> = [255.0_f32; CHANNELS].iter().flat_map(|value| value.to_le_bytes()).collect();
    let logits = runtime.run_raw(&[&image]).unwrap().remove(0);
    logits.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

#[test]
fn sums_beyond_16_bits() {
    let model = heavy();
    let ranges = [("conv".to_owned(), [0.0, 5e3]), ("fc".to_owned(), [0.0, 8e4])].into();
    let folder = tempfile::tempdir().unwrap();
    for (range, exact_everywhere) in [(WeightRange::Full, false), (WeightRange::Reduced, true)] {
        let mut net = lower_within(&model, Target::Int8, &ranges, true, range).unwrap().net;
        // One number for all channels, as files with other shapes than images may have it.
        (net.mean, net.std) = (vec![0.0], vec![1.0]);
        let path = folder.path().join("heavy.onnx");
        std::fs::write(&path, onnx::from_net(&net, &OnnxInfo::default()).unwrap()).unwrap();

        let mut interpreter = Interpreter::new(&build::from_net(&net).unwrap()).unwrap();
        let image = Data::from_bytes(DType::Int8, &[127; CHANNELS]).unwrap();
        let Data::Int8(codes) = interpreter.run(&[image]).unwrap().remove(0) else { panic!("int8") };
        let grid = net.values[net.output].grid.unwrap();
        let wanted = codes.iter().map(|code| grid.scale * (i32::from(*code) - grid.zero_point) as f32);
        let wanted: Vec<f32> = wanted.collect();
        assert!(wanted.iter().all(|logit| *logit > 5e4), "{wanted:?}");

        let within_a_step = |logits: &[f32]| {
            logits.len() == wanted.len()
                && logits.iter().zip(&wanted).all(|(one, other)| (one - other).abs() < 1.5 * grid.scale)
        };
        let exact = in_onnx_runtime(&path, Choice::Onnxruntime);
        assert!(within_a_step(&exact), "{range:?}, with the option: {exact:?} for {wanted:?}");
        let default = in_onnx_runtime(&path, Choice::OnnxruntimeDefault);
        if exact_everywhere || default_is_exact() {
            assert_eq!(default, exact, "{range:?}, without the option");
        } else {
            // In the convolution sums of two products end at 32,767 of 2 · 255 · 127; what it gives
            // the next layer is so small that nothing saturates there.
            let saturated = |wanted: f32| wanted * 32_767.0 / 64_770.0;
            let logits = default.iter().zip(&wanted);
            let alike = logits.map(|(logit, wanted)| (logit - saturated(*wanted)).abs());
            assert!(
                alike.into_iter().all(|apart| apart < 1.5 * grid.scale),
                "{range:?}, without the option: {default:?}"
            );
        }
    }
}

/// The runs of the .onnx file of integers: with the option, and where this processor needs it,
/// without.
fn both(outcome: &Value) -> (&Value, Option<&Value>) {
    match runs(outcome, "model_quantized.onnx") {
        [exact] => (exact, None),
        [exact, default] => (exact, Some(default)),
        other => panic!("{} runs: {other:?}", other.len()),
    }
}

#[test]
fn the_option_is_told_and_7_bits_need_none() {
    let place = trained();
    let onnxruntime = format!("--onnxruntime={}", wheels(ONNXRUNTIME).display());
    let flags = format!("--enbl_post_quant --calibration_images=64 --format=onnx --verify_images=100 {onnxruntime}");
    let outcome = exported(&place, "models", &flags);
    let option = json!({ "session.x64quantprecision": "1" });
    assert_eq!(place.json("models/input.json")["quantized_onnx"]["session_options"], option);
    let notes = outcome["notes"].to_string();
    for part in ["session.x64quantprecision to 1", "VNNI", "--onnx_reduce_range"] {
        assert!(notes.contains(part), "{part}: {notes}");
    }
    let (exact, default) = both(&outcome);
    assert_eq!(exact["session_options"], option);
    assert_eq!(default.is_none(), default_is_exact(), "both figures where they differ: {outcome:#}");
    if let Some(default) = default {
        assert_eq!(default["session_options"], json!({}));
        assert!(notes.contains("default options top-1 is"), "{notes}");
    }

    let eval = format!("eval models/model_quantized.onnx --nb_smpls_eval=100 --format=json {onnxruntime}");
    let evaluated = |flags: &str| -> Value {
        serde_json::from_str(&place.host(&format!("{eval} {flags}")).expect(0).stdout).unwrap()
    };
    let again = evaluated("");
    assert_eq!((&again["session_options"], &again["top1"]), (&option, &exact["top1"]), "{again:#}");
    assert_eq!(again.get("default_options").is_none(), default_is_exact(), "{again:#}");
    let by_default = evaluated("--runtime=onnxruntime-default");
    assert_eq!((&by_default["session_options"], by_default.get("default_options")), (&json!({}), None));
    assert_eq!(by_default["top1"], default.unwrap_or(exact)["top1"]);

    let reduced = exported(&place, "models", &format!("{flags} --onnx_reduce_range"));
    assert_eq!(place.json("models/input.json")["quantized_onnx"]["session_options"], json!({}));
    let (only, none) = both(&reduced);
    assert!(none.is_none() && number(&only["agreement"]) > 0.9, "{reduced:#}");
    assert!(reduced["notes"].to_string().contains("weights of 7 bits"), "{reduced:#}");
    let error = |layers: &str| number(&reduced[layers][1]["weight_error"]);
    assert!(error("onnx_layers") > 1.5 * error("layers"), "a bit less: {reduced:#}");
    assert_eq!(evaluated("--runtime=onnxruntime-default")["top1"], only["top1"]);

    let refused = place.host("export --model_dir=models --enbl_post_quant --onnx_reduce_range --format=tflite");
    refused.expect(2).says(&["--onnx_reduce_range", "onnx"]);
}
