//! A net held against what a file tells of its network: weights of one size fit networks that
//! compute different things, and a model of the wrong one would be evaluated without a word.

use crate::structure::{Activation, Structure, Window};
use crate::{FileLayer, LayerKind};
use pocketflow::Result;
use pocketflow::graph::{Conv2d, Graph, MaxPool, NodeId, Op, Shape};

/// What differs between the net and the file, a sentence each. `pairs`: which layer of the net has
/// the weights of which layer of the file.
///
/// # Errors
/// A graph that is not valid.
pub(super) fn differences(
    graph: &Graph,
    pairs: &[(NodeId, &FileLayer)],
    structure: Option<&Structure>,
) -> Result<Vec<String>> {
    let shapes = graph.shapes()?;
    let mut found = Vec::new();
    for (node, layer) in pairs {
        let Some(geometry) = &layer.geometry else { continue };
        let name = &graph.nodes[*node].name;
        if let Op::Conv2d(Conv2d { kernel, stride, padding, .. }) = graph.nodes[*node].op
            && layer.kind != LayerKind::FullyConnected
        {
            let ours = Window { size: kernel, stride, same: false, explicit: padding };
            let theirs = Window { size: kernel, ..geometry.window };
            let input = shapes[graph.nodes[*node].inputs[0]];
            found.extend(windows(&format!("`{name}`"), &ours, &theirs, input));
        }
        found.extend(activations(&format!("`{name}`"), behind(graph, *node), geometry.activation));
    }
    if let Some(structure) = structure {
        found.extend(parts(graph, &shapes, structure));
    }
    Ok(found)
}

/// Sums, poolings and operators that the net does not have.
fn parts(graph: &Graph, shapes: &[Shape], structure: &Structure) -> Vec<String> {
    let nodes = || graph.nodes.iter().enumerate();
    let mut found = Vec::new();
    let sums: Vec<NodeId> = nodes().filter(|(_, node)| matches!(node.op, Op::Add(_))).map(|(id, _)| id).collect();
    if sums.len() == structure.sums.len() {
        for (id, theirs) in sums.iter().zip(&structure.sums) {
            found.extend(activations(&format!("`{}`", graph.nodes[*id].name), behind(graph, *id), *theirs));
        }
    } else {
        let (ours, theirs) = (sums.len(), structure.sums.len());
        found.push(format!("the net adds two values in {ours} places, the file in {theirs}"));
    }
    let pools: Vec<(NodeId, Window)> = nodes()
        .filter_map(|(id, node)| match node.op {
            Op::MaxPool(MaxPool { kernel, stride, padding }) => {
                Some((id, Window { size: [kernel; 2], stride: [stride; 2], same: false, explicit: [padding; 4] }))
            }
            _ => None,
        })
        .collect();
    if pools.len() == structure.max_pools.len() {
        for ((id, ours), theirs) in pools.iter().zip(&structure.max_pools) {
            let node = &graph.nodes[*id];
            let who = format!("`{}`", node.name);
            if ours.size == theirs.size {
                found.extend(windows(&who, ours, theirs, shapes[node.inputs[0]]));
            } else {
                let ([a, b], [c, d]) = (ours.size, theirs.size);
                found.push(format!("{who} takes the largest of {a} × {b} values in the net, of {c} × {d} in the file"));
            }
        }
    } else {
        let (ours, theirs) = (pools.len(), structure.max_pools.len());
        found.push(format!("the net has {ours} max poolings, the file {theirs}"));
    }
    let foreign = structure.foreign.iter();
    found.extend(foreign.map(|(place, code)| {
        format!("operator {place} of the file (TensorFlow Lite's builtin code {code}) has no counterpart in the net")
    }));
    found
}

/// How two windows of one size differ on an input of this shape.
fn windows(who: &str, ours: &Window, theirs: &Window, [_, height, width]: Shape) -> Option<String> {
    let size = |[a, b]: [usize; 2]| format!("{a} × {b}");
    if ours.stride != theirs.stride {
        return Some(format!("{who} has stride {} in the net, {} in the file", size(ours.stride), size(theirs.stride)));
    }
    let (ours, theirs) = (placed(ours, [height, width]), placed(theirs, [height, width]));
    if ours == theirs {
        return None;
    }
    let show = |placed: [(usize, usize); 2]| {
        let [(top, rows), (left, columns)] = placed;
        format!("{top} above, {left} left, for {rows} × {columns} outputs")
    };
    Some(format!("{who} is padded in the net by {}; in the file by {}", show(ours), show(theirs)))
}

