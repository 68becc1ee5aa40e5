//! A network as data: a list of nodes in execution order, over a closed set of operators. Learners
//! execute it, exporters translate it, and both trust [`Graph::validate`].

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// `[channels, height, width]` of one sample; a feature vector is `[features, 1, 1]`.
pub type Shape = [usize; 3];

/// Index of a node in [`Graph::nodes`].
pub type NodeId = usize;

/// A node's operator. The set is closed: every executor and exporter must handle all of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Op {
    /// The images, `[n, c, h, w]`, normalised with the model's mean and standard deviation.
    Input {
        shape: Shape,
    },
    /// Cross-correlation with weights `[out, in / groups, kh, kw]`; `padding` is top, left, bottom,
    /// right.
    Conv2d {
        out: usize,
        kernel: [usize; 2],
        stride: [usize; 2],
        padding: [usize; 4],
        groups: usize,
        bias: bool,
    },
    /// Per-channel normalisation (Ioffe & Szegedy 2015); parameters weight, bias, running_mean,
    /// running_var.
    BatchNorm {
        eps: f64,
    },
    Relu,
    Relu6,
    /// Elementwise sum of two inputs of one shape.
    Add,
    MaxPool {
        kernel: usize,
        stride: usize,
        padding: usize,
    },
    /// Mean over height and width.
    GlobalAvgPool,
    /// Fully connected layer on the flattened input, weights `[out, in]`.
    Linear {
        out: usize,
        bias: bool,
    },
    /// He et al. 2015, option A: every `stride`-th pixel, zero channels added before and after to
    /// make `out`.
    PadShortcut {
        out: usize,
        stride: usize,
    },
}

impl Op {
    /// A layer with weights that can be quantized.
    pub fn is_layer(&self) -> bool {
        matches!(self, Self::Conv2d { .. } | Self::Linear { .. })
    }

    pub fn is_activation(&self) -> bool {
        matches!(self, Self::Relu | Self::Relu6)
    }

    /// The word for reports: `conv`, `depthwise`, `fc`, `relu`, …
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Input { .. } => "input",
            Self::Conv2d { groups, out, .. } if *groups > 1 && groups == out => "depthwise",
            Self::Conv2d { .. } => "conv",
            Self::BatchNorm { .. } => "batch_norm",
            Self::Relu => "relu",
            Self::Relu6 => "relu6",
            Self::Add => "add",
            Self::MaxPool { .. } => "max_pool",
            Self::GlobalAvgPool => "global_avg_pool",
            Self::Linear { .. } => "fc",
            Self::PadShortcut { .. } => "pad_shortcut",
        }
    }

    fn arity(&self) -> usize {
        match self {
            Self::Input { .. } => 0,
            Self::Add => 2,
            _ => 1,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Unique; a prefix of its parameters' names: `layer1.0.conv1`.
    pub name: String,
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
    pub nodes: Vec<Node>,
}

/// What a parameter tensor is to its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    Weight,
    Bias,
    /// γ of a batch normalisation.
    Scale,
    /// β of a batch normalisation.
    Shift,
    RunningMean,
    RunningVar,
}

impl Role {
    /// Updated by the optimizer (running statistics are not).
    pub fn is_trained(self) -> bool {
        !matches!(self, Self::RunningMean | Self::RunningVar)
    }
}

/// A parameter that a node needs: its name in files (torchvision's), shape and role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    pub name: String,
    pub shape: Vec<usize>,
    pub node: NodeId,
    pub role: Role,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    #[error("graph `{graph}`: node `{node}`: {problem}")]
    Node { graph: String, node: String, problem: String },
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
        if !matches!(self.nodes.first(), Some(Node { op: Op::Input { .. }, .. })) {
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
            if node.inputs.len() != node.op.arity() {
                let problem = format!("{} takes {} inputs, got {}", node.op.kind(), node.op.arity(), node.inputs.len());
                return Err(fail(problem));
            }
            if let Some(bad) = node.inputs.iter().find(|input| **input >= id) {
                return Err(fail(format!("input {bad} does not come before it")));
            }
            if id > 0 && matches!(node.op, Op::Input { .. }) {
                return Err(fail("only the first node may be an input".into()));
            }
            let inputs: Vec<Shape> = node.inputs.iter().map(|input| shapes[*input]).collect();
            let shape = infer(&node.op, &inputs).map_err(fail)?;
            if shape.contains(&0) {
                return Err(GraphError::Node {
                    graph: self.name.clone(),
                    node: node.name.clone(),
                    problem: format!("its output {shape:?} is empty"),
                });
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
            let mut push = |suffix: &str, shape: Vec<usize>, role| {
                params.push(Param { name: format!("{}.{suffix}", node.name), shape, node: id, role });
            };
            match node.op {
                Op::Conv2d { out, kernel: [kh, kw], groups, bias, .. } => {
                    push("weight", vec![out, shapes[node.inputs[0]][0] / groups, kh, kw], Role::Weight);
                    if bias {
                        push("bias", vec![out], Role::Bias);
                    }
                }
                Op::Linear { out, bias } => {
                    let features =
                        shapes[node.inputs[0]].iter().fold(1, |count: usize, size| count.saturating_mul(*size));
                    push("weight", vec![out, features], Role::Weight);
                    if bias {
                        push("bias", vec![out], Role::Bias);
                    }
                }
                Op::BatchNorm { .. } => {
                    let channels = vec![shapes[id][0]];
                    push("weight", channels.clone(), Role::Scale);
                    push("bias", channels.clone(), Role::Shift);
                    push("running_mean", channels.clone(), Role::RunningMean);
                    push("running_var", channels, Role::RunningVar);
                }
                _ => {}
            }
        }
        Ok(params)
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
            Some(Node { op: Op::Input { shape }, .. }) => *shape,
            _ => [0; 3],
        }
    }

    /// The id of the node of that name.
    pub fn find(&self, name: &str) -> Option<NodeId> {
        self.nodes.iter().position(|node| node.name == name)
    }

    /// How many nodes read each node's output.
    pub fn uses(&self) -> Vec<usize> {
        let mut uses = vec![0; self.nodes.len()];
        for input in self.nodes.iter().flat_map(|node| &node.inputs) {
            uses[*input] += 1;
        }
        uses
    }
}

