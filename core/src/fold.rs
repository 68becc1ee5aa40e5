//! Batch normalisation folded into the layer before it: W' = W·γ/σ, b' = β + (b − μ)·γ/σ with σ =
//! √(var + ε), per output channel (Jacob et al. 2018, arXiv 1712.05877, §3.2). What is deployed has
//! no batch normalisation left.

use crate::error::{Error, Result};
use crate::graph::{BatchNorm, Conv2d, Graph, Node, NodeId, Op, Param, Role};
use crate::model::Model;
use crate::tensors::Stored;
use std::collections::BTreeMap;

/// A graph without batch normalisations, and how its nodes come from the old ones.
#[derive(Debug, Clone, PartialEq)]
pub struct Folding {
    /// Valid; a layer that takes in a batch normalisation has a bias.
    pub graph: Graph,
    /// By old node: the node that now gives its output. A batch normalisation's is its layer; a
    /// layer that is folded keeps its name and its place.
    pub node: Vec<NodeId>,
    /// Old batch normalisation → old layer that takes it in; `None` where nothing before it can (it
    /// becomes a 1 × 1 depth-wise convolution of its own name).
    pub into: BTreeMap<NodeId, Option<NodeId>>,
}

/// Folds the graph alone.
///
/// # Errors
/// A graph that is not valid.
pub fn fold_graph(graph: &Graph) -> Result<Folding> {
    let shapes = graph.shapes()?;
    let uses = graph.uses();
    let mut into = BTreeMap::new();
    let mut nodes: Vec<Node> = Vec::new();
    let mut moved: Vec<NodeId> = Vec::new();
    for (id, node) in graph.nodes.iter().enumerate() {
        let inputs: Vec<NodeId> = node.inputs.iter().map(|input| moved[*input]).collect();
        if let Op::BatchNorm(_) = node.op {
            let from = node.inputs[0];
            if graph.nodes[from].op.is_layer() && uses[from] == 1 {
                if let Some(bias) = nodes[moved[from]].op.bias_mut() {
                    *bias = true;
                }
                into.insert(id, Some(from));
                moved.push(moved[from]);
                continue;
            }
            into.insert(id, None);
            let channels = shapes[id][0];
            let op = Conv2d {
                out: channels,
                kernel: [1; 2],
                stride: [1; 2],
                padding: [0; 4],
                dilation: [1; 2],
                groups: channels,
                bias: true,
            };
            nodes.push(Node { name: node.name.clone(), op: op.into(), inputs });
        } else {
            nodes.push(Node { name: node.name.clone(), op: node.op.clone(), inputs });
        }
        moved.push(nodes.len() - 1);
    }
    let graph = Graph { name: graph.name.clone(), nodes };
    graph.validate()?;
    Ok(Folding { graph, node: moved, into })
}

/// γ/σ and β − μ·γ/σ of a batch normalisation, by channel, in f64.
///
/// # Errors
/// A parameter that is missing or has another size; a variance that is negative or no number.
pub fn scale_and_shift(name: &str, eps: f64, values: &BTreeMap<String, Vec<f32>>) -> Result<Vec<[f64; 2]>> {
    let get = |suffix: &str| {
        let key = format!("{name}.{suffix}");
        values.get(&key).ok_or_else(|| Error::failed(format!("tensor `{key}` is missing")))
    };
    let (gamma, beta) = (get("weight")?, get("bias")?);
    let (mean, variance) = (get("running_mean")?, get("running_var")?);
    if [beta.len(), mean.len(), variance.len()].iter().any(|len| *len != gamma.len()) {
        return Err(Error::failed(format!("the tensors of `{name}` have different sizes")));
    }
    let channel = |index: usize| {
        let deviation = (f64::from(variance[index]) + eps).sqrt();
        if !(deviation > 0.0 && deviation.is_finite()) {
            let value = variance[index];
            return Err(Error::failed(format!(
                "`{name}.running_var` of channel {index} is {value}: it cannot be folded"
            )));
        }
        let scale = f64::from(gamma[index]) / deviation;
        Ok([scale, f64::from(beta[index]) - f64::from(mean[index]) * scale])
    };
    (0..gamma.len()).map(channel).collect()
}

