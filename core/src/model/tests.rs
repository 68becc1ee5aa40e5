use super::*;
use crate::error::ErrorKind;
use crate::graph::{Add, GlobalAvgPool, GraphBuilder, Linear, NodeId, Op, Relu6};
use crate::quant::{ActivationQuant, Buckets};
use proptest::prelude::*;

/// ResNet-20 for CIFAR-10 with projections, as the net plugin builds it.
fn resnet20() -> Graph {
    let mut net = GraphBuilder::new("resnet20_at_cifar10", [3, 32, 32]);
    let conv = net.conv("conv1", net.input(), 16, 3, 1, 1);
    let norm = net.batch_norm("bn1", conv, 1e-5);
    let mut last = net.relu("relu1", norm);
    for stage in 0..3 {
        for block in 0..3 {
            last = residual(&mut net, last, stage, block);
        }
    }
    let pool = net.add("avgpool", GlobalAvgPool, &[last]);
    net.add("fc", Linear { out: 10, bias: true }, &[pool]);
    net.finish().unwrap()
}

fn residual(net: &mut GraphBuilder, from: NodeId, stage: usize, block: usize) -> NodeId {
    let name = |part: &str| format!("layer{}.{block}.{part}", stage + 1);
    let (out, stride) = (16 << stage, if stage > 0 && block == 0 { 2 } else { 1 });
    let conv = net.conv(name("conv1"), from, out, 3, stride, 1);
    let norm = net.batch_norm(name("bn1"), conv, 1e-5);
    let relu = net.relu(name("relu1"), norm);
    let conv = net.conv(name("conv2"), relu, out, 3, 1, 1);
    let norm = net.batch_norm(name("bn2"), conv, 1e-5);
    let shortcut = if stride == 1 {
        from
    } else {
        let conv = net.conv(name("downsample.0"), from, out, 1, stride, 0);
        net.batch_norm(name("downsample.1"), conv, 1e-5)
    };
    let add = net.add(name("add"), Add, &[norm, shortcut]);
    net.relu(name("relu2"), add)
}

fn tiny() -> Graph {
    let mut net = GraphBuilder::new("tiny", [3, 4, 4]);
    let conv = net.conv("conv1", net.input(), 4, 3, 1, 1);
    let norm = net.batch_norm("bn1", conv, 1e-5);
    let relu = net.relu("relu1", norm);
    let conv = net.conv("conv2", relu, 5, 3, 1, 1);
    let pool = net.add("pool", GlobalAvgPool, &[conv]);
    net.add("fc", Linear { out: 2, bias: true }, &[pool]);
    net.finish().unwrap()
}

/// Incompressible and as spread as trained weights' are; variances are positive.
fn random_values(graph: &Graph) -> BTreeMap<String, Vec<f32>> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    let params = graph.params().unwrap().into_iter();
    let values = params.map(|param| {
        let shift = if param.role == Role::RunningVar { 0.75 } else { 0.0 };
        (param.name, (0..param.shape.iter().product()).map(|_| next() + shift).collect())
    });
    values.collect()
}

fn meta(graph: &Graph) -> ModelMeta {
    let classes = graph.shapes().unwrap().last().unwrap()[0];
    let labels = "airplane automobile bird cat deer dog frog horse ship truck";
    ModelMeta {
        net: "resnet_at_cifar10".into(),
        learner: "uniform".into(),
        dataset: "cifar10".into(),
        stand_in: false,
        labels: labels.split(' ').take(classes).map(String::from).collect(),
        mean: vec![125.3, 123.0, 113.9],
        std: vec![63.0, 62.1, 66.7],
        changed_graph: false,
        top1: Some(0.9137),
        choices: BTreeMap::from([("style".into(), Value::Text("other".into()))]),
    }
}

/// With activation ranges, as after training.
fn plan(graph: &Graph, bits: u32, buckets: Buckets) -> QuantPlan {
    let mut plan = QuantPlan::uniform(graph, bits, bits, buckets, false);
    for (index, quant) in plan.activations.values_mut().enumerate() {
        *quant = ActivationQuant { bits: quant.bits, range: Some([0.0, 1.0 + (index as f32).sqrt()]) };
    }
    plan
}

fn model(graph: &Graph, plan: QuantPlan) -> Model {
    Model::new(graph.clone(), plan, meta(graph), random_values(graph)).unwrap()
}

fn saved(model: &Model) -> (tempfile::TempDir, std::path::PathBuf, u64) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.ckpt");
    let size = model.save(&path).unwrap();
    (folder, path, size)
}

/// Bits, ranges and full tensors, counted from the graph and not from the model.
fn needed_bytes(graph: &Graph, plan: &QuantPlan) -> u64 {
    let params = graph.params().unwrap();
    let bytes = params.iter().map(|param| {
        let count = param.shape.iter().product::<usize>();
        match plan.weights.get(&graph.nodes[param.node].name) {
            Some(quant) => (count * quant.bits as usize).div_ceil(8) + 8 * quant.buckets.count(&param.shape),
            None => 4 * count,
        }
    });
    bytes.sum::<usize>() as u64
}

