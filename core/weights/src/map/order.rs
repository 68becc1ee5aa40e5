//! Layers of a file that has them in execution order, given to the layers of a graph: each to the
//! first that is of its kind and size and has none yet. Files and graphs may order the two ways
//! through a block differently, but not layers that are alike.

use super::compare::differences;
use super::report::Unused;
use super::{Assigned, NameMap, assign};
use crate::element::Element;
use crate::{FileLayer, LayerKind, LoadedTensor, Tensors, WeightsFile};
use pocketflow::Result;
use pocketflow::graph::{BatchNorm, Graph, Node, NodeId, Op, Param};
use std::collections::{BTreeMap, BTreeSet};

/// As [`assign`], for any file: one that has its layers in order is matched by that order, and the
/// map comes first all the same.
///
/// # Errors
/// As there.
pub fn match_file(graph: &Graph, file: WeightsFile, map: &NameMap) -> Result<Assigned> {
    let WeightsFile { mut tensors, layers, structure, unread, .. } = file;
    let Some(layers) = layers else { return assign(graph, tensors, &unread, map) };
    let params: BTreeMap<String, Param> =
        graph.params()?.into_iter().map(|param| (param.name.clone(), param)).collect();
    let mut map = map.clone();
    let mut open: Vec<NodeId> = graph.layers();
    let (mut folded, mut made) = (Vec::new(), BTreeSet::new());
    let (mut pairs, mut lacking) = (Vec::new(), Vec::new());
    for layer in &layers {
        let Some(place) = open.iter().position(|id| is_alike(&graph.nodes[*id], layer, &tensors, &params)) else {
            // The map may have a use for it, or say that it has none.
            if map.find(&layer.weight).is_none() {
                let shape = tensors.get(&layer.weight).map(|tensor| tensor.shape.clone()).unwrap_or_default();
                lacking.push(Unused { theirs: layer.weight.clone(), shape });
            }
            continue;
        };
        let node = open.remove(place);
        pairs.push((node, layer));
        let name = &graph.nodes[node].name;
        map.fill([(layer.weight.clone(), format!("{name}.weight"))]);
        let norm = graph.nodes.iter().find(|next| matches!(next.op, Op::BatchNorm(_)) && next.inputs == [node]);
        match norm {
            Some(Node { name: norm, op: Op::BatchNorm(BatchNorm { eps }), .. }) => {
                let channels = params.get(&format!("{norm}.bias")).map_or(0, |param| param.shape[0]);
                let constants = [("weight", 1.0), ("running_mean", 0.0), ("running_var", (1.0 - eps) as f32)];
                let shift = if layer.bias.is_none() { Some(("bias", 0.0)) } else { None };
                for (part, value) in constants.into_iter().chain(shift) {
                    let name = format!("{norm}.{part}");
                    tensors.insert(name.clone(), constant(channels, value));
                    made.insert(name);
                }
                map.fill(layer.bias.iter().map(|bias| (bias.clone(), format!("{norm}.bias"))));
                folded.push(norm.clone());
            }
            _ => map.fill(layer.bias.iter().map(|bias| (bias.clone(), format!("{name}.bias")))),
        }
    }
    let mut assigned = assign(graph, tensors, &unread, &map)?;
    // What was made here is not said to come from the file.
    assigned.report.matched.retain(|matched| !made.contains(&matched.theirs));
    assigned.report.folded = folded;
    assigned.report.unused.retain(|unused| !lacking.iter().any(|lacking: &Unused| lacking.theirs == unused.theirs));
    assigned.report.lacking.extend(lacking);
    if assigned.report.is_complete() {
        assigned.report.differences = differences(graph, &pairs, structure.as_ref())?;
    }
    Ok(assigned)
}

fn constant(channels: usize, value: f32) -> LoadedTensor {
    LoadedTensor { shape: vec![channels], values: vec![value; channels], element: Element::F32 }
}

/// Whether a layer of the graph can be one of the file: by kind and by the size of its weights.
fn is_alike(node: &Node, layer: &FileLayer, tensors: &Tensors, params: &BTreeMap<String, Param>) -> bool {
    let kind = matches!(
        (node.op.kind(), layer.kind),
        ("depthwise", LayerKind::Depthwise)
            | ("conv" | "fc", LayerKind::Convolution)
            | ("fc", LayerKind::FullyConnected)
    );
    let size = |shape: &[usize]| shape.iter().copied().filter(|size| *size != 1).collect::<Vec<usize>>();
    let ours = params.get(&format!("{}.weight", node.name)).map(|param| &param.shape);
    let theirs = tensors.get(&layer.weight).map(|tensor| &tensor.shape);
    let (Some(ours), Some(theirs)) = (ours, theirs) else { return false };
    // The file may know one class less: `assign` adds the background.
    let lacks_one = matches!((ours.as_slice(), theirs.as_slice()),
        ([ours, inner], [theirs, rest]) if theirs.checked_add(1) == Some(*ours) && inner == rest);
    kind && (size(ours) == size(theirs) || lacks_one)
}
