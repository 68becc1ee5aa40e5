use super::*;
use crate::Element;
use pocketflow::graph::{GlobalAvgPool, GraphBuilder, Linear};

fn assign(graph: &Graph, file: Tensors, map: &NameMap) -> Result<Assigned> {
    super::assign(graph, file, &BTreeMap::new(), map)
}

fn graph(classes: usize) -> Graph {
    let mut builder = GraphBuilder::new("small", [3, 8, 8]);
    let conv = builder.conv("conv1", 0, 2, 1, 1, 0);
    let norm = builder.batch_norm("bn1", conv, 1e-5);
    let pool = builder.add("pool", GlobalAvgPool, &[norm]);
    builder.add("fc", Linear { out: classes, bias: true }, &[pool]);
    builder.finish().unwrap()
}

fn tensor(shape: &[usize], first: f32) -> LoadedTensor {
    let values = (0..shape.iter().product::<usize>()).map(|index| first + index as f32).collect();
    LoadedTensor { shape: shape.into(), values, element: Element::F32 }
}

/// Tensors for [`graph`] with three classes, as another author would name them.
fn file() -> Tensors {
    let names = [
        ("conv1.weight", vec![2, 3, 1, 1]),
        ("bn1.weight", vec![2]),
        ("bn1.bias", vec![2]),
        ("bn1.running_mean", vec![2]),
        ("bn1.running_var", vec![2]),
        ("bn1.num_batches_tracked", vec![]),
        ("linear.weight", vec![3, 2]),
        ("linear.bias", vec![3]),
    ];
    names.into_iter().map(|(name, shape)| (format!("module.{name}"), tensor(&shape, 1.0))).collect()
}

#[test]
fn names_of_other_authors() {
    let assigned = assign(&graph(3), file(), &NameMap::default()).unwrap();
    assigned.report.check().unwrap();
    assert_eq!(assigned.tensors.len(), 7);
    assert_eq!(assigned.tensors["fc.weight"], tensor(&[3, 2], 1.0));
    assert_eq!(assigned.report.ignored, ["module.bn1.num_batches_tracked"]);
    assert!(!assigned.report.background_added);
    assert_eq!(assigned.report.matched.len(), 7);
}

