//! Every operator, and every way in which fully connected layers meet others, in every format and
//! in the runtimes that people deploy with; of .pb in TensorFlow, which converts it.

use pocketflow::graph::*;
use pocketflow::integer::Target;
use pocketflow::model::{Model, ModelMeta};
use pocketflow::quant::QuantPlan;
use pocketflow_export::deployed::{lower, without_range};
use pocketflow_export::interpret::{Data, Interpreter};
use pocketflow_export::onnx::{self, OnnxInfo};
use pocketflow_export::pb;
use pocketflow_export::tflite::model::TfliteModel;
use pocketflow_export::tflite::{self, build};
use pocketflow_runtime::{Choice, LibraryPaths, Normalisation, open};
use pocketflow_testing::operators::{self, CHANNELS, SIZE};
use pocketflow_tests::wheels::{LITERT, ONNXRUNTIME, TENSORFLOW, python, wheels};
use std::path::Path;

/// Of the values in networks of integers, one after the other: those that meet have grids of their
/// own.
const RANGES: [[f32; 2]; 3] = [[-6.0, 6.0], [-6.5, 6.0], [-6.0, 7.0]];

fn noise(count: usize, seed: usize) -> impl Iterator<Item = u8> {
    let mut state = (seed as u32).wrapping_mul(2_654_435_761).wrapping_add(1);
    (0..count).map(move |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
}

/// Weights that keep values about as large as they are.
fn model(graph: &Graph) -> Model {
    let params = graph.params().unwrap().into_iter().enumerate();
    let values = params.map(|(index, Param { name, shape, role, .. })| {
        let inputs = shape[1..].iter().product::<usize>() as f32;
        let value = |byte: u8| match role {
            Role::RunningVar | Role::Scale => 0.5 + f32::from(byte) / 255.0,
            _ => (f32::from(byte) / 127.5 - 1.0) * (3.0 / inputs).sqrt(),
        };
        (name, noise(shape.iter().product(), index).map(value).collect())
    });
    let meta = ModelMeta { mean: vec![128.0; CHANNELS], std: vec![64.0; CHANNELS], ..ModelMeta::default() };
    Model::new(graph.clone(), QuantPlan::default(), meta, values.collect()).unwrap()
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The first output of a file in its runtime.
fn run(path: &Path, choice: Choice, input: &[u8]) -> Vec<u8> {
    let libraries = LibraryPaths { litert: Some(wheels(LITERT)), onnxruntime: Some(wheels(ONNXRUNTIME)) };
    let pixels = Normalisation { mean: vec![0.0], std: vec![1.0] };
    open(path, choice, &libraries, 1, &pixels).unwrap().runtime.run_raw(&[input]).unwrap().remove(0)
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// A .tflite file's output in LiteRT and in the reference interpreter.
fn in_both(path: &Path, file: &TfliteModel, input: &[u8]) -> [Vec<u8>; 2] {
    std::fs::write(path, tflite::write(file).unwrap()).unwrap();
    let data = Data::from_bytes(file.tensors[file.inputs[0]].dtype, input).unwrap();
    let reference = Interpreter::new(file).unwrap().run(&[data]).unwrap().remove(0).to_bytes();
    let output = &file.tensors[file.outputs[0]];
    assert_eq!(output.shape, [1, 5], "logits or probabilities");
    [run(path, Choice::Litert, input), reference]
}

#[track_caller]
fn near(what: &str, found: &[f32], wanted: &[f32], most: f32) {
    let gap = found.iter().zip(wanted).map(|(found, wanted)| (found - wanted).abs()).fold(0.0, f32::max);
    assert!(found.len() == wanted.len() && gap <= most, "{what}: {found:?} for {wanted:?}");
}

fn probabilities(logits: &[f32]) -> Vec<f32> {
    let sum: f32 = logits.iter().map(|logit| logit.exp()).sum();
    logits.iter().map(|logit| logit.exp() / sum).collect()
}

/// The pixels of an image, and what the network takes for them, `[h, w, c]`.
fn image() -> (Vec<u8>, Vec<f32>) {
    let pixels: Vec<u8> = noise(SIZE * SIZE * CHANNELS, 99).collect();
    let image = pixels.iter().map(|pixel| (f32::from(*pixel) - 128.0) / 64.0).collect();
    (pixels, image)
}

/// Writes the network as .tflite and .onnx, in float and in integers, and compares what comes out.
fn check(graph: &Graph) {
    let (name, model) = (&graph.name, model(graph));
    let folder = tempfile::tempdir().unwrap();
    let [tflite, onnx] = ["file.tflite", "file.onnx"].map(|file| folder.path().join(file));
    let (pixels, image) = image();
    let planes = (0..CHANNELS).flat_map(|channel| image.iter().skip(channel).step_by(CHANNELS).copied());
    let planes = bytes(&planes.collect::<Vec<f32>>());

    let [litert, reference] = in_both(&tflite, &build::from_model(&model).unwrap(), &bytes(&image));
    let wanted = floats(&reference);
    near(&format!("{name} in LiteRT"), &floats(&litert), &wanted, 1e-4);
    std::fs::write(&onnx, onnx::from_model(&model, &OnnxInfo::default()).unwrap()).unwrap();
    near(&format!("{name} in ONNX Runtime"), &floats(&run(&onnx, Choice::Onnxruntime, &planes)), &wanted, 1e-4);

    for target in [Target::Int8, Target::Uint8] {
        let open = without_range(&model, target).unwrap().into_iter();
        let ranges = open.zip(RANGES.into_iter().cycle()).collect();
        let net = lower(&model, target, &ranges, true).unwrap().net;
        let grid = net.values[net.output].grid.unwrap();
        let codes: Vec<u8> = match target {
            Target::Int8 => pixels.iter().map(|pixel| pixel ^ 0x80).collect(),
            Target::Uint8 => pixels.clone(),
        };
        let [litert, reference] = in_both(&tflite, &build::from_net(&net).unwrap(), &codes);
        let real = |byte: u8| match target {
            Target::Int8 => grid.scale * (i32::from(byte.cast_signed()) - grid.zero_point) as f32,
            Target::Uint8 => f32::from(byte) / 256.0,
        };
        let [litert, reference] = [litert, reference].map(|codes| codes.into_iter().map(real).collect::<Vec<f32>>());
        let step = if target == Target::Int8 { grid.scale } else { 1.0 / 64.0 };
        near(&format!("{name} of {target:?} in LiteRT"), &litert, &reference, 2.1 * step);
        std::fs::write(&onnx, onnx::from_net(&net, &OnnxInfo::default()).unwrap()).unwrap();
        let found = floats(&run(&onnx, Choice::Onnxruntime, &planes));
        near(&format!("{name} of {target:?} in ONNX Runtime, and in float"), &found, &wanted, 8.0 * grid.scale);
        let logits = !graph.nodes.last().unwrap().op.ends();
        let found = if target == Target::Uint8 && logits { probabilities(&found) } else { found };
        near(&format!("{name} of {target:?} in ONNX Runtime"), &found, &reference, 2.1 * step);
    }
}

#[test]
fn every_operator() {
    operators::each().iter().for_each(check);
}

#[test]
fn convolutions() {
    operators::convolutions().iter().for_each(check);
}

#[test]
fn pools() {
    operators::pools().iter().for_each(check);
}

#[test]
fn blocks() {
    operators::blocks().iter().for_each(check);
}

/// TensorFlow takes a while to start: one test for all graphs.
#[test]
fn tensorflow_computes_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (_, image) = image();
    let graphs = [operators::each(), operators::convolutions(), operators::pools(), operators::blocks()].concat();
    for graph in &graphs {
        let model = model(graph);
        let file = build::from_model(&model).unwrap();
        let wanted = Interpreter::new(&file).unwrap().run(&[Data::Float(image.clone())]).unwrap().remove(0);
        let put = |part: &str, bytes: Vec<u8>| std::fs::write(folder.path().join(graph.name.clone() + part), bytes);
        put(".pb", pb::from_model(&model).unwrap()).unwrap();
        put(".input.f32", bytes(&image)).unwrap();
        put(".logits.f32", wanted.to_bytes()).unwrap();
    }
    let said = python("graph_def.py", TENSORFLOW, &[folder.path(), Path::new("floats")]);
    assert!(said.contains(&format!("outputs of {} files agree", graphs.len())), "{said}");
}

/// Of an image, behind and before everything that a convolution may stand behind and before.
#[test]
fn fully_connected_layers_among_others() {
    let fc = |net: &mut GraphBuilder, name: &str, from, out| net.add(name, Linear { out, bias: true }, &[from]);
    let build = |name: &str, fill: &dyn Fn(&mut GraphBuilder)| {
        let mut net = GraphBuilder::new(name, [CHANNELS, SIZE, SIZE]);
        fill(&mut net);
        check(&net.finish().unwrap());
    };
    build("activation", &|net| {
        let first = fc(net, "fc1", 0, 8);
        let relu = net.relu("relu", first);
        let second = fc(net, "fc2", relu, 8);
        let relu6 = net.add("relu6", Relu6, &[second]);
        fc(net, "fc3", relu6, 5);
    });
    build("normalisation", &|net| {
        let first = fc(net, "fc1", 0, 8);
        let norm = net.batch_norm("norm", first, 1e-5);
        let relu = net.relu("relu", norm);
        fc(net, "fc2", relu, 5);
    });
    build("normalisation that is not folded", &|net| {
        let first = fc(net, "fc1", 0, 8);
        let norm = net.batch_norm("norm", first, 1e-5);
        let sum = net.add("sum", Add, &[first, norm]);
        fc(net, "fc2", sum, 5);
    });
    build("sums", &|net| {
        let [first, second] = ["fc1", "fc2"].map(|name| fc(net, name, 0, 8));
        let sum = net.add("sum", Add, &[first, second]);
        let relu = net.relu("relu", sum);
        let conv = net.conv("conv", relu, 5, 1, 1, 0);
        let third = fc(net, "fc3", relu, 5);
        net.add("sum2", Add, &[third, conv]);
    });
    build("logits of a pool", &|net| {
        let conv = net.conv("conv", 0, 5, 3, 1, 1);
        net.add("pool", GlobalAvgPool, &[conv]);
    });
    build("logits of a convolution", &|net| {
        let conv = net.conv("conv", 0, 8, 3, 1, 1);
        let relu = net.relu("relu", conv);
        let pool = net.add("pool", GlobalAvgPool, &[relu]);
        net.conv("conv2", pool, 5, 1, 1, 0);
    });
    build("logits that are cut", &|net| {
        let first = fc(net, "fc1", 0, 5);
        net.add("relu6", Relu6, &[first]);
    });
}
