//! The order of execution: nodes as steps, with batch norm, residual sum and activation fused into
//! one pass over memory.

use crate::kernels::Act;
use pocketflow::graph::{Graph, NodeId, Op};
use pocketflow::quant::QuantPlan;
use std::collections::BTreeMap;

/// One step of execution: a node, or several fused into one pass.
pub enum Step {
    Conv {
        node: NodeId,
        input: NodeId,
    },
    Linear {
        node: NodeId,
        input: NodeId,
    },
    /// Q(act(Q(norm(input)) + residual)); the value of `node`.
    NormAct {
        node: NodeId,
        input: NodeId,
        norm: Option<NodeId>,
        residual: Option<NodeId>,
        act: Act,
    },
    MaxPool {
        node: NodeId,
        input: NodeId,
    },
    GlobalAvgPool {
        node: NodeId,
        input: NodeId,
    },
    PadShortcut {
        node: NodeId,
        input: NodeId,
    },
}

impl Step {
    /// The node whose value it reads; of a sum, the side that may be normalised.
    pub fn input(&self) -> NodeId {
        match self {
            Self::Conv { input, .. }
            | Self::Linear { input, .. }
            | Self::NormAct { input, .. }
            | Self::MaxPool { input, .. }
            | Self::GlobalAvgPool { input, .. }
            | Self::PadShortcut { input, .. } => *input,
        }
    }
}

/// Turns nodes into steps, fusing batch norm, residual sum and activation where nobody else reads
/// what lies between. A batch norm that the plan quantizes can be fused, a sum cannot.
pub fn compile(graph: &Graph, plan: &QuantPlan) -> Vec<Step> {
    let uses = graph.uses();
    let op = |id: NodeId| &graph.nodes[id].op;
    let is_norm = |id: NodeId| matches!(op(id), Op::BatchNorm(_)) && uses[id] == 1;
    let mut absorbed = vec![false; graph.nodes.len()];
    let mut fused: BTreeMap<NodeId, (NodeId, Option<NodeId>, Option<NodeId>)> = BTreeMap::new();
    // (input, norm, residual) of a sum whose one side may be a batch norm.
    let sum = |id: NodeId, absorbed: &mut Vec<bool>| {
        let [left, right] = [graph.nodes[id].inputs[0], graph.nodes[id].inputs[1]];
        let (inner, other) = if is_norm(left) { (left, right) } else { (right, left) };
        if is_norm(inner) && left != right {
            absorbed[inner] = true;
            (graph.nodes[inner].inputs[0], Some(inner), Some(other))
        } else {
            (left, None, Some(right))
        }
    };
    for id in 0..graph.nodes.len() {
        if !op(id).is_activation() {
            continue;
        }
        let from = graph.nodes[id].inputs[0];
        let parts = match op(from) {
            _ if is_norm(from) => {
                absorbed[from] = true;
                (graph.nodes[from].inputs[0], Some(from), None)
            }
            Op::Add(_) if uses[from] == 1 && !plan.activations.contains_key(&graph.nodes[from].name) => {
                absorbed[from] = true;
                sum(from, &mut absorbed)
            }
            _ => (from, None, None),
        };
        fused.insert(id, parts);
    }
    for id in 0..graph.nodes.len() {
        if matches!(op(id), Op::Add(_)) && !absorbed[id] {
            let parts = sum(id, &mut absorbed);
            fused.insert(id, parts);
        }
    }
    let mut steps = Vec::new();
    for (node, absorbed) in absorbed.into_iter().enumerate() {
        if absorbed {
            continue;
        }
        let input = graph.nodes[node].inputs.first().copied().unwrap_or(0);
        steps.push(match op(node) {
            Op::Input(_) => continue,
            Op::Conv2d(_) => Step::Conv { node, input },
            Op::Linear(_) => Step::Linear { node, input },
            Op::MaxPool(_) => Step::MaxPool { node, input },
            Op::GlobalAvgPool(_) => Step::GlobalAvgPool { node, input },
            Op::PadShortcut(_) => Step::PadShortcut { node, input },
            Op::BatchNorm(_) => Step::NormAct { node, input, norm: Some(node), residual: None, act: Act::None },
            Op::Relu(_) | Op::Relu6(_) | Op::Add(_) => {
                let (input, norm, residual) = fused[&node];
                let act = match op(node) {
                    Op::Relu(_) => Act::Relu,
                    Op::Relu6(_) => Act::Relu6,
                    _ => Act::None,
                };
                Step::NormAct { node, input, norm, residual, act }
            }
        });
    }
    steps
}

