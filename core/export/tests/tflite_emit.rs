use pocketflow::graph::{GraphBuilder, Op};
use pocketflow::integer::Target;
use pocketflow::model::{Model, ModelMeta};
use pocketflow::quant::QuantPlan;
use pocketflow_export::integer::{Activation, IntegerNet, Kind, Operator, Value, Weights};
use pocketflow_export::tflite::build::{finish, from_integer, from_model, normalisation};
use pocketflow_export::tflite::metadata::ImageMetadata;
use pocketflow_export::tflite::{write, part::single_operator};
use rand::{RngExt, SeedableRng};

fn rng() -> rand_pcg::Pcg64 { rand_pcg::Pcg64::seed_from_u64(5) }

fn net(target: Target, mean: Vec<f32>, std: Vec<f32>, scale: f32, zp: i32) -> IntegerNet {
    let mut r = rng();
    let low = if target == Target::Int8 { -128 } else { 0 };
    let mut w = |shape: [usize; 4], s: f32| {
        let n: usize = shape.iter().product();
        let k = if target == Target::Int8 { shape[0] } else { 1 };
        let (codes, zero_points) = if target == Target::Int8 {
            ((0..n).map(|_| r.random_range(-127..=127)).collect(), vec![0; k])
        } else {
            ((0..n).map(|_| r.random_range(1..=255)).collect(), vec![121])
        };
        let scales = (0..k).map(|_| s * r.random_range(0.5f32..1.5)).collect();
        Weights { shape, codes, scales, zero_points }
    };
    let v = |name: &str, shape: [usize; 3], scale: f32, zero_point: i32| Value { name: name.into(), shape, scale, zero_point };
    let gap = target == Target::Int8;
    let values = vec![
        v("input", [16, 20, 3], scale, zp),
        v("relu1", [8, 10, 8], 0.03, low),
        v("pool1", [4, 5, 8], 0.03, low),
        v("dw", [4, 5, 16], 0.06, low + 120),
        v("short", [4, 5, 16], 0.03, low),
        v("add", [4, 5, 16], 0.05, low),
        v("conv2", [2, 3, 20], 0.05, low + 100),
        v("short2", [2, 3, 20], 0.05, low),
        v("add2", [2, 3, 20], 0.08, low + 60),
        v("relu3", [2, 3, 20], 0.0235, low),
        v("gap", [1, 1, 20], if gap { 0.02 } else { 0.0235 }, low),
        v("fc", [1, 1, 11], 0.1, low + 130),
    ];
    let op = |name: &str, kind, inputs: &[usize], output, activation| Operator { name: name.into(), kind, inputs: inputs.to_vec(), output, activation };
    let none = Activation::None;
    let operators = vec![
        op("conv1", Kind::Conv { weights: w([8, 3, 3, 3], 0.005), bias: (0..8).map(|x| x * 300 - 900).collect(), stride: [2; 2], padding: [1; 4], depthwise: false }, &[0], 1, Activation::Relu),
        op("pool1", Kind::MaxPool { kernel: 3, stride: 2, padding: 1 }, &[1], 2, none),
        op("dw", Kind::Conv { weights: w([16, 1, 3, 3], 0.01), bias: (0..16).map(|x| x * 100 - 800).collect(), stride: [1; 2], padding: [1; 4], depthwise: true }, &[2], 3, none),
        op("short", Kind::PadShortcut { before: 4, after: 4, stride: 1 }, &[2], 4, none),
        op("add", Kind::Add, &[3, 4], 5, Activation::Relu6),
        op("conv2", Kind::Conv { weights: w([20, 16, 3, 3], 0.002), bias: (0..20).map(|x| x * 100 - 800).collect(), stride: [2; 2], padding: [0, 1, 1, 1], depthwise: false }, &[5], 6, none),
        op("short2", Kind::PadShortcut { before: 2, after: 2, stride: 2 }, &[5], 7, none),
        op("add2", Kind::Add, &[6, 7], 8, none),
        op("relu3", Kind::Activation, &[8], 9, Activation::Relu6),
        op("gap", Kind::GlobalAvgPool, &[9], 10, none),
        op("fc", Kind::Linear { weights: w([11, 20, 1, 1], 0.01), bias: (0..11).map(|x| x * 500).collect() }, &[10], 11, none),
    ];
    IntegerNet { name: format!("all_{}", target.name()), target, values, operators, input: 0, output: 11, mean, std }
}

