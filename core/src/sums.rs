//! Sums on one scale. Where both operands and the result of a residual sum have grids of the same
//! scale, adding is adding integers: nothing is rounded, and every runtime computes the same codes.
//! On grids of their own, runtimes multiply with two ratios of scales, each in its own way, and
//! what one of them rounds up another rounds down; from there on two runtimes compute different
//! networks.
//!
//! The price is that the narrower ranges of a stage are widened to the widest's step: in a
//! ResNet-20 by 1.0 to 2.1 times. Where it would be more than 16 times, a range is left as it is.

use crate::affine::Affine;
use crate::graph::{Graph, NodeId, Op};
use crate::integer::{Held, Target, held};
use crate::quant::ActivationQuant;
use std::collections::{BTreeMap, BTreeSet};

/// How many times coarser a grid may become for the sake of a sum. Values with a range far below
/// that of what they are added to would lose all they tell to other layers, and runtimes refuse
/// layers whose products are far coarser than their output.
const COARSEST: f32 = 16.0;

/// Widens ranges, by node of a folded graph, such that all values that meet in sums have grids of
/// `bits` bits with the same scale. Sums that meet a value without a range here are left alone, and
/// so are values that would need a grid more than 16 times coarser. A value that is always zero
/// takes the scale of the others.
pub fn align_ranges(graph: &Graph, target: Target, bits: u32, ranges: &mut BTreeMap<String, [f32; 2]>) {
    for group in groups(graph, target) {
        let names = || group.iter().map(|id| graph.nodes[*id].name.as_str());
        if !names().all(|name| ranges.contains_key(name)) {
            continue;
        }
        let told = names().map(|name| ranges[name]).filter(|range| !is_empty(*range));
        let scale = told.map(|range| Affine::of_range(range, bits).scale).fold(0.0, f32::max);
        if scale == 0.0 {
            continue;
        }
        for name in names() {
            if let Some(range) = ranges.get_mut(name)
                && (is_empty(*range) || Affine::of_range(*range, bits).scale * COARSEST >= scale)
            {
                *range = widened(*range, scale, bits);
            }
        }
    }
}

/// Whether nothing but zero was seen.
fn is_empty([min, max]: [f32; 2]) -> bool {
    min >= 0.0 && max <= 0.0
}

/// Values of fewer bits cannot spare the one that wider ranges may cost them.
const LEAST_BITS: u32 = 8;

/// As [`align_ranges`], for the ranges of a plan; sums of values with different bits, or with less
/// than 8, are left alone.
pub fn align_plan(graph: &Graph, target: Target, activations: &mut BTreeMap<String, ActivationQuant>) {
    let all_bits = activations.values().map(|quant| quant.bits).filter(|bits| *bits >= LEAST_BITS);
    let all_bits: BTreeSet<u32> = all_bits.collect();
    for bits in all_bits {
        let of_bits = activations.iter().filter(|(_, quant)| quant.bits == bits);
        let mut ranges = of_bits.filter_map(|(name, quant)| Some((name.clone(), quant.range?))).collect();
        align_ranges(graph, target, bits, &mut ranges);
        for (name, range) in ranges {
            activations.insert(name, ActivationQuant { bits, range: Some(range) });
        }
    }
}

/// The range with the same zero point whose grid has this scale, which is no smaller than its own.
fn widened(range: [f32; 2], scale: f32, bits: u32) -> [f32; 2] {
    let grid = Affine::of_range(range, bits);
    if grid.scale == scale { range } else { Affine { scale, ..grid }.ends() }
}

/// The nodes whose grids meet in sums, directly or by way of other sums.
fn groups(graph: &Graph, target: Target) -> Vec<Vec<NodeId>> {
    let (held, readers) = (held(graph, target), graph.readers());
    let grid_of = |mut id: NodeId| {
        // A fused node is held by what reads it.
        while let (Held::Fused, Some(reader)) = (held[id], readers[id]) {
            id = reader;
        }
        match held[id] {
            Held::On(earlier) => earlier,
            _ => id,
        }
    };
    // By node, one that it meets; itself where it is the first of its group.
    let mut meets: Vec<NodeId> = (0..graph.nodes.len()).collect();
    let mut in_sums = BTreeSet::new();
    for (id, node) in graph.nodes.iter().enumerate().filter(|(_, node)| matches!(node.op, Op::Add(_))) {
        let joined: Vec<NodeId> = node.inputs.iter().copied().chain([id]).map(grid_of).collect();
        let firsts: Vec<NodeId> = joined.iter().map(|member| first(&mut meets, *member)).collect();
        let least = firsts.iter().copied().fold(id, NodeId::min);
        firsts.into_iter().for_each(|other| meets[other] = least);
        in_sums.extend(joined);
    }
    let mut groups: BTreeMap<NodeId, Vec<NodeId>> = BTreeMap::new();
    for member in in_sums {
        groups.entry(first(&mut meets, member)).or_default().push(member);
    }
    groups.into_values().collect()
}

