//! A network with its weights and its plan: what every learner saves, and all that an exporter or
//! an evaluation needs.
//!
//! Weights in the plan are packed; what is loaded stays packed, because quantizing Q(x) again need
//! not give Q(x) bit for bit.

mod sound;

use crate::error::{Error, Result};
use crate::fold::fold_graph;
use crate::graph::{Graph, Param, Role};
use crate::option::Value;
use crate::quant::{FULL_PRECISION_BITS, Grid, QuantPlan, Quantized, quantize};
use crate::settings::{Origin, Settings};
use crate::tensors::{Entry, Stored, TensorFile, front, write};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// [`TensorFile::kind`] of a model.
pub const KIND: &str = "model";

/// Where a model comes from, and what its input and output mean.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ModelMeta {
    /// The net's id: `resnet_at_cifar10`.
    pub net: String,
    /// Name of the learner that made it: `uniform`.
    pub learner: String,
    /// Name of the data set that it was trained on: `cifar10`.
    pub dataset: String,
    /// Trained on a stand-in, not on the data set that the net is for.
    pub stand_in: bool,
    /// The classes' names, in the order of the logits; empty if unknown.
    pub labels: Vec<String>,
    /// Per channel, in units of 0–255: the input is (pixel − mean) / std.
    pub mean: Vec<f32>,
    /// As `mean`; positive.
    pub std: Vec<f32>,
    /// On the test images when it was saved, 0–1.
    pub top1: Option<f64>,
    /// Whether the graph is another than the net's own, because a learner changed it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub changed_graph: bool,
    /// What was chosen of the net's options that have words for values (`mobilenet_style`), where
    /// it was not the default: an evaluation goes by them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub choices: BTreeMap<String, Value>,
}

impl ModelMeta {
    /// [`ModelMeta::choices`] of a net's settings.
    pub fn choices(settings: &Settings, net: &str) -> BTreeMap<String, Value> {
        let is_default = |origin: &Origin| matches!(origin, Origin::Default { .. });
        let own = settings.iter().filter(|(_, setting)| setting.owner == net && !is_default(&setting.origin));
        let words = own.filter_map(|(key, setting)| match &setting.value {
            // A run that is repeated has every value written down, also those that are the default.
            same if setting.overrode.iter().any(|(value, origin)| is_default(origin) && value == same) => None,
            Some(value @ Value::Text(_)) => Some((key.to_owned(), value.clone())),
            _ => None,
        });
        words.collect()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    graph: Graph,
    plan: QuantPlan,
    meta: ModelMeta,
}

/// A trained network.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// Names the layers, their order and their sizes.
    pub graph: Graph,
    /// Which weights are packed and how; which values are quantized and over what range.
    pub plan: QuantPlan,
    /// Where it comes from, and what its input and output mean.
    pub meta: ModelMeta,
    /// One for each of [`Graph::params`]: weights of layers in the plan packed, everything else
    /// full.
    pub tensors: BTreeMap<String, Stored>,
}

impl Model {
    /// Packs the weights of the layers in the plan; `values` holds every parameter of the graph, by
    /// name.
    ///
    /// # Errors
    /// An invalid graph or plan; a parameter that is missing, unknown or of another size (which);
    /// weights that are not finite.
    pub fn new(graph: Graph, plan: QuantPlan, meta: ModelMeta, values: BTreeMap<String, Vec<f32>>) -> Result<Self> {
        Self::packed(graph, plan, meta, values, BTreeMap::new())
    }

    /// As [`Model::new`], with codes of some of the weights in the plan, by name: where their grid
    /// does not follow from the values.
    ///
    /// # Errors
    /// As there; codes that the plan does not say.
    pub fn packed(
        graph: Graph,
        plan: QuantPlan,
        meta: ModelMeta,
        mut values: BTreeMap<String, Vec<f32>>,
        mut packed: BTreeMap<String, Quantized>,
    ) -> Result<Self> {
        plan.validate(&graph)?;
        let mut tensors = BTreeMap::new();
        for Param { name, shape, node, role } in graph.params()? {
            let of = &graph.name;
            let values =
                values.remove(&name).ok_or_else(|| Error::failed(format!("tensor `{name}` of `{of}` is missing")))?;
            let wanted = shape.iter().try_fold(1usize, |count, size| count.checked_mul(*size));
            if wanted != Some(values.len()) {
                let message = format!("tensor `{name}` of `{of}` has {} values; its shape is {shape:?}", values.len());
                return Err(Error::failed(message));
            }
            let stored = match plan.weights.get(&graph.nodes[node].name) {
                Some(quant) if role == Role::Weight => {
                    let quantized = match packed.remove(&name) {
                        Some(quantized) => quantized,
                        None => quantize(&values, quant.bits, quant.buckets.size(&shape), quant.grid)
                            .map_err(|error| error.context(format!("cannot quantize `{name}`")))?,
                    };
                    Stored::Packed { shape, quantized }
                }
                _ => Stored::Full { shape, values },
            };
            tensors.insert(name, stored);
        }
        if let Some(name) = packed.keys().next() {
            return Err(Error::failed(format!("tensor `{name}` has codes, and no layer of the plan has such weights")));
        }
        if let Some(name) = values.keys().next() {
            return Err(Error::failed(format!("tensor `{name}` is none of `{}`", graph.name)));
        }
        let model = Self { graph, plan, meta, tensors };
        model.check()?;
        Ok(model)
    }