#[test]
fn a_class_less_gets_the_background() {
    let assigned = assign(&graph(4), file(), &NameMap::default()).unwrap();
    assigned.report.check().unwrap();
    assert!(assigned.report.background_added);
    assert_eq!(assigned.tensors["fc.weight"].values, [3.0, 4.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    assert_eq!(assigned.tensors["fc.bias"].values, [2.0, 1.0, 2.0, 3.0]);
    // Two classes less is another network.
    let report = assign(&graph(5), file(), &NameMap::default()).unwrap().report;
    assert!(!report.background_added);
    assert_eq!(report.misfits.len(), 2);
}

#[test]
fn what_does_not_match_is_listed() {
    let mut tensors = file();
    tensors.remove("module.bn1.bias");
    tensors.insert("extra".into(), tensor(&[5], 0.0));
    tensors.insert("module.conv1.weight".into(), tensor(&[2, 3, 3, 3], 0.0));
    let report = assign(&graph(3), tensors, &NameMap::default()).unwrap().report;
    let message = report.check().unwrap_err().to_string();
    for part in ["2 of 7", "[2, 3, 3, 3], not [2, 3, 1, 1]", "nothing for `bn1.bias` [2]", "`extra` [5]", "--map"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert_eq!(report.missing.len(), 1);
    assert_eq!(report.unused.len(), 1);
}

#[test]
fn a_bias_before_a_normalisation_goes_into_its_mean() {
    let mut tensors = file();
    tensors.insert("module.conv1.bias".into(), tensor(&[2], 0.25));
    let assigned = assign(&graph(3), tensors.clone(), &NameMap::default()).unwrap();
    assigned.report.check().unwrap();
    assert_eq!(assigned.tensors["bn1.running_mean"].values, [1.0 - 0.25, 2.0 - 1.25]);
    assert_eq!(assigned.report.absorbed.len(), 1);
    assert!(assigned.report.unused.is_empty() && assigned.report.lacking.is_empty());
    // A map may leave it out, knowingly.
    let map = NameMap::parse("\"module.conv1.bias\" = \"\"").unwrap();
    assert!(assign(&graph(3), tensors.clone(), &map).unwrap().report.absorbed.is_empty());
    for (bias, problem) in [(tensor(&[3], 0.0), "[3], not [2]"), (tensor(&[2], f32::NAN), "NaN")] {
        tensors.insert("module.conv1.bias".into(), bias);
        let message = assign(&graph(3), tensors.clone(), &NameMap::default()).unwrap().report.check().unwrap_err();
        assert!(message.to_string().contains(problem), "{message}");
    }
}

#[test]
fn parts_of_the_network_are_not_left_out() {
    let mut tensors = file();
    tensors.insert("module.conv1.se.weight".into(), tensor(&[2], 0.0));
    let message = assign(&graph(3), tensors.clone(), &NameMap::default()).unwrap().report.check().unwrap_err();
    assert!(message.to_string().contains("no place for: `module.conv1.se.weight` [2]"), "{message}");
    let map = NameMap::parse("\"module.conv1.se\" = \"\"").unwrap();
    assign(&graph(3), tensors, &map).unwrap().report.check().unwrap();
}

#[test]
fn what_stands_in_front_of_all_names_is_no_part_of_them() {
    for front in ["model.", "student.backbone.", "1.", "Schicht ü."] {
        let mut tensors: Tensors =
            file().into_iter().map(|(name, tensor)| (name.replacen("module.", front, 1), tensor)).collect();
        // Beside the network, and so left over; within it, it would be a part of it.
        tensors.insert(format!("{front}aux.weight"), tensor(&[5], 0.0));
        tensors.insert("0.mean".into(), tensor(&[1, 3, 1, 1], 0.0));
        let assigned = assign(&graph(3), tensors.clone(), &NameMap::default()).unwrap();
        assigned.report.check().unwrap();
        assert_eq!(assigned.tensors["fc.weight"], tensor(&[3, 2], 1.0), "{front}");
        let over: Vec<&str> = assigned.report.unused.iter().map(|unused| unused.theirs.as_str()).collect();
        assert_eq!(over, ["0.mean", &format!("{front}aux.weight")]);
        tensors.insert(format!("{front}conv1.se.weight"), tensor(&[2], 0.0));
        assert!(assign(&graph(3), tensors, &NameMap::default()).unwrap().report.check().is_err(), "{front}");
    }
}

#[test]
fn a_map_takes_away_a_front_and_chooses_among_two_networks() {
    let mut tensors = Tensors::new();
    for (front, first) in [("student", 1.0), ("teacher", 5.0)] {
        let own = file().into_iter().map(|(name, tensor)| (name.replacen("module", front, 1), tensor));
        tensors.extend(own.map(|(name, old)| (name, tensor(&old.shape, first))));
    }
    let message = assign(&graph(3), tensors.clone(), &NameMap::default()).unwrap_err().to_string();
    assert!(message.contains("`student`") && message.contains("`teacher`"), "{message}");
    let map = NameMap::parse("student = \"\"\nteacher = \".\"").unwrap();
    let assigned = assign(&graph(3), tensors, &map).unwrap();
    assigned.report.check().unwrap();
    assert_eq!(assigned.tensors["fc.bias"], tensor(&[3], 5.0));
}

#[test]
fn tensors_that_are_not_read_are_left_over_unless_they_are_needed() {
    let unread = |name: &str| BTreeMap::from([(name.to_owned(), "holds numbers of type F8_E4M3".to_owned())]);
    let assigned = super::assign(&graph(3), file(), &unread("amax"), &NameMap::default()).unwrap();
    assigned.report.check().unwrap();
    assert_eq!(assigned.report.unused[0].theirs, "amax");
    let mut tensors = file();
    tensors.remove("module.conv1.weight");
    let report = super::assign(&graph(3), tensors, &unread("module.conv1.weight"), &NameMap::default()).unwrap().report;
    let message = report.check().unwrap_err().to_string();
    assert!(message.contains("1 of 7") && message.contains("F8_E4M3"), "{message}");
    let report =
        super::assign(&graph(3), file(), &unread("module.conv1.se.weight"), &NameMap::default()).unwrap().report;
    assert!(report.check().is_err(), "a part of the network");
}

#[test]
fn values_that_are_no_weights() {
    let refused = |name: &str, change: fn(&mut LoadedTensor)| {
        let mut tensors = file();
        change(tensors.get_mut(name).unwrap());
        let report = assign(&graph(3), tensors, &NameMap::default()).unwrap().report;
        report.misfits[0].problem.clone()
    };
    assert!(refused("module.linear.bias", |tensor| tensor.values[1] = f32::NAN).contains("NaN"));
    assert!(refused("module.conv1.weight", |tensor| tensor.element = Element::I8).contains("i8"));
    assert!(refused("module.bn1.running_var", |tensor| tensor.values[0] = -1.0).contains("negative variance"));
}

#[test]
fn a_map_goes_before_the_rules() {
    let mut tensors = file();
    let head = tensors.remove("module.linear.weight").unwrap();
    tensors.insert("head.weight".into(), head);
    let map = NameMap::parse("head = \"fc\"").unwrap();
    assign(&graph(3), tensors.clone(), &map).unwrap().report.check().unwrap();
    let map = NameMap::parse("head = \"fc\"\nhaed = \"fc\"").unwrap();
    let message = assign(&graph(3), tensors.clone(), &map).unwrap_err().to_string();
    assert!(message.contains("`haed`"), "{message}");
    // Two for one.
    tensors.insert("fc.weight".into(), tensor(&[3, 2], 0.0));
    let map = NameMap::parse("head = \"fc\"").unwrap();
    let message = assign(&graph(3), tensors, &map).unwrap_err().to_string();
    assert!(message.contains("both for `fc.weight`"), "{message}");
}
