//! Files that tell more of their network than its weights: a net that they are not of is refused,
//! though every tensor fits.

use pocketflow::graph::{Add, Conv2d, GlobalAvgPool, Graph, GraphBuilder, Linear, MaxPool, Op, Relu, Relu6};
use pocketflow::model::{Model, ModelMeta};
use pocketflow::quant::QuantPlan;
use pocketflow_export::tflite::model::TfliteModel;
use pocketflow_export::tflite::{build, write};
use pocketflow_weights::map::{ImportReport, NameMap, match_file};
use pocketflow_weights::read_file;
use std::io::Cursor;

/// A net with each part that a file can contradict.
fn graph() -> Graph {
    let mut builder = GraphBuilder::new("small", [3, 16, 16]);
    let conv = builder.conv("conv1", 0, 4, 3, 2, 1);
    let norm = builder.batch_norm("bn1", conv, 1e-5);
    let relu = builder.add("relu1", Relu6, &[norm]);
    let pool = builder.add("pool", MaxPool { kernel: 3, stride: 1, padding: 1 }, &[relu]);
    let conv = builder.conv("conv2", pool, 4, 3, 1, 1);
    let norm = builder.batch_norm("bn2", conv, 1e-5);
    let sum = builder.add("sum", Add, &[norm, pool]);
    let relu = builder.relu("relu2", sum);
    let mean = builder.add("mean", GlobalAvgPool, &[relu]);
    builder.add("fc", Linear { out: 5, bias: true }, &[mean]);
    builder.finish().unwrap()
}

fn file(graph: &Graph) -> TfliteModel {
    let values = graph.params().unwrap().into_iter().map(|param| (param.name, vec![0.5; param.shape.iter().product()]));
    let meta = ModelMeta { mean: vec![0.0; 3], std: vec![1.0; 3], ..ModelMeta::default() };
    build::from_model(&Model::new(graph.clone(), QuantPlan::default(), meta, values.collect()).unwrap()).unwrap()
}

fn import(net: &Graph, file: &TfliteModel) -> ImportReport {
    let read = read_file(Cursor::new(write(file).unwrap()), None).unwrap();
    match_file(net, read, &NameMap::default()).unwrap().report
}

#[test]
fn a_net_that_its_own_file_does_not_tell_otherwise() {
    let report = import(&graph(), &file(&graph()));
    report.check().unwrap();
    assert_eq!((report.differences.len(), report.lacking.len()), (0, 0));
}

#[test]
fn each_contradiction_is_named() {
    let changed = |name: &str, op: Op| {
        let mut net = graph();
        let id = net.find(name).unwrap();
        net.nodes[id].op = op;
        net.validate().unwrap();
        net
    };
    let conv = |kernel, stride, padding| {
        Op::Conv2d(Conv2d {
            out: 4,
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding,
            dilation: [1; 2],
            groups: 1,
            bias: false,
        })
    };
    let nets = [
        (changed("relu1", Op::Relu(Relu)), "`conv1` is followed by a ReLU in the net, by a ReLU6 in the file"),
        (changed("relu2", Op::Relu6(Relu6)), "`sum` is followed by a ReLU6 in the net, by a ReLU in the file"),
        (changed("conv1", conv(3, 1, [1; 4])), "`conv1` has stride 1 × 1 in the net, 2 × 2 in the file"),
        // TensorFlow's SAME on an even image, where the file pads as PyTorch does.
        (changed("conv1", conv(3, 2, [0, 0, 1, 1])), "`conv1` is padded in the net by 0 above, 0 left"),
        (
            changed("pool", Op::MaxPool(MaxPool { kernel: 5, stride: 1, padding: 2 })),
            "`pool` takes the largest of 5 × 5 values in the net, of 3 × 3 in the file",
        ),
        (changed("pool", Op::Relu(Relu)), "the net has 0 max poolings, the file 1"),
        (
            changed("relu2", Op::MaxPool(MaxPool { kernel: 1, stride: 1, padding: 0 })),
            "no activation function in the net",
        ),
    ];
    for (net, said) in nets {
        let message = import(&net, &file(&graph())).check().unwrap_err().to_string();
        assert!(message.starts_with("the weights fit, but") && message.contains(said), "{said}: {message}");
    }
}

#[test]
fn sums_and_layers_that_the_net_lacks() {
    let mut builder = GraphBuilder::new("deeper", [3, 16, 16]);
    let conv = builder.conv("conv1", 0, 4, 3, 1, 1);
    let relu = builder.relu("relu1", conv);
    let sum = builder.add("sum", Add, &[relu, relu]);
    let conv = builder.conv("conv2", sum, 4, 3, 1, 1);
    let mean = builder.add("mean", GlobalAvgPool, &[conv]);
    builder.add("fc", Linear { out: 5, bias: true }, &[mean]);
    let deeper = builder.finish().unwrap();

    let mut builder = GraphBuilder::new("shallow", [3, 16, 16]);
    let conv = builder.conv("conv1", 0, 4, 3, 1, 1);
    let relu = builder.relu("relu1", conv);
    let mean = builder.add("mean", GlobalAvgPool, &[relu]);
    builder.add("fc", Linear { out: 5, bias: true }, &[mean]);
    let shallow = builder.finish().unwrap();

    let report = import(&shallow, &file(&deeper));
    let message = report.check().unwrap_err().to_string();
    assert!(message.contains("no place for") && message.contains("[4, 4, 3, 3]"), "{message}");
    assert!(report.differences.iter().any(|text| text.contains("adds two values in 0 places, the file in 1")));
}
