//! The quantization plan: the same bits everywhere, or what a plan file says per layer.

use crate::options::Options;
use pocketflow::graph::Graph;
use pocketflow::quant::{ActivationQuant, FULL_PRECISION_BITS, Grid, QuantPlan, WeightQuant};
use pocketflow::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::path::Path;

/// A plan file: bits by node name; 32 leaves a node alone.
#[derive(Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BitPlan {
    pub weight_bits: BTreeMap<String, u32>,
    pub activation_bits: BTreeMap<String, u32>,
}

impl BitPlan {
    /// # Errors
    /// No such file, or not TOML of this form; names file and line.
    pub fn read(path: &Path) -> Result<Self> {
        let shown = path.display();
        let text = std::fs::read_to_string(path)
            .map_err(|error| Error::from_error(ErrorKind::Config, &error).context(format!("cannot read {shown}")))?;
        toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
            Error::config(error.message().trim().to_owned()).context(format!("bit plan {shown}:{line}"))
        })
    }
}

/// # Errors
/// A plan file that names nodes the net does not have, or bits out of 1–32.
pub fn plan(graph: &Graph, options: &Options) -> Result<QuantPlan> {
    let (bits, activation_bits) = (options.weight_bits, options.activation_bits);
    let mut plan = QuantPlan::uniform(graph, bits, activation_bits, options.buckets, options.all_layers);
    let Some(path) = &options.bit_plan else { return Ok(plan) };
    let file = BitPlan::read(path)?;
    let unknown = |name: &str, what: &str, known: Vec<String>| {
        let text = format!("bit plan {}: `{name}` is no {what} of `{}`", path.display(), graph.name);
        Error::config(format!("{text}; there are: {}", known.join(", ")))
    };
    let out_of_range = |name: &str, bits: u32| {
        Error::config(format!("bit plan {}: `{name}` = {bits}: 1 to 32 bits, 32 for none", path.display()))
    };
    let names = |ids: Vec<usize>| ids.into_iter().map(|id| graph.nodes[id].name.clone()).collect::<Vec<_>>();
    for (name, bits) in &file.weight_bits {
        match *bits {
            _ if !names(graph.layers()).contains(name) => return Err(unknown(name, "layer", names(graph.layers()))),
            FULL_PRECISION_BITS => drop(plan.weights.remove(name)),
            bits @ 1..FULL_PRECISION_BITS => {
                plan.weights.insert(name.clone(), WeightQuant { bits, buckets: options.buckets, grid: Grid::MinMax });
            }
            bits => return Err(out_of_range(name, bits)),
        }
    }
    for (name, bits) in &file.activation_bits {
        match *bits {
            _ if !names(graph.activations()).contains(name) => {
                return Err(unknown(name, "activation", names(graph.activations())));
            }
            FULL_PRECISION_BITS => drop(plan.activations.remove(name)),
            bits @ 1..FULL_PRECISION_BITS => {
                plan.activations.insert(name.clone(), ActivationQuant { bits, range: None });
            }
            bits => return Err(out_of_range(name, bits)),
        }
    }
    Ok(plan)
}
