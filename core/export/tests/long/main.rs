//! Networks of very many nodes: whatever an export does with one takes time that grows with their
//! number, not with its square.

mod networks;

use networks::{Network, chain, fan};
use pocketflow::fold::fold_model;
use pocketflow::integer::{Target, plan};
use pocketflow::model::Model;
use pocketflow::sums::align_plan;
use pocketflow_export::calibrate::{Calibration, Method};
use pocketflow_export::deployed::{Lowered, lower, lower_to_floats, without_range};
use pocketflow_export::interpret::{Data, Interpreter};
use pocketflow_export::onnx::{self, OnnxInfo};
use pocketflow_export::pb;
use pocketflow_export::tflite::model::TfliteModel;
use pocketflow_export::tflite::{build, read, write};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Nodes of the two networks that are compared.
const FEW: usize = 3_000;
const MANY: usize = 8 * FEW;
/// How many times longer the larger one may take. A search for each node takes 64 times.
const MOST: f64 = 24.0;
/// The fastest of so many counts: whatever else the machine does only slows.
const TRIES: usize = 2;
/// Less than this is not measured well enough to be multiplied.
const LEAST: Duration = Duration::from_millis(5);

/// A network, and what the stages of its export make of it.
struct Exported {
    model: Model,
    names: Vec<String>,
    integers: Lowered,
    float: TfliteModel,
    quantized: [TfliteModel; 2],
    bytes: Vec<u8>,
    info: OnnxInfo,
}

type Stage = (&'static str, fn(&Exported));

impl Exported {
    fn new(network: Network) -> Self {
        let model = network.model();
        let names = without_range(&model, Target::Int8).unwrap();
        let lowered = |target| lower(&model, target, &network.ranges(), true).unwrap();
        let quantized = [Target::Int8, Target::Uint8].map(|target| build::from_net(&lowered(target).net).unwrap());
        let integers = lowered(Target::Int8);
        let float = build::from_model(&model).unwrap();
        let (bytes, info) = (write(&quantized[0]).unwrap(), OnnxInfo::of(&model));
        Self { model, names, integers, float, quantized, bytes, info }
    }

    fn stages() -> [Stage; 14] {
        [
            ("the graph's shapes", |it| drop(black_box(it.model.graph.shapes().unwrap()))),
            ("a plan for integers", |it| {
                let mut plan = plan(&it.model.graph, Target::Int8, 8, 8);
                plan.activations.values_mut().for_each(|quant| quant.range = Some([-1.0, 1.0]));
                plan.validate(&it.model.graph).unwrap();
                align_plan(&it.model.graph, Target::Int8, &mut plan.activations);
            }),
            ("folding", |it| drop(black_box(fold_model(&it.model).unwrap()))),
            ("values without ranges", |it| drop(black_box(without_range(&it.model, Target::Uint8).unwrap()))),
            ("integers", |it| {
                let ranges = it.names.iter().map(|name| (name.clone(), [-1.0, 1.0])).collect();
                lower(&it.model, Target::Int8, &ranges, true).unwrap();
            }),
            ("floats", |it| drop(black_box(lower_to_floats(&it.model).unwrap()))),
            (".tflite of integers", |it| drop(black_box(build::from_net(&it.integers.net).unwrap()))),
            (".tflite of floats", |it| drop(black_box(build::from_model(&it.model).unwrap()))),
            (".tflite as bytes", |it| drop(black_box(write(&it.quantized[0]).unwrap()))),
            (".tflite read", |it| drop(black_box(read(&it.bytes).unwrap()))),
            (".onnx", |it| drop(black_box(onnx::from_net(&it.integers.net, &it.info).unwrap()))),
            (".pb", |it| drop(black_box(pb::from_model(&it.model).unwrap()))),
            ("the reference interpreter", |it| {
                for model in it.quantized.iter().chain([&it.float]) {
                    let mut interpreter = Interpreter::new(model).unwrap();
                    let input = interpreter.encode(model.inputs[0], &[0.5; networks::PIXELS]).unwrap();
                    assert!(!interpreter.run(&[input]).unwrap().contains(&Data::default()));
                }
            }),
            ("calibration", |it| {
                let mut calibration = Calibration::new(&it.model, &it.names).unwrap();
                calibration.observe(&[vec![1; networks::PIXELS]], 1).unwrap();
                assert_eq!(calibration.ranges(Method::MinMax).len(), it.names.len());
            }),
        ]
    }
}

fn time(stage: fn(&Exported), of: &Exported) -> Duration {
    let begin = Instant::now();
    stage(of);
    begin.elapsed().max(LEAST)
}

fn grows_no_faster_than_its_nodes(network: fn(usize) -> Network) {
    let [few, many] = [FEW, MANY].map(|nodes| Exported::new(network(nodes)));
    let mut slow = Vec::new();
    for (name, stage) in Exported::stages() {
        // One after the other, so that a machine that is slow for a while is so for both.
        let tries: Vec<[Duration; 2]> = (0..TRIES).map(|_| [&few, &many].map(|of| time(stage, of))).collect();
        let [short, long] = [0, 1].map(|size| tries.iter().map(|pair| pair[size]).min().unwrap());
        let ratio = long.as_secs_f64() / short.as_secs_f64();
        println!("{name}: {FEW} nodes {short:.1?}, {MANY} nodes {long:.1?}: {ratio:.1} times");
        if ratio > MOST {
            slow.push(format!("{name}: {ratio:.1} times"));
        }
    }
    assert!(slow.is_empty(), "{} times the nodes should take as many times as long: {slow:#?}", MANY / FEW);
}

#[test]
fn layers_behind_each_other() {
    grows_no_faster_than_its_nodes(chain);
}

#[test]
fn layers_beside_each_other() {
    grows_no_faster_than_its_nodes(fan);
}
