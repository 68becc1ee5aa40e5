//! Tensors whose names say nothing, given to the parameters of a graph by their order and shapes:
//! each module of the file (the tensors of one name but for its last part) to the first layer that
//! is alike and has none yet, and what normalises it to the batch normalisation behind that layer.
//! Nothing is guessed: a module that fits nowhere, or not whole, is an error.

use super::{Assigned, COUNTER, NameMap, assign};
use crate::{Tensors, WeightsFile};
use pocketflow::graph::{Graph, NodeId, Op, Param, Role};
use pocketflow::{Error, Result};
use std::collections::BTreeMap;

/// As [`match_file`](super::match_file), by order where `map` says nothing.
///
/// # Errors
/// As there; a module that no layer is alike to, or none that is left.
pub fn match_in_order(graph: &Graph, file: WeightsFile, map: &NameMap) -> Result<Assigned> {
    if file.layers.is_some() {
        // The file has an order of its own.
        return super::match_file(graph, file, map);
    }
    let params = graph.params()?;
    let mut open: Vec<NodeId> = graph.layers();
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut last: Option<NodeId> = None;
    for module in modules(&file, map) {
        let shapes: Vec<&[usize]> = module.iter().filter_map(|name| Some(&*file.tensors.get(*name)?.shape)).collect();
        let node = match shapes.iter().find(|shape| shape.len() >= 2) {
            Some(weight) => {
                let found = open.iter().position(|id| is_alike(&of(&params, *id), weight, &shapes));
                let place = found.ok_or_else(|| {
                    misplaced(&module, &file.tensors, "no layer of the net is alike, or none is left")
                })?;
                let node = open.remove(place);
                last = Some(node);
                node
            }
            None => {
                let norm = last.take().and_then(|layer| {
                    graph.nodes.iter().position(|node| matches!(node.op, Op::BatchNorm(_)) && node.inputs == [layer])
                });
                norm.ok_or_else(|| {
                    misplaced(&module, &file.tensors, "no batch normalisation of the net has its place")
                })?
            }
        };
        let own = in_roles(&of(&params, node), &module, &file.tensors).ok_or_else(|| {
            misplaced(&module, &file.tensors, &format!("its parts are not those of `{}`", graph.nodes[node].name))
        })?;
        pairs.extend(own);
    }
    let mut map = map.clone();
    map.fill(pairs);
    assign(graph, file.tensors, &file.unread, &map)
}

/// The tensors of the file in its order, those of one module together; without what the map knows,
/// counters and whole numbers.
fn modules<'a>(file: &'a WeightsFile, map: &NameMap) -> Vec<Vec<&'a str>> {
    let module = |name: &str| name.rsplit_once(['.', '/', ':']).map_or(String::new(), |(module, _)| module.to_owned());
    let mut found: Vec<(String, Vec<&str>)> = Vec::new();
    for name in &file.order {
        let is_weight =
            file.tensors.get(name).is_some_and(|tensor| tensor.element.is_float() && !tensor.shape.is_empty());
        if !is_weight || name.rsplit('.').next() == Some(COUNTER) || map.find(name).is_some() {
            continue;
        }
        let own = module(name);
        match found.last_mut().filter(|(last, _)| *last == own && !own.is_empty()) {
            Some((_, names)) => names.push(name),
            None => found.push((own, vec![name])),
        }
    }
    found.into_iter().map(|(_, names)| names).collect()
}

fn of(params: &[Param], node: NodeId) -> Vec<&Param> {
    params.iter().filter(|param| param.node == node).collect()
}

/// Whether a layer's parameters are as large as a module's tensors; the module may have a bias that
/// a normalisation takes in.
fn is_alike(params: &[&Param], weight: &[usize], shapes: &[&[usize]]) -> bool {
    let size = |shape: &[usize]| shape.iter().copied().filter(|size| *size != 1).collect::<Vec<usize>>();
    let ours = params.iter().find(|param| param.role == Role::Weight);
    let has_bias = params.iter().any(|param| param.role == Role::Bias);
    ours.is_some_and(|ours| size(&ours.shape) == size(weight)) && (!has_bias || shapes.len() == 2) && shapes.len() <= 2
}

/// Which tensor of a module is which parameter of a node: by the last part of the name where the
/// parts have the usual names, else in their order. `None`: they are not as many, or of other
/// shapes.
fn in_roles(params: &[&Param], module: &[&str], tensors: &Tensors) -> Option<Vec<(String, String)>> {
    let parts: BTreeMap<&str, &str> = module.iter().map(|name| (last_part(name), *name)).collect();
    let of_usual_names: Option<Vec<(String, String)>> = params
        .iter()
        .map(|param| Some(((*parts.get(last_part(&param.name))?).to_owned(), param.name.clone())))
        .collect();
    let in_order = || params.iter().zip(module).map(|(param, name)| ((*name).to_owned(), param.name.clone())).collect();
    let (mut pairs, by_order) = match of_usual_names {
        Some(pairs) => (pairs, false),
        None => (in_order(), true),
    };
    let is_layer = params.iter().any(|param| param.shape.len() >= 2);
    match module.len().checked_sub(params.len())? {
        0 => {}
        // The bias of a layer in front of a normalisation.
        1 if is_layer && params.len() == 1 => {
            let extra = module.iter().find(|name| !pairs.iter().any(|(theirs, _)| theirs == *name))?;
            pairs.push(((*extra).to_owned(), params[0].name.replace("weight", "bias")));
        }
        _ => return None,
    }
    let fits = |(theirs, ours): &(String, String)| {
        let (Some(tensor), Some(param)) = (tensors.get(theirs), params.iter().find(|param| param.name == *ours)) else {
            return true;
        };
        tensor.values.len() == param.shape.iter().product::<usize>()
    };
    // A variance that is not above zero would be a mean: then the order is another.
    let variance = params.iter().find(|param| param.role == Role::RunningVar);
    let is_variance = variance.is_none_or(|param| {
        let theirs = pairs.iter().find(|(_, ours)| *ours == param.name).and_then(|(theirs, _)| tensors.get(theirs));
        !by_order || theirs.is_some_and(|tensor| tensor.values.iter().all(|value| *value >= 0.0))
    });
    (pairs.iter().all(fits) && is_variance).then_some(pairs)
}

