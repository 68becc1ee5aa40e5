//! Float models as operators.

use super::*;
use crate::deployed::Activation;
use crate::tflite::model::{Kind, Padding};
use crate::tflite::{read, write};
use pocketflow::graph::{Add, Conv2d, GlobalAvgPool, Graph, GraphBuilder, Linear, MaxPool, Op, PadShortcut, Relu6};
use pocketflow::model::ModelMeta;
use pocketflow::quant::QuantPlan;

/// Parameters 0, 1, 2, … throughout; variances too, which are then positive but for the first: they
/// start at 1.
fn model(graph: Graph) -> Model {
    let mut next = 0.0;
    let values = graph.params().unwrap().into_iter().map(|param| {
        let values = (0..param.shape.iter().product::<usize>()).map(|_| {
            next += 1.0;
            next
        });
        (param.name.clone(), values.collect())
    });
    let values = values.collect();
    Model::new(graph, QuantPlan::default(), ModelMeta::default(), values).unwrap()
}

fn conv(out: usize, kernel: usize, stride: usize, padding: [usize; 4], groups: usize) -> Op {
    Op::Conv2d(Conv2d { out, kernel: [kernel; 2], stride: [stride; 2], padding, dilation: [1; 2], groups, bias: false })
}

fn names(model: &TfliteModel) -> String {
    let names = model.operators.iter().map(|operator| {
        let kind = format!("{:?}", operator.kind);
        let kind = kind.split([' ', '{']).next().unwrap_or_default().to_owned();
        format!("{kind}:{}", model.tensors[operator.outputs[0]].name)
    });
    names.collect::<Vec<_>>().join(" ")
}

#[test]
fn every_operator_of_a_graph_has_its_own() {
    let mut graph = GraphBuilder::new("all", [3, 8, 8]);
    let x = graph.conv("conv1", 0, 4, 3, 2, 1);
    let x = graph.batch_norm("bn1", x, 1e-5);
    let x = graph.relu("relu1", x);
    let pool = graph.add("pool1", MaxPool { kernel: 3, stride: 2, padding: 1 }, &[x]);
    let y = graph.add("dw", conv(8, 3, 1, [1; 4], 4), &[pool]);
    let short = graph.add("short", PadShortcut { out: 8, stride: 1 }, &[pool]);
    let sum = graph.add("sum", Add, &[y, short]);
    let x = graph.add("relu2", Relu6, &[sum]);
    let z = graph.add("short2", PadShortcut { out: 9, stride: 2 }, &[x]);
    let z = graph.relu("relu3", z);
    let gap = graph.add("gap", GlobalAvgPool, &[z]);
    graph.add("fc", Linear { out: 5, bias: true }, &[gap]);
    let file = from_model(&model(graph.finish().unwrap())).unwrap();
    let expected = "Pad:relu1/padded Conv2d:relu1 Pad:pool1/padded MaxPool2d:pool1 DepthwiseConv2d:dw Pad:short \
                    Add:relu2 StridedSlice:short2/strided Pad:short2 Relu:relu3 Mean:gap FullyConnected:fc";
    assert_eq!(names(&file), expected);
    assert!(matches!(file.operators[4].kind, Kind::DepthwiseConv2d { multiplier: 2, padding: Padding::Same, .. }));
    assert!(matches!(file.operators[6].kind, Kind::Add { activation: Activation::Relu6 }));
    assert!(matches!(file.operators[10].kind, Kind::Mean { keep_dims: false }));
    assert_eq!(
        (file.tensors[file.inputs[0]].name.as_str(), file.tensors[file.outputs[0]].name.as_str()),
        ("input", "fc")
    );
    assert_eq!(file.tensors[file.outputs[0]].shape, [1, 5]);
    assert_eq!(read(&write(&file).unwrap()).unwrap(), file);
}

#[test]
fn ranks_are_made_to_fit() {
    let mut graph = GraphBuilder::new("ranks", [2, 2, 2]);
    let x = graph.add("fc1", Linear { out: 4, bias: false }, &[0]);
    let x = graph.conv("conv", x, 4, 1, 1, 0);
    let x = graph.add("fc2", Linear { out: 4, bias: false }, &[x]);
    let gap = graph.add("gap", GlobalAvgPool, &[x]);
    let conv = graph.conv("conv2", gap, 4, 1, 1, 0);
    graph.add("sum", Add, &[gap, conv]);
    let file = from_model(&model(graph.finish().unwrap())).unwrap();
    let expected = "Reshape:fc1/input FullyConnected:fc1 Reshape:conv/fc1 Conv2d:conv Reshape:fc2/conv \
                    FullyConnected:fc2 Reshape:gap/fc2 Mean:gap Conv2d:conv2 \
                    Add:sum/image Reshape:sum";
    assert_eq!(names(&file), expected);
    // Weights 1 to 8 of the first output are for channel 0, then channel 1; pixels come first in
    // the file.
    let filter = file.tensors.iter().find(|tensor| tensor.name == "fc1.weight").unwrap();
    let floats: Vec<f32> = filter.data.as_ref().unwrap()[..32]
        .chunks(4)
        .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
        .collect();
    assert_eq!(floats, [1.0, 5.0, 2.0, 6.0, 3.0, 7.0, 4.0, 8.0]);
    write(&file).unwrap();
}

#[test]
fn groups_and_padding_of_any_kind_are_expressed() {
    let mut graph = GraphBuilder::new("groups", [4, 8, 8]);
    graph.add("grouped", conv(4, 3, 1, [1; 4], 2), &[0]);
    let file = from_model(&model(graph.finish().unwrap())).unwrap();
    let filter = file.tensors.iter().find(|tensor| tensor.name == "grouped.weight").unwrap();
    assert_eq!(filter.shape, [4, 3, 3, 2], "the runtime reads the groups off the filter's channels");
    write(&file).unwrap();
    // Values may be negative here: the least float is put around them.
    let mut graph = GraphBuilder::new("pool", [4, 8, 8]);
    let x = graph.conv("conv", 0, 4, 1, 1, 0);
    graph.add("pool", MaxPool { kernel: 3, stride: 2, padding: 1 }, &[x]);
    let file = from_model(&model(graph.finish().unwrap())).unwrap();
    let pad = file.operators.iter().find(|operator| operator.kind == Kind::PadV2).unwrap();
    let least = file.tensors[pad.inputs[2].unwrap()].data.clone().unwrap();
    assert_eq!(least, f32::MIN.to_le_bytes());
    write(&file).unwrap();
}