/// The first node of a group. The way to it is halved for whoever asks next, so that it stays
/// short.
fn first(meets: &mut [NodeId], mut member: NodeId) -> NodeId {
    while meets[member] != member {
        meets[member] = meets[meets[member]];
        member = meets[member];
    }
    member
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Add, GraphBuilder};
    use crate::integer::plan;
    use proptest::prelude::*;

    /// Two blocks behind each other, the second behind a convolution of its own: [conv] + itself,
    /// relu; conv; [conv] + itself, relu.
    fn graph() -> Graph {
        let mut builder = GraphBuilder::new("blocks", [3, 8, 8]);
        let stem = builder.conv("stem", 0, 4, 3, 1, 1);
        let mut last = builder.relu("stem_relu", stem);
        for block in ["a", "b"] {
            let conv = builder.conv(format!("{block}.conv"), last, 4, 3, 1, 1);
            let sum = builder.add(format!("{block}.sum"), Add, &[conv, last]);
            last = builder.relu(format!("{block}.relu"), sum);
            if block == "a" {
                let between = builder.conv("between", last, 4, 3, 1, 1);
                last = builder.relu("between_relu", between);
            }
        }
        builder.finish().unwrap()
    }

    fn range_of(activations: &BTreeMap<String, ActivationQuant>, name: &str) -> [f32; 2] {
        activations[name].range.unwrap()
    }

    #[test]
    fn what_meets_in_sums_is_together() {
        let graph = graph();
        let names = groups(&graph, Target::Int8).into_iter().map(|group| {
            let names: Vec<&str> = group.into_iter().map(|id| graph.nodes[id].name.as_str()).collect();
            names.join(" ")
        });
        assert_eq!(names.collect::<Vec<_>>(), ["stem_relu a.conv a.relu", "between_relu b.conv b.relu"]);
        let mut some = BTreeMap::from([("a.conv".to_owned(), [-1.0, 1.0]), ("a.relu".to_owned(), [0.0, 9.0])]);
        let before = some.clone();
        align_ranges(&graph, Target::Int8, 8, &mut some);
        assert_eq!(some, before, "`stem_relu` has no range");
    }

    fn aligned(ends: [(&str, [f32; 2]); 3]) -> BTreeMap<String, Affine> {
        let mut ranges = ends.map(|(name, range)| (name.to_owned(), range)).into();
        align_ranges(&graph(), Target::Int8, 8, &mut ranges);
        ranges.into_iter().map(|(name, range)| (name, Affine::of_range(range, 8))).collect()
    }

    #[test]
    fn a_value_that_is_always_zero_coarsens_no_other() {
        let grids = aligned([("stem_relu", [0.0, 0.0]), ("a.conv", [-0.5, 0.5]), ("a.relu", [0.0, 0.5])]);
        let scale = grids["a.conv"].scale;
        assert!((scale - 1.0 / 255.0).abs() < 1e-6, "not the 1 of an empty range: {grids:?}");
        assert!(grids.values().all(|grid| (grid.scale / scale - 1.0).abs() < 1e-5), "{grids:?}");
        let dead = aligned([("stem_relu", [0.0, 0.0]), ("a.conv", [0.0, 0.0]), ("a.relu", [0.0, 0.0])]);
        assert!(dead.values().all(|grid| grid.scale == 1.0), "{dead:?}");
    }

    #[test]
    fn a_value_far_smaller_than_the_others_keeps_its_grid() {
        let grids = aligned([("stem_relu", [0.0, 2.55]), ("a.conv", [-1e6, 1e6]), ("a.relu", [0.0, 1e6])]);
        assert!((grids["stem_relu"].scale - 0.01).abs() < 1e-6, "{grids:?}");
        assert!((grids["a.conv"].scale / grids["a.relu"].scale - 1.0).abs() < 1e-5, "{grids:?}");
    }

    proptest! {
        #[test]
        fn one_scale_and_nothing_lost(ends in prop::collection::vec((-20f32..0.0, 3f32..20.0), 16), bits in 6u32..11) {
            let graph = graph();
            let mut activations = plan(&graph, Target::Int8, 8, bits).activations;
            for (quant, (min, max)) in activations.values_mut().zip(ends) {
                quant.range = Some([min, max]);
            }
            let before = activations.clone();
            align_plan(&graph, Target::Int8, &mut activations);
            if bits < LEAST_BITS {
                prop_assert_eq!(activations, before);
                return Ok(());
            }
            let range = |name: &str| range_of(&activations, name);
            for group in [["stem_relu", "a.conv", "a.relu"], ["between_relu", "b.conv", "b.relu"]] {
                let grids = group.map(|name| Affine::of_range(range(name), bits));
                for grid in grids {
                    prop_assert!((grid.scale / grids[0].scale - 1.0).abs() < 1e-5, "{grids:?}");
                }
            }
            for (name, quant) in &before {
                let ([old, now], step) = ([quant.range.unwrap(), range(name)], Affine::of_range(range(name), bits).scale);
                // The zero point is a code, to which the old range is nudged.
                prop_assert!(now[0] <= old[0] + step && now[1] >= old[1] - step, "{name}: {old:?} {now:?}");
            }
            prop_assert_eq!(range("input"), before["input"].range.unwrap());
            let once = activations.clone();
            align_plan(&graph, Target::Int8, &mut activations);
            for (name, quant) in &once {
                let [one, two] = [quant.range.unwrap(), range_of(&activations, name)].map(|range| Affine::of_range(range, bits));
                prop_assert!(one.zero_point == two.zero_point && (one.scale / two.scale - 1.0).abs() < 1e-5, "{name}");
            }
        }
    }
}