fn infer(op: &Op, inputs: &[Shape]) -> Result<Shape, String> {
    // Saturating, because a graph may come from a forged file; the shapes that this makes fit no
    // stored tensor.
    let window = |size: usize, kernel: usize, stride: usize, padding: usize| match size
        .saturating_add(padding)
        .checked_sub(kernel)
    {
        Some(room) if stride > 0 && kernel > 0 => Ok((room / stride).saturating_add(1)),
        _ => Err(format!("a window of {kernel} with stride {stride} does not fit {size} + {padding} pixels")),
    };
    Ok(match *op {
        Op::Input { shape } => shape,
        Op::Conv2d { out, kernel, stride, padding: [top, left, bottom, right], groups, .. } => {
            let [channels, height, width] = inputs[0];
            if groups == 0 || channels % groups != 0 || out % groups != 0 {
                return Err(format!("{groups} groups do not divide {channels} input and {out} output channels"));
            }
            let height = window(height, kernel[0], stride[0], top.saturating_add(bottom))?;
            [out, height, window(width, kernel[1], stride[1], left.saturating_add(right))?]
        }
        Op::BatchNorm { .. } | Op::Relu | Op::Relu6 => inputs[0],
        Op::Add if inputs[0] == inputs[1] => inputs[0],
        Op::Add => return Err(format!("cannot add {:?} and {:?}", inputs[0], inputs[1])),
        Op::MaxPool { kernel, stride, padding } => {
            let [channels, height, width] = inputs[0];
            let padding = padding.saturating_mul(2);
            let height = window(height, kernel, stride, padding)?;
            [channels, height, window(width, kernel, stride, padding)?]
        }
        Op::GlobalAvgPool => [inputs[0][0], 1, 1],
        Op::Linear { out, .. } => [out, 1, 1],
        Op::PadShortcut { out, stride } => {
            let [channels, height, width] = inputs[0];
            if stride == 0 || out < channels {
                return Err(format!("cannot make {out} channels of {channels} with stride {stride}"));
            }
            [out, height.div_ceil(stride), width.div_ceil(stride)]
        }
    })
}

/// Builds a graph node by node; every method returns the new node's id.
#[derive(Debug, Clone)]
pub struct GraphBuilder {
    graph: Graph,
}

impl GraphBuilder {
    pub fn new(name: impl Into<String>, input: Shape) -> Self {
        let node = Node { name: "input".into(), op: Op::Input { shape: input }, inputs: Vec::new() };
        Self { graph: Graph { name: name.into(), nodes: vec![node] } }
    }

    /// The id of the input node.
    pub fn input(&self) -> NodeId {
        0
    }

    pub fn add(&mut self, name: impl Into<String>, op: Op, inputs: &[NodeId]) -> NodeId {
        self.graph.nodes.push(Node { name: name.into(), op, inputs: inputs.to_vec() });
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
        let op =
            Op::Conv2d { out, kernel: [kernel; 2], stride: [stride; 2], padding: [padding; 4], groups: 1, bias: false };
        self.add(name, op, &[from])
    }

    pub fn batch_norm(&mut self, name: impl Into<String>, from: NodeId, eps: f64) -> NodeId {
        self.add(name, Op::BatchNorm { eps }, &[from])
    }

    pub fn relu(&mut self, name: impl Into<String>, from: NodeId) -> NodeId {
        self.add(name, Op::Relu, &[from])
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
        let pool = builder.add("pool", Op::GlobalAvgPool, &[relu]);
        builder.add("fc", Op::Linear { out: 10, bias: true }, &[pool]);
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
        builder.add("sum", Op::Add, &[1, 4]);
        let message = builder.finish().unwrap_err().to_string();
        assert_eq!(message, "graph `small`: node `sum`: cannot add [4, 4, 4] and [4, 1, 1]");
        let mut builder = small();
        builder.conv("conv1", 0, 4, 3, 1, 1);
        assert!(builder.finish().unwrap_err().to_string().contains("taken"));
        let mut builder = GraphBuilder::new("narrow", [3, 2, 2]);
        builder.conv("conv1", 0, 4, 5, 1, 0);
        assert!(builder.finish().unwrap_err().to_string().contains("does not fit"));
    }

    #[test]
    fn survives_text() {
        let graph = small().finish().unwrap();
        let text = serde_json::to_string(&graph).unwrap();
        assert_eq!(serde_json::from_str::<Graph>(&text).unwrap(), graph);
    }
}