/// After which step each value is read no more.
pub fn releases(graph: &Graph, steps: &[Step]) -> Vec<Vec<NodeId>> {
    let mut last_use = vec![None; graph.nodes.len()];
    for (index, step) in steps.iter().enumerate() {
        let inputs = match step {
            Step::NormAct { input, residual, .. } => vec![Some(*input), *residual],
            Step::Conv { input, .. }
            | Step::Linear { input, .. }
            | Step::MaxPool { input, .. }
            | Step::GlobalAvgPool { input, .. }
            | Step::PadShortcut { input, .. } => vec![Some(*input)],
        };
        for input in inputs.into_iter().flatten() {
            last_use[input] = Some(index);
        }
    }
    let mut releases = vec![Vec::new(); steps.len()];
    for (node, step) in last_use.into_iter().enumerate() {
        if let Some(step) = step {
            releases[step].push(node);
        }
    }
    releases
}

#[cfg(test)]
mod tests {
    use super::*;
    use pocketflow::graph::{Add, GraphBuilder};
    use pocketflow::quant::ActivationQuant;

    /// conv - bn - relu, a second conv - bn, their sum - relu; the first relu is read twice.
    fn block() -> Graph {
        let mut builder = GraphBuilder::new("block", [4, 8, 8]);
        let conv1 = builder.conv("conv1", 0, 4, 3, 1, 1);
        let bn1 = builder.batch_norm("bn1", conv1, 1e-5);
        let relu1 = builder.relu("relu1", bn1);
        let conv2 = builder.conv("conv2", relu1, 4, 3, 1, 1);
        let bn2 = builder.batch_norm("bn2", conv2, 1e-5);
        let add = builder.add("add", Add, &[relu1, bn2]);
        builder.relu("relu2", add);
        builder.finish().unwrap()
    }

    #[test]
    fn a_residual_block_is_four_steps() {
        let graph = block();
        let steps = compile(&graph, &QuantPlan::default());
        let id = |name: &str| graph.find(name).unwrap();
        assert_eq!(steps.len(), 4);
        let Step::NormAct { node, input, norm, residual, act } = steps[3] else { panic!("the last step is fused") };
        assert_eq!((node, input, norm), (id("relu2"), id("conv2"), Some(id("bn2"))));
        assert_eq!((residual, act), (Some(id("relu1")), Act::Relu));
        let released: Vec<usize> = releases(&graph, &steps).concat();
        assert!(released.contains(&id("relu1")) && !released.contains(&id("relu2")));
    }

    #[test]
    fn a_sum_with_a_grid_of_its_own_is_not_fused_away() {
        let graph = block();
        let mut plan = QuantPlan::default();
        let quant = ActivationQuant { bits: 8, range: None };
        plan.activations.insert("bn2".into(), quant);
        assert_eq!(compile(&graph, &plan).len(), 4);
        plan.activations.insert("add".into(), quant);
        assert_eq!(compile(&graph, &plan).len(), 5);
    }

    #[test]
    fn what_others_read_is_not_fused_away() {
        let mut builder = GraphBuilder::new("shared", [4, 8, 8]);
        let conv = builder.conv("conv", 0, 4, 3, 1, 1);
        let norm = builder.batch_norm("bn", conv, 1e-5);
        let relu = builder.relu("relu", norm);
        builder.add("add", Add, &[norm, relu]);
        let steps = compile(&builder.finish().unwrap(), &QuantPlan::default());
        let acts: Vec<Act> = steps
            .iter()
            .filter_map(|step| match step {
                Step::NormAct { act, .. } => Some(*act),
                _ => None,
            })
            .collect();
        assert_eq!(acts, [Act::None, Act::Relu, Act::None], "norm, activation and sum each on their own");
    }
}