#[test]
fn emit() {
    let mut graph = GraphBuilder::new("all", [3, 16, 20]);
    let conv = |out, kernel: usize, stride: usize, padding, groups| Op::Conv2d { out, kernel: [kernel; 2], stride: [stride; 2], padding, groups, bias: false };
    let x = graph.conv("conv1", 0, 8, 3, 2, 1);
    let x = graph.batch_norm("bn1", x, 1e-5);
    let x = graph.relu("relu1", x);
    let pool = graph.add("pool1", Op::MaxPool { kernel: 3, stride: 2, padding: 1 }, &[x]);
    let dw = graph.add("dw", conv(16, 3, 1, [1; 4], 8), &[pool]);
    let short = graph.add("short", Op::PadShortcut { out: 16, stride: 1 }, &[pool]);
    let add = graph.add("add", Op::Add, &[dw, short]);
    let x = graph.add("relu2", Op::Relu6, &[add]);
    let y = graph.add("conv2", conv(20, 3, 2, [0, 1, 1, 1], 1), &[x]);
    let short = graph.add("short2", Op::PadShortcut { out: 20, stride: 2 }, &[x]);
    let add = graph.add("add2", Op::Add, &[y, short]);
    let x = graph.add("relu3", Op::Relu6, &[add]);
    let sum = graph.add("add3", Op::Add, &[x, add]);
    let lin = graph.add("lin", Op::Linear { out: 20, bias: true }, &[sum]);
    let gap = graph.add("gap", Op::GlobalAvgPool, &[sum]);
    let s = graph.add("add4", Op::Add, &[lin, gap]);
    graph.add("fc", Op::Linear { out: 11, bias: true }, &[s]);
    let graph = graph.finish().unwrap();
    let mut r = rng();
    let values: std::collections::BTreeMap<String, Vec<f32>> = graph.params().unwrap().into_iter().map(|p| {
        let n = p.shape.iter().product::<usize>();
        let v: Vec<f32> = (0..n).map(|_| if p.name.ends_with("var") { r.random_range(0.5..1.5f32) } else { r.random_range(-0.5..0.5f32) }).collect();
        std::fs::write(format!("/tmp/tfl/out/{}.bin", p.name), v.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>()).unwrap();
        (p.name, v)
    }).collect();
    let model = Model::new(graph, QuantPlan::default(), ModelMeta::default(), values).unwrap();
    let mut file = from_model(&model).unwrap();
    let labels: Vec<String> = (0..11).map(|i| format!("class {i}")).collect();
    let image = ImageMetadata { name: "all".into(), description: "all ops".into(), mean: vec![125.3, 123.0, 113.9], std: vec![63.0, 62.1, 66.7], size: None, labels: labels.clone() };
    finish(&mut file, image).unwrap();
    std::fs::write("/tmp/tfl/out/all_float.tflite", write(&file).unwrap()).unwrap();

    for (target, zero) in [(Target::Int8, -128), (Target::Uint8, 0)] {
        for (tag, mean, std, scale, zp) in [("alike", vec![127.5; 3], vec![127.5; 3], 1.0 / 127.5, zero + 128), ("norm", vec![125.3, 123.0, 113.9], vec![63.0, 62.1, 66.7], 4.2 / 255.0, zero + 121)] {
            let net = net(target, mean, std, scale, zp);
            let mut file = from_integer(&net).unwrap();
            let (mean, std) = normalisation(&net);
            finish(&mut file, ImageMetadata { name: "q".into(), description: String::new(), mean, std, size: None, labels: labels.clone() }).unwrap();
            std::fs::write(format!("/tmp/tfl/out/all_{}_{tag}.tflite", target.name()), write(&file).unwrap()).unwrap();
            for index in 0..file.operators.len() {
                std::fs::write(format!("/tmp/tfl/out/part_{}_{tag}_{index}.tflite", target.name()), write(&single_operator(&file, index)).unwrap()).unwrap();
            }
        }
    }
    for (name, path) in [("resnet20", "/work/main/models/model.ckpt"), ("resnet20_uql", "/work/main/uql_quant_models/model.ckpt")] {
        let Ok(model) = Model::load(std::path::Path::new(path)) else { println!("no {path}"); continue };
        let mut file = from_model(&model).unwrap();
        let image = ImageMetadata { name: name.into(), mean: model.meta.mean.clone(), std: model.meta.std.clone(), labels: model.meta.labels.clone(), ..Default::default() };
        println!("{name}: {:?} {:?} {:?} top1 {:?}", model.meta.mean, model.meta.labels, model.meta.dataset, model.meta.top1);
        finish(&mut file, image).unwrap();
        std::fs::write(format!("/tmp/tfl/out/{name}.tflite"), write(&file).unwrap()).unwrap();
    }
}
