//! A network as data: a list of nodes in execution order, over a closed set of operators. Learners
//! execute it, exporters translate it, and both trust [`Graph::validate`].

pub use crate::ops::*;

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Index of a node in [`Graph::nodes`].
pub type NodeId = usize;

/// One operator of a network, with the nodes that it reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Unique; a prefix of its parameters' names: `layer1.0.conv1`.
    pub name: String,
    /// What it computes, with its attributes.
    #[serde(flatten)]
    pub op: Op,
    /// Nodes that come earlier in the list.
    #[serde(rename = "in")]
    pub inputs: Vec<NodeId>,
}

/// The network: nodes in execution order, the first the input, the last the logits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Graph {
    /// The net's id with what distinguishes it: `resnet20_at_cifar10`.
    pub name: String,
    /// In execution order: each after the nodes that it reads.
    pub nodes: Vec<Node>,
}

/// A parameter that a node needs: its name in files (torchvision's), shape and role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    /// The node's name and the role's suffix: `layer1.0.conv1.weight`.
    pub name: String,
    /// Sizes in PyTorch's order: `[out, in / groups, kh, kw]` for the weights of a convolution,
    /// `[out, in]` for those of a fully connected layer, `[c]` for a bias or a statistic.
    pub shape: Vec<usize>,
    /// The node that needs it.
    pub node: NodeId,
    /// What it is to the node.
    pub role: Role,
}

/// Why a graph cannot be executed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// A node's name, inputs, attributes or shape are wrong.
    #[error("graph `{graph}`: node `{node}`: {problem}")]
    Node {
        /// Name of the graph.
        graph: String,
        /// Name of the node.
        node: String,
        /// What is wrong, in words.
        problem: String,
    },
    /// The graph of this name does not start with an input, or has no layer.
    #[error("graph `{0}` must start with an input node and hold at least one layer")]
    Empty(String),
}

impl From<GraphError> for crate::Error {
    fn from(error: GraphError) -> Self {
        Self::from_error(crate::ErrorKind::Failed, &error)
    }
}

impl Graph {
    /// Checks names, edges and shapes; the other methods may then be called without fear.
    ///
    /// # Errors
    /// Names the first node that is wrong and how.
    pub fn validate(&self) -> Result<(), GraphError> {
        self.shapes().map(drop)
    }

    /// The output shape of every node, for one sample.
    ///
    /// # Errors
    /// As [`Graph::validate`].
    pub fn shapes(&self) -> Result<Vec<Shape>, GraphError> {
        if !matches!(self.nodes.first(), Some(Node { op: Op::Input(_), .. })) {
            return Err(GraphError::Empty(self.name.clone()));
        }
        let mut names = BTreeSet::new();
        let mut shapes: Vec<Shape> = Vec::with_capacity(self.nodes.len());
        for (id, node) in self.nodes.iter().enumerate() {
            let fail =
                |problem: String| GraphError::Node { graph: self.name.clone(), node: node.name.clone(), problem };
            if !names.insert(node.name.as_str()) {
                return Err(fail("this name is taken by another node".into()));
            }
            if !node.op.arity().takes(node.inputs.len()) {
                let problem = format!("{} takes {} inputs, got {}", node.op.kind(), node.op.arity(), node.inputs.len());
                return Err(fail(problem));
            }
            if let Some(bad) = node.inputs.iter().find(|input| **input >= id) {
                return Err(fail(format!("input {bad} does not come before it")));
            }
            if id > 0 && matches!(node.op, Op::Input(_)) {
                return Err(fail("only the first node may be an input".into()));
            }
            if node.op.ends() && id + 1 < self.nodes.len() {
                return Err(fail(format!("a {} may stand only at the end", node.op.kind())));
            }
            let shape = node.op.shape(&inputs(node, &shapes)).map_err(fail)?;
            if shape.contains(&0) {
                return Err(fail(format!("its output {shape:?} is empty")));
            }
            shapes.push(shape);
        }
        if !self.nodes.iter().any(|node| node.op.is_layer()) {
            return Err(GraphError::Empty(self.name.clone()));
        }
        Ok(shapes)
    }