    /// Saves atomically; returns the bytes on disk.
    ///
    /// # Errors
    /// A model whose parts do not fit each other, or with a number that cannot be computed with
    /// (which); as [`TensorFile::write`].
    pub fn save(&self, path: &Path) -> Result<u64> {
        let cannot = |error: Error| error.context(format!("cannot save {}", path.display()));
        self.check().map_err(cannot)?;
        let header = header(&self.graph, &self.plan, &self.meta).map_err(cannot)?;
        write(path, KIND, &header, &self.tensors)
    }

    /// # Errors
    /// As [`TensorFile::read`]; a file of another kind; a graph, plan or tensor (which) that is
    /// missing, unknown or does not fit; a number that cannot be computed with, as a weight that is
    /// not finite or a variance below zero.
    pub fn load(path: &Path) -> Result<Self> {
        let file = TensorFile::read(path)?;
        let cannot = |error: Error| error.context(format!("cannot use {} as a model", path.display()));
        if file.kind != KIND {
            let message = format!("it is a {}; give the path of a saved model", file.kind);
            return Err(cannot(Error::config(message)));
        }
        let Header { graph, plan, meta } = serde_json::from_value(file.header)
            .map_err(|error| cannot(Error::failed(format!("its header: {error}"))))?;
        let model = Self { graph, plan, meta, tensors: file.tensors };
        model.check().map_err(cannot)?;
        Ok(model)
    }

    /// That this is a model of `graph`, or of `graph` with its batch normalisations folded; `path`
    /// is where it came from.
    ///
    /// # Errors
    /// Says what differs first.
    pub fn expect_graph(&self, graph: &Graph, path: &Path) -> Result<()> {
        let (ours, theirs) = (&self.graph, graph);
        if ours == theirs || fold_graph(theirs).is_ok_and(|folding| folding.graph == *ours) {
            return Ok(());
        }
        let differing = ours.nodes.iter().zip(&theirs.nodes).find(|(ours, theirs)| ours != theirs);
        let what = if ours.name != theirs.name {
            format!("it is of `{}`", ours.name)
        } else if let Some((ours, theirs)) = differing {
            let show = |node| serde_json::to_string(node).unwrap_or_else(|_| format!("{node:?}"));
            format!("its node `{}` is {}, where the net has {}", ours.name, show(ours), show(theirs))
        } else {
            format!("it has {} nodes, the net {}", ours.nodes.len(), theirs.nodes.len())
        };
        let advice = "select the net and the net options that it was saved with, or another path";
        let message = format!("{} is not a model of `{}`: {what}; {advice}", path.display(), theirs.name);
        Err(Error::config(message))
    }

