//! Tensors of a file for which a graph has no parameter, and that its network computes with all the
//! same: a bias in front of a batch normalisation, which goes into its mean, and parts that the
//! graph lacks, which are not left out in silence.

use super::unwrapped;
use pocketflow::graph::{Conv2d, Graph, Linear, Op};
use std::collections::{BTreeMap, BTreeSet};

/// Names of parameters that a layer or a normalisation computes with. Others (`scale`,
/// `observer_enabled`, a counter) belong to training.
const PARTS: [&str; 4] = ["weight", "bias", "running_mean", "running_var"];

/// Biases that the graph's layers do not have because a batch normalisation follows: the bias's
/// name, and that of the running mean that takes it in, (y + b − μ) = (y − (μ − b)).
pub(super) fn absorbing(graph: &Graph) -> BTreeMap<String, String> {
    let uses = graph.uses();
    let norms = graph.nodes.iter().filter(|node| matches!(node.op, Op::BatchNorm(_)));
    let pairs = norms.filter_map(|norm| {
        let layer = &graph.nodes[norm.inputs[0]];
        let without_bias =
            matches!(layer.op, Op::Conv2d(Conv2d { bias: false, .. }) | Op::Linear(Linear { bias: false, .. }));
        (without_bias && uses[norm.inputs[0]] == 1)
            .then(|| (format!("{}.bias", layer.name), format!("{}.running_mean", norm.name)))
    });
    pairs.collect()
}

/// Whether a tensor that no parameter is for takes part in what the file's network computes: one of
/// a module that has other tensors in the graph, or of one that lies in a block with them.
///
/// `matched`: the tensors that found their parameter. A module beside them all, as a second head,
/// may be left out.
pub(super) fn is_computed_with(name: &str, matched: &BTreeSet<String>) -> bool {
    let Some((module, part)) = unwrapped(name).rsplit_once('.') else { return false };
    if !PARTS.contains(&part) {
        return false;
    }
    let shares = |front: &str| {
        let front = format!("{front}.");
        matched.range(front.clone()..).next().is_some_and(|other| other.starts_with(&front))
    };
    let mut blocks = std::iter::successors(Some(module), |block| Some(block.rsplit_once('.')?.0));
    blocks.any(shares)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_within_the_network_are_told_from_parts_beside_it() {
        let matched = ["conv1.weight", "layer1.0.conv1.weight", "layer1.0.bn1.weight", "fc.weight"];
        let matched: BTreeSet<String> = matched.map(str::to_owned).into();
        let computed = |name: &str| is_computed_with(name, &matched);
        for inside in ["conv1.bias", "module.conv1.bias", "layer1.0.se.fc1.weight", "layer1.7.conv1.weight"] {
            assert!(computed(inside), "{inside}");
        }
        for beside in ["aux.weight", "head.fc.bias", "layer1.0.conv1.weight_fake_quant.scale", "mean", "conv12.bias"] {
            assert!(!computed(beside), "{beside}");
        }
    }
}