    /// All parameters, in node order and within a node in the order weight, bias, running_mean,
    /// running_var.
    ///
    /// # Errors
    /// As [`Graph::validate`].
    pub fn params(&self) -> Result<Vec<Param>, GraphError> {
        let shapes = self.shapes()?;
        let mut params = Vec::new();
        for (id, node) in self.nodes.iter().enumerate() {
            for (role, shape) in node.op.params(&inputs(node, &shapes)) {
                let name = format!("{}.{}", node.name, role.suffix());
                params.push(Param { name, shape, node: id, role });
            }
        }
        Ok(params)
    }

    /// Multiplications and additions of weights, for one sample.
    ///
    /// # Errors
    /// As [`Graph::validate`].
    pub fn multiply_adds(&self) -> Result<usize, GraphError> {
        let shapes = self.shapes()?;
        let costs = self.nodes.iter().map(|node| node.op.multiply_adds(&inputs(node, &shapes)));
        Ok(costs.fold(0, usize::saturating_add))
    }

    /// Ids of the convolutions and fully connected layers, in order.
    pub fn layers(&self) -> Vec<NodeId> {
        (0..self.nodes.len()).filter(|id| self.nodes[*id].op.is_layer()).collect()
    }

    /// Ids of the activation functions, in order.
    pub fn activations(&self) -> Vec<NodeId> {
        (0..self.nodes.len()).filter(|id| self.nodes[*id].op.is_activation()).collect()
    }

    /// The shape of one input sample.
    pub fn input_shape(&self) -> Shape {
        match self.nodes.first() {
            Some(Node { op: Op::Input(input), .. }) => input.shape,
            _ => [0; 3],
        }
    }

    /// The same network on images of another shape. What a node was built with for the old one, as
    /// a padding, stays.
    ///
    /// # Errors
    /// The nodes do not go with that shape.
    pub fn on_images(mut self, shape: Shape) -> Result<Self, GraphError> {
        if let Some(Node { op: Op::Input(input), .. }) = self.nodes.first_mut() {
            input.shape = shape;
        }
        self.validate()?;
        Ok(self)
    }

    /// The id of the node of that name. For many names, see [`Graph::by_name`].
    pub fn find(&self, name: &str) -> Option<NodeId> {
        self.nodes.iter().position(|node| node.name == name)
    }

    /// The nodes by their names.
    pub fn by_name(&self) -> BTreeMap<&str, &Node> {
        self.nodes.iter().map(|node| (node.name.as_str(), node)).collect()
    }

    /// How many nodes read each node's output.
    pub fn uses(&self) -> Vec<usize> {
        let mut uses = vec![0; self.nodes.len()];
        for input in self.nodes.iter().flat_map(|node| &node.inputs) {
            uses[*input] += 1;
        }
        uses
    }

    /// The first node that reads each node's output.
    pub fn readers(&self) -> Vec<Option<NodeId>> {
        let mut readers = vec![None; self.nodes.len()];
        for (id, node) in self.nodes.iter().enumerate() {
            for input in &node.inputs {
                readers[*input].get_or_insert(id);
            }
        }
        readers
    }
}

/// The shapes of what a node reads.
fn inputs(node: &Node, shapes: &[Shape]) -> Vec<Shape> {
    node.inputs.iter().map(|input| shapes[*input]).collect()
}

/// Builds a graph node by node; every method returns the new node's id.
#[derive(Debug, Clone)]
pub struct GraphBuilder {
    graph: Graph,
}

impl GraphBuilder {
    /// A graph with the input node alone, for images of the shape `[c, h, w]`.
    pub fn new(name: impl Into<String>, input: Shape) -> Self {
        let node = Node { name: "input".into(), op: Input { shape: input }.into(), inputs: Vec::new() };
        Self { graph: Graph { name: name.into(), nodes: vec![node] } }
    }

