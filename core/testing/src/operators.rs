//! Networks around each operator, and of what networks are made of: on the images that they take
//! every executor and every file has to agree.

use pocketflow::graph::*;

/// Height and width of the images.
pub const SIZE: usize = 6;
/// Channels of the images.
pub const CHANNELS: usize = 3;

/// A network around an operator of that name. One that is new needs a sample here, and a file in
/// each of `core/src/ops`, `core/export/src/ops` and `core/torch/src/ops`.
pub fn sample(name: &str) -> Graph {
    let mut net = GraphBuilder::new(name, [CHANNELS, SIZE, SIZE]);
    let conv = net.conv("conv", 0, 4, 3, 1, 1);
    let relu = net.relu("relu", conv);
    let depthwise = Conv2d {
        out: 4,
        kernel: [3, 2],
        stride: [2, 1],
        padding: [0, 1, 1, 0],
        dilation: [1; 2],
        groups: 4,
        bias: true,
    };
    let op: Op = match name {
        "Input" | "Conv2d" => depthwise.into(),
        "BatchNorm" => BatchNorm { eps: 1e-5 }.into(),
        "Relu" => Relu.into(),
        "Relu6" => Relu6.into(),
        "HardSwish" => HardSwish.into(),
        "Add" => Add.into(),
        "MaxPool" => MaxPool { kernel: 3, stride: 2, padding: 1 }.into(),
        "GlobalAvgPool" => GlobalAvgPool.into(),
        "Linear" => Linear { out: 6, bias: true }.into(),
        "PadShortcut" => PadShortcut { out: 7, stride: 2 }.into(),
        "Concat" => Concat.into(),
        "AvgPool2d" => average([1; 4], false, false),
        "MaxPool2d" => MaxPool2d { kernel: [3, 2], stride: [2, 1], padding: [1, 0, 0, 1], ceil: true }.into(),
        "GlobalMaxPool" => GlobalMaxPool.into(),
        "Mul" => Mul.into(),
        "Sigmoid" => Sigmoid.into(),
        "HardSigmoid" => HardSigmoid.into(),
        "Silu" => Silu.into(),
        "Flatten" => Flatten.into(),
        "ChannelShuffle" => ChannelShuffle { groups: 2 }.into(),
        "Slice" => Slice { start: 1, end: 3 }.into(),
        "Pad" => Pad { padding: [1, 2, 0, 1] }.into(),
        "LeakyRelu" => LeakyRelu { slope: 0.125 }.into(),
        "Prelu" => Prelu { by_channel: true }.into(),
        "Tanh" => Tanh.into(),
        "AddConstant" => AddConstant { values: vec![0.5, -1.0, 0.25, 2.0] }.into(),
        "Dropout" => Dropout { probability: 0.5 }.into(),
        "Softmax" => Softmax.into(),
        _ => panic!("no sample of {name}"),
    };
    // What is below zero is of interest to these.
    let from = if op.is_activation() && op.clip().is_none() { conv } else { relu };
    if op.ends() {
        let fc = net.add("fc", Linear { out: 5, bias: true }, &[relu]);
        net.add("op", op, &[fc]);
        return net.finish().unwrap();
    }
    let inputs = vec![from; op.arity().least()];
    let op = net.add("op", op, &inputs);
    net.add("fc", Linear { out: 5, bias: true }, &[op]);
    net.finish().unwrap()
}

fn average(padding: [usize; 4], ceil: bool, count_padding: bool) -> Op {
    AvgPool2d { kernel: [3, 2], stride: [2, 1], padding, ceil, count_padding }.into()
}

macro_rules! samples {
    ($($name:ident),*) => {
        [$(stringify!($name)),*]
    };
}

/// A network around each operator.
pub fn each() -> Vec<Graph> {
    pocketflow::for_each_operator!(samples).map(sample).into()
}

/// Groups of all kinds, and dilation.
pub fn convolutions() -> Vec<Graph> {
    let op = |groups: usize, out: usize, dilation: [usize; 2]| Conv2d {
        groups,
        dilation,
        padding: [2; 4],
        bias: true,
        ..Conv2d::new(out, [3, 2])
    };
    let samples = [
        ("two groups", op(2, 6, [1; 2])),
        ("two groups and a stride", Conv2d { stride: [2, 1], ..op(2, 4, [1; 2]) }),
        ("a depth multiplier", op(4, 12, [1; 2])),
        ("dilated", op(1, 5, [2, 3])),
        ("dilated, with a stride", Conv2d { stride: [1, 2], ..op(1, 5, [2, 1]) }),
        ("dilated depth-wise", op(4, 4, [2, 2])),
        ("dilated groups", op(2, 4, [1, 2])),
    ];
    let samples = samples.into_iter().map(|(name, op)| {
        let mut net = GraphBuilder::new(name, [CHANNELS, SIZE, SIZE]);
        let conv = net.conv("conv", 0, 4, 3, 1, 1);
        let relu = net.relu("relu", conv);
        let op = net.add("op", op, &[relu]);
        let relu = net.relu("relu2", op);
        net.add("fc", Linear { out: 5, bias: true }, &[relu]);
        net.finish().unwrap()
    });
    samples.collect()
}