    /// How it is quantized, in words; `None` for a model in full precision, which alone can be the
    /// parent or the teacher of others.
    pub fn quantization(&self) -> Option<String> {
        let words = |what: &str, bits: Vec<u32>| {
            let (least, most) = (bits.iter().min()?, bits.iter().max()?);
            Some(match least == most {
                true => format!("{what} in {least} bits"),
                false => format!("{what} in {least} to {most} bits"),
            })
        };
        let weights = words("weights", self.plan.weights.values().map(|quant| quant.bits).collect());
        let activations = words("activations", self.plan.activations.values().map(|quant| quant.bits).collect());
        let parts: Vec<String> = weights.into_iter().chain(activations).collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    /// The classes that it tells apart: the outputs of its last node.
    ///
    /// # Errors
    /// A graph that is not valid.
    pub fn classes(&self) -> Result<usize> {
        Ok(self.graph.shapes()?.last().map_or(0, |shape| shape[0]))
    }

    /// The values of a parameter, Q(x) where it is quantized.
    ///
    /// # Errors
    /// No such parameter.
    pub fn values(&self, name: &str) -> Result<Vec<f32>> {
        let missing = || Error::failed(format!("tensor `{name}` of `{}` is missing", self.graph.name));
        let stored = self.tensors.get(name).ok_or_else(missing)?;
        stored.values().map_err(|error| error.context(format!("tensor `{name}`")))
    }

    /// The values of all parameters, by name.
    ///
    /// # Errors
    /// As [`Model::values`].
    pub fn all_values(&self) -> Result<BTreeMap<String, Vec<f32>>> {
        self.tensors.keys().map(|name| Ok((name.clone(), self.values(name)?))).collect()
    }

    /// Bytes in the file of the weights (codes and ranges, or 4 a value) and the bias of the layer
    /// of that name; 0 if there is none.
    pub fn bytes_of_layer(&self, name: &str) -> u64 {
        let parts = ["weight", "bias"].map(|suffix| self.tensors.get(&format!("{name}.{suffix}")));
        parts.into_iter().flatten().map(Stored::payload_bytes).sum()
    }

    /// Bytes in the file of the ranges of all buckets.
    pub fn bucket_bytes(&self) -> u64 {
        self.tensors.values().map(Stored::range_bytes).sum()
    }

    /// Size of the file that the same network makes unquantized.
    pub fn full_precision_bytes(&self) -> u64 {
        let entries: Vec<Entry> = self.tensors.iter().map(|(name, tensor)| Entry::full(name, tensor.shape())).collect();
        let header = header(&self.graph, &QuantPlan::default(), &self.meta);
        let total = header.and_then(|header| Ok(front(KIND, &header, &entries)?.1));
        // Only a header that could not be saved either has no size; the tensors then are what there
        // is to count.
        total.unwrap_or_else(|_| {
            let counts = self.tensors.values().map(|tensor| tensor.shape().iter().product::<usize>());
            4 * counts.sum::<usize>() as u64
        })
    }

    /// Mean bits over all weights of convolutions and fully connected layers, 32 where not
    /// quantized.
    pub fn weight_bits_mean(&self) -> f64 {
        let weights = self.graph.layers().into_iter().filter_map(|id| {
            let name = &self.graph.nodes[id].name;
            Some(match self.tensors.get(&format!("{name}.weight"))? {
                Stored::Packed { quantized, .. } => (quantized.codes.len() as f64, quantized.bits),
                Stored::Full { values, .. } => (values.len() as f64, FULL_PRECISION_BITS),
                Stored::Bytes(_) => return None,
            })
        });
        let (count, bits) = weights.fold((0.0, 0.0), |(count, sum), (n, bits)| (count + n, sum + n * f64::from(bits)));
        if count > 0.0 { bits / count } else { f64::from(FULL_PRECISION_BITS) }
    }

    /// That graph, plan, meta and tensors fit each other, can be stored, and hold numbers that can
    /// be computed with.
    fn check(&self) -> Result<()> {
        let graph = &self.graph;
        self.plan.validate(graph)?;
        let params = graph.params()?;
        sound::check_meta(self)?;
        for Param { name, shape, node, role } in &params {
            let fail = |problem: String| Err(Error::failed(format!("tensor `{name}` of `{}` {problem}", graph.name)));
            let Some(stored) = self.tensors.get(name) else {
                return fail("is missing".into());
            };
            if stored.shape() != shape {
                return fail(format!("has the shape {:?}; {shape:?} is needed", stored.shape()));
            }
            let quant = self.plan.weights.get(&graph.nodes[*node].name).filter(|_| *role == Role::Weight);
            let wanted = quant.map(|quant| (quant.bits, quant.buckets.size(shape), quant.grid));
            let found = match stored {
                Stored::Packed { quantized: Quantized { bits, bucket_size, grid, .. }, .. } => {
                    Some((*bits, *bucket_size, *grid))
                }
                _ => None,
            };
            if wanted != found {
                let show = |packing: Option<(u32, usize, Grid)>| match packing {
                    Some((bits, size, Grid::MinMax)) => format!("{bits} bits in buckets of {size}"),
                    Some((bits, size, grid)) => format!("{bits} bits in buckets of {size}, on the grid {grid:?}"),
                    None => "full precision".into(),
                };
                return fail(format!("is stored in {}; its plan says {}", show(found), show(wanted)));
            }
        }
        sound::check_tensors(self, &params)?;
        let known: BTreeSet<&str> = params.iter().map(|param| param.name.as_str()).collect();
        match self.tensors.keys().find(|name| !known.contains(name.as_str())) {
            Some(name) => Err(Error::failed(format!("tensor `{name}` is none of `{}`", graph.name))),
            None => Ok(()),
        }
    }
}

fn header(graph: &Graph, plan: &QuantPlan, meta: &ModelMeta) -> Result<serde_json::Value> {
    let header = Header { graph: graph.clone(), plan: plan.clone(), meta: meta.clone() };
    serde_json::to_value(header).map_err(|error| Error::failed(format!("its header: {error}")))
}

#[cfg(test)]
mod tests;
