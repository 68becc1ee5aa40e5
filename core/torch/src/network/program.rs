//! The order of execution: nodes as steps, with batch norm, residual sum and activation fused into
//! one pass over memory.

use crate::kernels::Act;
use crate::ops::{self, Part};
use pocketflow::graph::{Graph, NodeId};

/// One step of execution, which makes the value of a node.
pub struct Step {
    pub node: NodeId,
    /// The node whose value it reads; of a sum, the side that may be normalised.
    pub input: NodeId,
    pub work: Work,
    /// The nodes whose values nobody reads after it.
    pub releases: Vec<NodeId>,
}

/// What a step computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// The operator of its node, by its own forward pass.
    Operator,
    /// Q(act(Q(norm(input)) + residual)) in one pass.
    Fused { norm: Option<NodeId>, residual: Option<NodeId>, act: Act },
}

impl Step {
    /// Returns the batch normalisation that it computes.
    pub fn norm(&self) -> Option<NodeId> {
        match self.work {
            Work::Fused { norm, .. } => norm,
            Work::Operator => None,
        }
    }
}

/// How the value of a node is quantized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantization {
    None,
    /// By a quantizer that the fused pass computes, wherever in it the value is.
    Fused,
    /// By one that the fused pass computes of its result only.
    Result,
    /// By one that runs behind the node.
    Behind,
}

/// What a fused step is made of: the node that it reads, a batch norm, the other side of a sum.
type Parts = (NodeId, Option<NodeId>, Option<NodeId>);

/// Turns nodes into steps, fusing batch norm, residual sum and activation where nobody else reads
/// what lies between. A batch norm that the pass quantizes can be fused, a sum that is quantized
/// cannot.
pub fn compile(graph: &Graph, quantization: impl Fn(NodeId) -> Quantization) -> Vec<Step> {
    let uses = graph.uses();
    let part_of = |id: NodeId| ops::of(&graph.nodes[id].op).part();
    let within = |id: NodeId| matches!(quantization(id), Quantization::None | Quantization::Fused);
    let is_norm = |id: NodeId| part_of(id) == Part::Norm && uses[id] == 1 && within(id);
    let mut absorbed = vec![false; graph.nodes.len()];
    let mut fused: Vec<Option<Parts>> = vec![None; graph.nodes.len()];
    // The parts of a sum whose one side may be a batch norm.
    let sum = |id: NodeId, absorbed: &mut Vec<bool>| -> Parts {
        let [left, right] = [graph.nodes[id].inputs[0], graph.nodes[id].inputs[1]];
        let (inner, other) = if is_norm(left) { (left, right) } else { (right, left) };
        if is_norm(inner) && left != right {
            absorbed[inner] = true;
            (graph.nodes[inner].inputs[0], Some(inner), Some(other))
        } else {
            (left, None, Some(right))
        }
    };
    for (id, node) in graph.nodes.iter().enumerate() {
        if !matches!(part_of(id), Part::Activation(_)) {
            continue;
        }
        let from = node.inputs[0];
        fused[id] = Some(match part_of(from) {
            _ if is_norm(from) => {
                absorbed[from] = true;
                (graph.nodes[from].inputs[0], Some(from), None)
            }
            Part::Sum if uses[from] == 1 && quantization(from) == Quantization::None => {
                absorbed[from] = true;
                sum(from, &mut absorbed)
            }
            _ => (from, None, None),
        });
    }
    for (id, node) in graph.nodes.iter().enumerate() {
        match part_of(id) {
            Part::Sum if !absorbed[id] => fused[id] = Some(sum(id, &mut absorbed)),
            Part::Norm if !absorbed[id] => fused[id] = Some((node.inputs[0], Some(id), None)),
            _ => {}
        }
    }
    let mut steps = Vec::new();
    for (node, absorbed) in absorbed.into_iter().enumerate() {
        let Some(first) = graph.nodes[node].inputs.first().copied().filter(|_| !absorbed) else { continue };
        let (input, work) = match (part_of(node), fused[node]) {
            (part, Some((input, norm, residual))) => {
                let act = if let Part::Activation(act) = part { act } else { Act::None };
                (input, Work::Fused { norm, residual, act })
            }
            _ => (first, Work::Operator),
        };
        steps.push(Step { node, input, work, releases: Vec::new() });
    }
    release(graph, &mut steps);
    steps
}

/// Finds after which step each value is read no more.
fn release(graph: &Graph, steps: &mut [Step]) {
    let mut last_use = vec![None; graph.nodes.len()];
    for (index, step) in steps.iter().enumerate() {
        match step.work {
            Work::Fused { residual, .. } => {
                for input in [Some(step.input), residual].into_iter().flatten() {
                    last_use[input] = Some(index);
                }
            }
            Work::Operator => graph.nodes[step.node].inputs.iter().for_each(|input| last_use[*input] = Some(index)),
        }
    }
    for (node, step) in last_use.into_iter().enumerate() {
        if let Some(step) = step {
            steps[step].releases.push(node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pocketflow::graph::{Add, GraphBuilder};

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

    fn unquantized(graph: &Graph) -> Vec<Step> {
        compile(graph, |_| Quantization::None)
    }

    #[test]
    fn a_residual_block_is_four_steps() {
        let graph = block();
        let steps = unquantized(&graph);
        let id = |name: &str| graph.find(name).unwrap();
        assert_eq!(steps.len(), 4);
        let (norm, residual) = (Some(id("bn2")), Some(id("relu1")));
        assert_eq!((steps[3].node, steps[3].input), (id("relu2"), id("conv2")));
        assert_eq!(steps[3].work, Work::Fused { norm, residual, act: Act::Relu });
        let released: Vec<usize> = steps.iter().flat_map(|step| step.releases.clone()).collect();
        assert!(released.contains(&id("relu1")) && !released.contains(&id("relu2")));
    }

    #[test]
    fn what_is_quantized_in_between_is_fused_only_where_the_pass_can() {
        let graph = block();
        let steps =
            |name: &str, how| compile(&graph, |id| if graph.nodes[id].name == name { how } else { Quantization::None });
        assert_eq!(steps("bn2", Quantization::Fused).len(), 4);
        assert_eq!(steps("bn2", Quantization::Behind).len(), 5);
        assert_eq!(steps("bn2", Quantization::Result).len(), 5);
        assert_eq!(steps("relu2", Quantization::Result).len(), 4);
        assert_eq!(steps("add", Quantization::Fused).len(), 5);
        assert_eq!(steps("relu2", Quantization::Behind).len(), 4);
    }

    #[test]
    fn what_others_read_is_not_fused_away() {
        let mut builder = GraphBuilder::new("shared", [4, 8, 8]);
        let conv = builder.conv("conv", 0, 4, 3, 1, 1);
        let norm = builder.batch_norm("bn", conv, 1e-5);
        let relu = builder.relu("relu", norm);
        builder.add("add", Add, &[norm, relu]);
        let steps = unquantized(&builder.finish().unwrap());
        let act = |step: &Step| match step.work {
            Work::Fused { act, .. } => Some(act),
            Work::Operator => None,
        };
        let acts: Vec<Act> = steps.iter().filter_map(act).collect();
        assert_eq!(acts, [Act::None, Act::Relu, Act::None], "norm, activation and sum each on their own");
    }
}