fn last_part(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(_, part)| part)
}

fn misplaced(module: &[&str], tensors: &Tensors, why: &str) -> Error {
    let shown = |name: &&str| {
        let shape = tensors.get(*name).map(|tensor| tensor.shape.as_slice()).unwrap_or_default();
        format!("`{}` {shape:?}", pocketflow::names::shown(name))
    };
    let names: Vec<String> = module.iter().take(6).map(shown).collect();
    Error::config(format!(
        "by order, {} have no place: {why}. Check the net's options (size, version, shortcuts, nb_classes), or name what is \
         over in a file for --map: \"NAME\" = \"\"",
        names.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Element, LoadedTensor};
    use pocketflow::graph::{Add, GlobalAvgPool, GraphBuilder, Linear};

    /// Two ways through a block, with layers of which only the shapes tell them apart.
    fn graph() -> Graph {
        let mut builder = GraphBuilder::new("small", [3, 8, 8]);
        let side = builder.conv("down", 0, 4, 1, 1, 0);
        let side = builder.batch_norm("down_bn", side, 1e-5);
        let conv = builder.conv("conv1", 0, 4, 3, 1, 1);
        let norm = builder.batch_norm("bn1", conv, 1e-5);
        let sum = builder.add("sum", Add, &[norm, side]);
        let pool = builder.add("pool", GlobalAvgPool, &[sum]);
        builder.add("fc", Linear { out: 3, bias: true }, &[pool]);
        builder.finish().unwrap()
    }

    /// A file with the way of `conv1` in front; `parts`: what the parts of a normalisation are
    /// called.
    fn file(parts: [&str; 4]) -> WeightsFile {
        let mut file = WeightsFile::default();
        let mut number = 0.0;
        let mut put = |name: String, shape: &[usize]| {
            let values = (0..shape.iter().product::<usize>()).map(|at| number + at as f32 / 64.0).collect();
            number += 1.0;
            file.order.push(name.clone());
            file.tensors.insert(name, LoadedTensor { shape: shape.into(), values, element: Element::F32 });
        };
        for (layer, shape) in [("z", [4, 3, 3, 3]), ("a", [4, 3, 1, 1])] {
            put(format!("{layer}.kernel"), &shape);
            parts.iter().for_each(|part| put(format!("{layer}_n.{part}"), &[4]));
        }
        put("m.w".into(), &[3, 4]);
        put("m.b".into(), &[3]);
        file
    }

    #[test]
    fn the_order_and_the_shapes_tell_what_names_do_not() {
        let usual = ["weight", "bias", "running_mean", "running_var"];
        for parts in [usual, ["gamma", "beta", "mean", "var"]] {
            let assigned = match_in_order(&graph(), file(parts), &NameMap::default()).unwrap();
            assigned.report.check().unwrap();
            let first = |name: &str| assigned.tensors[name].values[0];
            assert_eq!(["conv1.weight", "bn1.weight", "bn1.running_var"].map(first), [0.0, 1.0, 4.0]);
            assert_eq!(
                ["down.weight", "down_bn.weight", "down_bn.bias", "fc.weight"].map(first),
                [5.0, 6.0, 7.0, 10.0]
            );
        }
        // Names that are usual say more than the order.
        let [weight, bias, mean, variance] = usual;
        let assigned = match_in_order(&graph(), file([bias, weight, variance, mean]), &NameMap::default()).unwrap();
        assert_eq!(assigned.tensors["bn1.weight"].values[0], 2.0);
    }

    #[test]
    fn what_does_not_fit_whole_is_refused() {
        let said = |change: &dyn Fn(&mut WeightsFile)| {
            let mut file = file(["gamma", "beta", "mean", "var"]);
            change(&mut file);
            match_in_order(&graph(), file, &NameMap::default()).unwrap_err().to_string()
        };
        let more = said(&|file| {
            let tensor = file.tensors["z.kernel"].clone();
            file.order.push("more.kernel".into());
            file.tensors.insert("more.kernel".into(), tensor);
        });
        assert!(more.contains("`more.kernel` [4, 3, 3, 3]") && more.contains("none is left"), "{more}");
        let less = said(&|file| file.order.retain(|name| name != "z_n.beta"));
        assert!(less.contains("its parts are not those of `bn1`"), "{less}");
        let moved = said(&|file| file.order.swap(1, 10));
        assert!(moved.contains("by order"), "{moved}");
        let negative = said(&|file| file.tensors.get_mut("z_n.var").unwrap().values[0] = -1.0);
        assert!(negative.contains("its parts"), "{negative}");
    }
}