/// The parameters of the folded graph, from those of `graph`.
///
/// # Errors
/// As [`scale_and_shift`]; a layer's parameter that is missing.
pub fn fold_values(
    graph: &Graph,
    folding: &Folding,
    values: &BTreeMap<String, Vec<f32>>,
) -> Result<BTreeMap<String, Vec<f32>>> {
    let mut folded = values.clone();
    for (norm, layer) in &folding.into {
        let Node { name, op: Op::BatchNorm(BatchNorm { eps }), .. } = &graph.nodes[*norm] else {
            unreachable!("only batch normalisations are folded")
        };
        let channels = scale_and_shift(name, *eps, values)?;
        for suffix in ["weight", "bias", "running_mean", "running_var"] {
            folded.remove(&format!("{name}.{suffix}"));
        }
        let target = layer.map_or(name, |layer| &graph.nodes[layer].name);
        let (weight, bias) = (format!("{target}.weight"), format!("{target}.bias"));
        let old_bias = layer.and_then(|_| values.get(&bias));
        let new_bias = channels.iter().enumerate().map(|(channel, [scale, shift])| {
            let old = old_bias.and_then(|bias| bias.get(channel)).map_or(0.0, |bias| f64::from(*bias));
            (shift + old * scale) as f32
        });
        let new_bias: Vec<f32> = new_bias.collect();
        let new_weight: Vec<f32> = match layer {
            None => channels.iter().map(|[scale, _]| *scale as f32).collect(),
            Some(_) => {
                let old = values.get(&weight).ok_or_else(|| Error::failed(format!("tensor `{weight}` is missing")))?;
                let run = (old.len() / channels.len().max(1)).max(1);
                let of_channel = |index: usize| channels.get(index / run).map_or(1.0, |[scale, _]| *scale);
                old.iter().enumerate().map(|(index, w)| (f64::from(*w) * of_channel(index)) as f32).collect()
            }
        };
        folded.insert(weight, new_weight);
        folded.insert(bias, new_bias);
    }
    Ok(folded)
}

/// The model with its batch normalisations folded. The weights of a layer that takes one in are no
/// longer packed: they hold Q(W)·γ/σ. Ranges of a batch normalisation become those of its layer.
///
/// # Errors
/// As [`fold_values`]; a model whose parts do not fit each other.
pub fn fold_model(model: &Model) -> Result<Model> {
    let folding = fold_graph(&model.graph)?;
    if folding.into.is_empty() {
        return Ok(model.clone());
    }
    let folded = fold_values(&model.graph, &folding, &model.all_values()?)?;
    let mut plan = model.plan.clone();
    for (norm, layer) in &folding.into {
        let Some(layer) = layer else { continue };
        plan.weights.remove(&model.graph.nodes[*layer].name);
        if let Some(quant) = plan.activations.remove(&model.graph.nodes[*norm].name) {
            plan.activations.insert(model.graph.nodes[*layer].name.clone(), quant);
        }
    }
    let params = folding.graph.params()?;
    let mut tensors = BTreeMap::new();
    for Param { name, shape, node, role } in params {
        let packed = role == Role::Weight && plan.weights.contains_key(&folding.graph.nodes[node].name);
        let stored = match (packed, model.tensors.get(&name), folded.get(&name)) {
            (true, Some(stored), _) => stored.clone(),
            (_, _, Some(values)) => Stored::Full { shape, values: values.clone() },
            _ => return Err(Error::failed(format!("tensor `{name}` is missing"))),
        };
        tensors.insert(name, stored);
    }
    Ok(Model { graph: folding.graph, plan, meta: model.meta.clone(), tensors })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Add, GraphBuilder};

    #[test]
    fn names_edges_and_values() {
        let mut builder = GraphBuilder::new("small", [2, 4, 4]);
        let conv = builder.conv("conv", 0, 2, 1, 1, 0);
        let norm = builder.batch_norm("bn", conv, 0.0);
        let relu = builder.relu("relu", norm);
        let second = builder.batch_norm("bn2", relu, 0.0);
        builder.add("add", Add, &[relu, second]);
        let graph = builder.finish().unwrap();
        let folding = fold_graph(&graph).unwrap();
        let names: Vec<&str> = folding.graph.nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["input", "conv", "relu", "bn2", "add"]);
        assert_eq!(folding.node, [0, 1, 1, 2, 3, 4]);
        assert_eq!(folding.graph.nodes[4].inputs, [2, 3]);
        assert_eq!(folding.graph.nodes[3].op.kind(), "depthwise");

        let values = [
            ("conv.weight", vec![1.0, 2.0, 3.0, 4.0]),
            ("bn.weight", vec![2.0, 3.0]),
            ("bn.bias", vec![0.5, -0.5]),
            ("bn.running_mean", vec![1.0, 2.0]),
            ("bn.running_var", vec![4.0, 9.0]),
            ("bn2.weight", vec![1.0, 1.0]),
            ("bn2.bias", vec![0.0, 1.0]),
            ("bn2.running_mean", vec![0.0, 0.0]),
            ("bn2.running_var", vec![1.0, 4.0]),
        ];
        let values = values.into_iter().map(|(name, values)| (name.to_owned(), values)).collect();
        let folded = fold_values(&graph, &folding, &values).unwrap();
        assert_eq!(folded["conv.weight"], [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(folded["conv.bias"], [-0.5, -2.5]);
        assert_eq!(folded["bn2.weight"], [1.0, 0.5]);
        assert_eq!(folded["bn2.bias"], [0.0, 1.0]);
        assert_eq!(folded.len(), folding.graph.params().unwrap().len());
    }

    #[test]
    fn a_variance_that_is_none_is_refused() {
        let values = ["weight", "bias", "running_mean", "running_var"];
        let mut values: BTreeMap<String, Vec<f32>> =
            values.into_iter().map(|suffix| (format!("bn.{suffix}"), vec![1.0])).collect();
        values.insert("bn.running_var".into(), vec![-1.0]);
        assert!(scale_and_shift("bn", 1e-5, &values).unwrap_err().to_string().contains("running_var"));
    }
}