/// Windows that TensorFlow's paddings can say, and others; values below zero too.
pub fn pools() -> Vec<Graph> {
    let max = |padding, ceil| Op::from(MaxPool2d { kernel: [3, 3], stride: [2, 2], padding, ceil });
    let samples = [
        ("maximum", max([0; 4], false)),
        ("maximum of all sides", max([1; 4], false)),
        ("maximum beyond the end", max([0; 4], true)),
        ("maximum beyond the padding", max([1; 4], true)),
        ("average", average([0; 4], false, false)),
        ("average beyond the end", average([0; 4], true, false)),
        ("average of padding", average([1, 0, 1, 1], false, true)),
        ("average of padding, beyond it", average([1, 1, 0, 0], true, true)),
        ("average of pixels", average([1, 0, 1, 1], true, false)),
        (
            "average as SAME",
            AvgPool2d { kernel: [3; 2], stride: [1; 2], padding: [1; 4], ceil: false, count_padding: false }.into(),
        ),
    ];
    let samples = samples.into_iter().map(|(name, op)| {
        let mut net = GraphBuilder::new(name, [CHANNELS, SIZE, SIZE]);
        let conv = net.conv("conv", 0, 4, 3, 1, 1);
        let op = net.add("op", op, &[conv]);
        net.add("fc", Linear { out: 5, bias: true }, &[op]);
        net.finish().unwrap()
    });
    samples.collect()
}

/// What networks are made of: values that meet on grids of their own, gates, channels apart and
/// together again.
pub fn blocks() -> Vec<Graph> {
    let build = |name: &str, fill: &dyn Fn(&mut GraphBuilder, usize, usize) -> usize| {
        let mut net = GraphBuilder::new(name, [CHANNELS, SIZE, SIZE]);
        let conv = net.conv("conv", 0, 4, 3, 1, 1);
        let relu = net.relu("relu", conv);
        let last = fill(&mut net, conv, relu);
        net.add("fc", Linear { out: 5, bias: true }, &[last]);
        net.finish().unwrap()
    };
    vec![
        build("fire", &|net, _, relu| {
            let one = net.conv("one", relu, 3, 1, 1, 0);
            let one = net.relu("one_relu", one);
            let three = net.conv("three", relu, 5, 3, 1, 1);
            let pool = net.add("pool", MaxPool { kernel: 3, stride: 1, padding: 1 }, &[relu]);
            net.add("concat", Concat, &[one, three, pool])
        }),
        build("squeeze and excitation", &|net, _, relu| {
            let mean = net.add("mean", GlobalAvgPool, &[relu]);
            let squeeze = net.conv("squeeze", mean, 2, 1, 1, 0);
            let squeeze = net.add("squeeze_silu", Silu, &[squeeze]);
            let excite = net.conv("excite", squeeze, 4, 1, 1, 0);
            let gate = net.add("gate", Sigmoid, &[excite]);
            net.add("scaled", Mul, &[gate, relu])
        }),
        build("a gate of a fully connected layer", &|net, conv, _| {
            let mean = net.add("mean", GlobalAvgPool, &[conv]);
            let fc = net.add("fc1", Linear { out: 4, bias: true }, &[mean]);
            let gate = net.add("gate", HardSigmoid, &[fc]);
            let scaled = net.add("scaled", Mul, &[conv, gate]);
            net.relu("scaled_relu", scaled)
        }),
        build("shuffle", &|net, _, relu| {
            let left = net.add("left", Slice { start: 0, end: 2 }, &[relu]);
            let right = net.add("right", Slice { start: 2, end: 4 }, &[relu]);
            let right = net.conv("conv2", right, 2, 1, 1, 0);
            let right = net.relu("relu2", right);
            let joined = net.add("joined", Concat, &[left, right]);
            net.add("shuffled", ChannelShuffle { groups: 2 }, &[joined])
        }),
        build("a classifier with dropout", &|net, _, relu| {
            let flat = net.add("flat", Flatten, &[relu]);
            let dropped = net.add("drop1", Dropout { probability: 0.5 }, &[flat]);
            let fc = net.add("fc1", Linear { out: 7, bias: true }, &[dropped]);
            let prelu = net.add("prelu", Prelu { by_channel: false }, &[fc]);
            let shifted = net.add("shifted", AddConstant { values: vec![1.5] }, &[prelu]);
            net.add("drop2", Dropout { probability: 0.5 }, &[shifted])
        }),
        build("a gate that is summed", &|net, conv, _| {
            let gate = net.add("gate", Sigmoid, &[conv]);
            let tanh = net.add("tanh", Tanh, &[conv]);
            net.add("sum", Add, &[gate, tanh])
        }),
    ]
}