#[test]
fn a_file_is_as_large_as_its_bits_need() {
    let graph = resnet20();
    let full = saved(&model(&graph, QuantPlan::default())).2;
    for buckets in [Buckets::Layer, Buckets::Channel, Buckets::Split(256)] {
        for bits in [2, 4, 8] {
            let model = model(&graph, plan(&graph, bits, buckets));
            let (size, needed) = (saved(&model).2, needed_bytes(&graph, &model.plan));
            eprintln!("{bits} bits, {buckets:?}: {size} bytes, {needed} needed, {} more", size - needed);
            assert!(size - needed < 2048, "{bits} bits, {buckets:?}: {} bytes beside the tensors", size - needed);
            if bits >= 4 {
                assert!(size as f64 <= 1.02 * needed as f64, "{bits} bits, {buckets:?}: {size} for {needed}");
            }
            assert_eq!(model.full_precision_bytes(), full);
        }
    }
}

#[test]
fn counts_bytes_and_bits() {
    let graph = resnet20();
    let model = model(&graph, plan(&graph, 4, Buckets::Channel));
    assert_eq!(model.bytes_of_layer("conv1"), 4 * 16 * 27);
    assert_eq!(model.bytes_of_layer("layer1.0.conv1"), 16 * 16 * 9 / 2 + 16 * 8);
    assert_eq!(model.bytes_of_layer("fc"), 4 * (640 + 10));
    assert_eq!(model.bytes_of_layer("nothing"), 0);
    let buckets = 16 * 6 + 32 * 7 + 64 * 7;
    assert_eq!(model.bucket_bytes(), 8 * buckets);
    let (packed, full) = (270_896.0 - 432.0 - 640.0, 432.0 + 640.0);
    assert_eq!(model.weight_bits_mean(), (4.0 * packed + 32.0 * full) / (packed + full));
}

#[test]
fn loads_exactly_q_of_x_and_saves_the_same_bytes() {
    let graph = resnet20();
    let values = random_values(&graph);
    for (bits, buckets) in [(4, Buckets::Layer), (3, Buckets::Channel), (5, Buckets::Split(100)), (19, Buckets::Layer)]
    {
        let model = model(&graph, plan(&graph, bits, buckets));
        let (_folder, path, size) = saved(&model);
        let loaded = Model::load(&path).unwrap();
        assert_eq!(loaded, model);
        for param in graph.params().unwrap() {
            let x = &values[&param.name];
            let q = match model.plan.weights.contains_key(&graph.nodes[param.node].name) {
                true => quantize(x, bits, buckets.size(&param.shape), Grid::MinMax).unwrap().values(),
                false => x.clone(),
            };
            let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&loaded.values(&param.name).unwrap()), bits(&q), "{}", param.name);
        }
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes.len() as u64, size);
        loaded.save(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
}

#[test]
fn new_names_the_tensor_that_does_not_fit() {
    let graph = tiny();
    let fail = |change: fn(&mut BTreeMap<String, Vec<f32>>)| {
        let mut values = random_values(&graph);
        change(&mut values);
        Model::new(graph.clone(), plan(&graph, 4, Buckets::Layer), meta(&graph), values).unwrap_err().to_string()
    };
    assert_eq!(fail(|values| drop(values.remove("bn1.bias"))), "tensor `bn1.bias` of `tiny` is missing");
    assert_eq!(
        fail(|values| drop(values.insert("fc.bias".into(), vec![0.0; 3]))),
        "tensor `fc.bias` of `tiny` has 3 values; its shape is [2]"
    );
    assert_eq!(fail(|values| drop(values.insert("fc2.bias".into(), vec![]))), "tensor `fc2.bias` is none of `tiny`");
    assert_eq!(
        fail(|values| values.get_mut("conv2.weight").unwrap()[7] = f32::NAN),
        "cannot quantize `conv2.weight`: the weights hold a value that is not a finite number"
    );
    let mut bad = plan(&graph, 4, Buckets::Layer);
    bad.activations.get_mut("relu1").unwrap().range = Some([0.0, f32::INFINITY]);
    let error = Model::new(graph.clone(), bad, meta(&graph), random_values(&graph)).unwrap_err().to_string();
    assert!(error.starts_with("the activation range 0 to inf of node `relu1` is not finite"), "{error}");
    let bad = ModelMeta { top1: Some(f64::NAN), ..meta(&graph) };
    assert!(Model::new(graph.clone(), plan(&graph, 4, Buckets::Layer), bad, random_values(&graph)).is_err());
}

