//! Networks of any number of nodes whose values neither grow nor vanish on the way.

use pocketflow::graph::{Add, GlobalAvgPool, Graph, GraphBuilder, Linear, MaxPool, NodeId, Role};
use pocketflow::model::{Model, ModelMeta};
use pocketflow::quant::QuantPlan;
use std::collections::BTreeMap;

const CHANNELS: usize = 2;
/// Values of an image.
pub const PIXELS: usize = CHANNELS * 2 * 2;

pub struct Network(Graph);

/// Blocks behind each other: relu(bn(conv(x)) + x), pooled. All sums meet.
pub fn chain(nodes: usize) -> Network {
    let mut builder = GraphBuilder::new("chain", [CHANNELS, 2, 2]);
    let stem = builder.conv("stem", 0, CHANNELS, 1, 1, 0);
    let mut last = builder.relu("stem_relu", stem);
    for block in 0..nodes / 5 {
        let norm = layer(&mut builder, &format!("layer{block}"), last);
        let sum = builder.add(format!("sum{block}"), Add, &[norm, last]);
        let relu = builder.relu(format!("relu{block}"), sum);
        let pool = MaxPool { kernel: 1, stride: 1, padding: 0 };
        last = builder.add(format!("pool{block}"), pool, &[relu]);
    }
    classifier(builder, last)
}

/// Layers that read one value, then a chain of sums over all of them: they are all held at once.
pub fn fan(nodes: usize) -> Network {
    let mut builder = GraphBuilder::new("fan", [CHANNELS, 2, 2]);
    let stem = builder.conv("stem", 0, CHANNELS, 1, 1, 0);
    let stem = builder.relu("stem_relu", stem);
    let layers: Vec<NodeId> = (0..nodes / 3).map(|index| layer(&mut builder, &format!("layer{index}"), stem)).collect();
    let sum = |last, (index, layer): (usize, &NodeId)| builder.add(format!("sum{index}"), Add, &[last, *layer]);
    let last = layers.iter().enumerate().fold(stem, sum);
    classifier(builder, last)
}

fn layer(builder: &mut GraphBuilder, name: &str, from: NodeId) -> NodeId {
    let conv = builder.conv(format!("{name}.conv"), from, CHANNELS, 1, 1, 0);
    builder.batch_norm(format!("{name}.bn"), conv, 0.0)
}

fn classifier(mut builder: GraphBuilder, last: NodeId) -> Network {
    let pool = builder.add("average", GlobalAvgPool, &[last]);
    builder.add("fc", Linear { out: 3, bias: true }, &[pool]);
    Network(builder.finish().unwrap())
}

impl Network {
    /// In full precision. Its layers give the negative of what they read, and a shift.
    pub fn model(&self) -> Model {
        let params = self.0.params().unwrap().into_iter();
        let values = params.map(|param| {
            let count = param.shape.iter().product::<usize>();
            let values = match (param.role, param.shape.as_slice()) {
                (Role::Weight, [CHANNELS, CHANNELS, ..]) => vec![-1.0, 0.0, 0.0, -1.0],
                (Role::Weight | Role::Shift | Role::Bias, _) => vec![0.5; count],
                (Role::Scale | Role::RunningVar | Role::Slope, _) => vec![1.0; count],
                (Role::RunningMean, _) => vec![0.0; count],
            };
            (param.name, values)
        });
        let (mean, std) = (vec![0.0; CHANNELS], vec![255.0; CHANNELS]);
        let meta = ModelMeta { mean, std, ..ModelMeta::default() };
        Model::new(self.0.clone(), QuantPlan::default(), meta, values.collect()).unwrap()
    }

    /// For every value of either target.
    pub fn ranges(&self) -> BTreeMap<String, [f32; 2]> {
        self.0.nodes.iter().map(|node| (node.name.clone(), [-1.0, 1.0])).collect()
    }
}