/// Along each dimension the padding before the first pixel, and how many outputs there are. With
/// equal strides two windows for which these agree read the same pixels: padding behind the last
/// pixel counts only where an output reads it.
fn placed(window: &Window, input: [usize; 2]) -> [(usize, usize); 2] {
    let [top, left, bottom, right] = window.explicit;
    let along = |dimension: usize, before: usize, after: usize| {
        let (kernel, stride) = (window.size[dimension], window.stride[dimension].max(1));
        let pixels = input[dimension].saturating_add(before).saturating_add(after);
        if window.same {
            let outputs = pixels.div_ceil(stride);
            let needed = outputs.saturating_sub(1).saturating_mul(stride).saturating_add(kernel);
            (before + needed.saturating_sub(pixels) / 2, outputs)
        } else {
            (before, pixels.checked_sub(kernel).map_or(0, |room| room / stride + 1))
        }
    };
    [along(0, top, bottom), along(1, left, right)]
}

/// The activation function that reads a layer's or a sum's output, behind its normalisation.
fn behind(graph: &Graph, node: NodeId) -> Activation {
    let mut readers = graph.nodes.iter().enumerate().filter(|(_, reader)| reader.inputs.contains(&node));
    match (readers.next(), readers.next()) {
        (Some((id, reader)), None) => match reader.op {
            Op::BatchNorm(_) => behind(graph, id),
            Op::Relu(_) => Activation::Relu,
            Op::Relu6(_) => Activation::Relu6,
            _ => Activation::None,
        },
        _ => Activation::None,
    }
}

fn activations(who: &str, ours: Activation, theirs: Activation) -> Option<String> {
    let word = |activation: Activation| match activation {
        Activation::None => "no activation function",
        Activation::Relu => "a ReLU",
        Activation::Relu6 => "a ReLU6",
        Activation::Unknown => "one that is not known",
    };
    let differs = theirs != Activation::Unknown && ours != theirs;
    differs.then(|| format!("{who} is followed by {} in the net, by {} in the file", word(ours), word(theirs)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn window(same: bool, stride: usize, explicit: [usize; 4]) -> Window {
        Window { size: [3; 2], stride: [stride; 2], same, explicit }
    }

    #[test]
    fn same_and_explicit_paddings_that_agree_on_the_pixels() {
        let differ = |ours, theirs, size| windows("it", &ours, &theirs, [1, size, size]);
        assert_eq!(differ(window(false, 1, [1; 4]), window(true, 1, [0; 4]), 8), None);
        // TensorFlow's SAME pads an even image behind only, PyTorch's padding 1 in front only.
        assert_eq!(
            differ(window(false, 2, [1; 4]), window(true, 2, [0; 4]), 8).unwrap(),
            "it is padded in the net by 1 above, 1 left, for 4 × 4 outputs; in the file by 0 above, 0 left, for 4 × 4 \
             outputs"
        );
        assert_eq!(differ(window(false, 2, [1; 4]), window(true, 2, [0; 4]), 7), None);
        assert_eq!(differ(window(false, 2, [1; 4]), window(false, 2, [1, 1, 0, 0]), 8), None);
        assert!(differ(window(false, 1, [1; 4]), window(false, 2, [1; 4]), 8).unwrap().contains("stride 1 × 1"));
    }

    proptest! {
        /// A slow count of the pixels that each output reads.
        #[test]
        fn windows_agree_where_they_read_the_same_pixels(
            size in 3usize..12, stride in 1usize..4, ours in prop::array::uniform4(0usize..3),
            theirs in prop::array::uniform4(0usize..3), same: bool,
        ) {
            let read = |window: &Window| -> Vec<i64> {
                let [top, _, bottom, _] = window.explicit;
                let (mut before, mut after) = (top, bottom);
                if window.same {
                    let pixels = size + top + bottom;
                    let needed = (pixels.div_ceil(stride) - 1) * stride + 3;
                    let more = needed.saturating_sub(pixels);
                    before += more / 2;
                    after += more - more / 2;
                }
                (0..).map(|output| (output * stride) as i64 - before as i64)
                    .take_while(|first| *first + 3 <= (size + after) as i64)
                    .collect()
            };
            let square = |[a, _, b, _]: [usize; 4]| [a, a, b, b];
            let (ours, theirs) = (window(false, stride, square(ours)), window(same, stride, square(theirs)));
            let alike = windows("it", &ours, &theirs, [1, size, size]).is_none();
            prop_assert_eq!(alike, read(&ours) == read(&theirs));
        }
    }
}