/// Loads `tiny` after a change to its file.
fn load_changed(change: impl FnOnce(&mut TensorFile)) -> Result<Model, String> {
    let graph = tiny();
    let (_folder, path, _) = saved(&model(&graph, plan(&graph, 4, Buckets::Layer)));
    let mut file = TensorFile::read(&path).unwrap();
    change(&mut file);
    file.write(&path).unwrap();
    Model::load(&path).map_err(|error| error.to_string().replace(&path.display().to_string(), "FILE"))
}

#[test]
fn load_names_the_tensor_that_does_not_fit() {
    let fail = |change: fn(&mut TensorFile)| load_changed(change).unwrap_err();
    let full = |shape: &[usize]| Stored::Full { shape: shape.to_vec(), values: vec![0.0; shape.iter().product()] };
    assert!(load_changed(|_| ()).is_ok());
    assert_eq!(
        fail(|file| drop(file.tensors.remove("conv2.weight"))),
        "cannot use FILE as a model: tensor `conv2.weight` of `tiny` is missing"
    );
    assert_eq!(
        load_changed(|file| drop(file.tensors.insert("fc.weight".into(), full(&[5, 2])))).unwrap_err(),
        "cannot use FILE as a model: tensor `fc.weight` of `tiny` has the shape [5, 2]; [2, 5] is needed"
    );
    assert_eq!(
        load_changed(|file| drop(file.tensors.insert("fc3.weight".into(), full(&[1])))).unwrap_err(),
        "cannot use FILE as a model: tensor `fc3.weight` is none of `tiny`"
    );
    assert_eq!(
        load_changed(|file| drop(file.tensors.insert("conv2.weight".into(), full(&[5, 4, 3, 3])))).unwrap_err(),
        "cannot use FILE as a model: tensor `conv2.weight` of `tiny` is stored in full precision; its plan says 4 bits in \
         buckets of 180"
    );
    assert_eq!(
        fail(|file| drop(file.tensors.insert("fc.bias".into(), Stored::Bytes(vec![0; 8])))),
        "cannot use FILE as a model: tensor `fc.bias` of `tiny` has the shape []; [2] is needed"
    );
    assert_eq!(
        fail(|file| file.kind = "checkpoint".into()),
        "cannot use FILE as a model: it is a checkpoint; give the path of a saved model"
    );
    assert_eq!(
        fail(|file| file.header["graph"]["nodes"][4]["in"][0] = 9.into()),
        "cannot use FILE as a model: graph `tiny`: node `conv2`: input 9 does not come before it"
    );
    assert_eq!(
        fail(|file| drop(file.header.as_object_mut().unwrap().remove("plan"))),
        "cannot use FILE as a model: its header: missing field `plan`"
    );
}

#[test]
fn another_net_is_told_by_its_first_difference() {
    let ours = model(&tiny(), QuantPlan::default());
    let say = |change: fn(&mut Graph)| {
        let mut graph = tiny();
        change(&mut graph);
        let error = ours.expect_graph(&graph, Path::new("m.ckpt")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        error.to_string()
    };
    assert!(ours.expect_graph(&tiny(), Path::new("m.ckpt")).is_ok());
    let advice = "; select the net and the net options that it was saved with, or another path";
    assert_eq!(
        say(|graph| graph.name = "big".into()),
        format!("m.ckpt is not a model of `big`: it is of `tiny`{advice}")
    );
    assert_eq!(
        say(|graph| graph.nodes[3].op = Op::Relu6(Relu6)),
        format!(
            "m.ckpt is not a model of `tiny`: its node `relu1` is {}, where the net has {}{advice}",
            r#"{"name":"relu1","op":"relu","in":[2]}"#, r#"{"name":"relu1","op":"relu6","in":[2]}"#
        )
    );
    assert_eq!(
        say(|graph| drop(graph.nodes.pop())),
        format!("m.ckpt is not a model of `tiny`: it has 7 nodes, the net 6{advice}")
    );
}

/// All numbers within a header, to be replaced by hostile ones.
fn numbers<'a>(value: &'a mut serde_json::Value, found: &mut Vec<&'a mut serde_json::Value>) {
    match value {
        serde_json::Value::Number(_) => found.push(value),
        serde_json::Value::Array(items) => items.iter_mut().for_each(|item| numbers(item, found)),
        serde_json::Value::Object(items) => items.values_mut().for_each(|item| numbers(item, found)),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn no_header_makes_it_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![0u64..5, any::<u64>(), Just(u64::MAX)]), 1..5),
    ) {
        // Only that it answers counts; most of these are refused, a few (an accuracy, say) still
        // make a model.
        let _ = load_changed(|file| {
            let mut found = Vec::new();
            numbers(&mut file.header, &mut found);
            for (index, number) in &changes {
                let at = index.index(found.len());
                *found[at] = (*number).into();
            }
        });
    }
}