    /// The id of the input node.
    pub fn input(&self) -> NodeId {
        0
    }

    /// Appends a node that reads the outputs of `inputs`. Mistakes are found by
    /// [`GraphBuilder::finish`].
    pub fn add(&mut self, name: impl Into<String>, op: impl Into<Op>, inputs: &[NodeId]) -> NodeId {
        self.graph.nodes.push(Node { name: name.into(), op: op.into(), inputs: inputs.to_vec() });
        self.graph.nodes.len() - 1
    }

    /// A convolution without bias, `padding` on all four sides.
    pub fn conv(
        &mut self,
        name: impl Into<String>,
        from: NodeId,
        out: usize,
        kernel: usize,
        stride: usize,
        padding: usize,
    ) -> NodeId {
        let op = Conv2d {
            out,
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [padding; 4],
            dilation: [1; 2],
            groups: 1,
            bias: false,
        };
        self.add(name, op, &[from])
    }

    /// A batch normalisation; `eps` is added to the variance.
    pub fn batch_norm(&mut self, name: impl Into<String>, from: NodeId, eps: f64) -> NodeId {
        self.add(name, BatchNorm { eps }, &[from])
    }

    /// The activation function max(x, 0).
    pub fn relu(&mut self, name: impl Into<String>, from: NodeId) -> NodeId {
        self.add(name, Relu, &[from])
    }

    /// # Errors
    /// As [`Graph::validate`].
    pub fn finish(self) -> Result<Graph, GraphError> {
        self.graph.validate()?;
        Ok(self.graph)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> GraphBuilder {
        let mut builder = GraphBuilder::new("small", [3, 8, 8]);
        let conv = builder.conv("conv1", 0, 4, 3, 2, 1);
        let norm = builder.batch_norm("bn1", conv, 1e-5);
        let relu = builder.relu("relu1", norm);
        let pool = builder.add("pool", GlobalAvgPool, &[relu]);
        builder.add("fc", Linear { out: 10, bias: true }, &[pool]);
        builder
    }

    #[test]
    fn infers_shapes_and_parameters() {
        let graph = small().finish().unwrap();
        assert_eq!(graph.shapes().unwrap()[1], [4, 4, 4]);
        let names: Vec<String> = graph.params().unwrap().into_iter().map(|param| param.name).collect();
        let want = "conv1.weight bn1.weight bn1.bias bn1.running_mean bn1.running_var fc.weight fc.bias";
        assert_eq!(names.join(" "), want);
    }

    #[test]
    fn names_the_node_that_is_wrong() {
        let mut builder = small();
        builder.add("sum", Add, &[1, 4]);
        let message = builder.finish().unwrap_err().to_string();
        assert_eq!(message, "graph `small`: node `sum`: cannot add [4, 4, 4] and [4, 1, 1]");
        let mut builder = small();
        builder.conv("conv1", 0, 4, 3, 1, 1);
        assert!(builder.finish().unwrap_err().to_string().contains("taken"));
        let mut builder = GraphBuilder::new("narrow", [3, 2, 2]);
        builder.conv("conv1", 0, 4, 5, 1, 0);
        assert!(builder.finish().unwrap_err().to_string().contains("does not fit"));
        let mut builder = small();
        builder.add("max", MaxPool { kernel: 3, stride: 2, padding: 2 }, &[3]);
        let message = builder.finish().unwrap_err().to_string();
        assert_eq!(message, "graph `small`: node `max`: a padding of 2 is more than half its window of 3");
    }

    #[test]
    fn survives_text() {
        let graph = small().finish().unwrap();
        let text = serde_json::to_string(&graph).unwrap();
        assert_eq!(serde_json::from_str::<Graph>(&text).unwrap(), graph);
    }
}
