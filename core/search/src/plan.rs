//! Bits per layer in a file, which a search writes and a learner reads.

use crate::quantization::Quantization;
use pocketflow::atomic::write_atomically;
use pocketflow::graph::Graph;
use pocketflow::quant::{ActivationQuant, FULL_PRECISION_BITS, Grid, QuantPlan, WeightQuant};
use pocketflow::{Error, ErrorKind, Result, names};
use std::collections::BTreeMap;
use std::path::Path;

/// A plan file: bits by node name; 32 leaves a node alone.
#[derive(Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BitPlan {
    /// It names every layer that is quantized; one that it leaves out is an error.
    pub complete: bool,
    /// By layer, 1 to 31, or 32.
    pub weight_bits: BTreeMap<String, u32>,
    /// By node, 1 to 31, or 32.
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

    /// # Errors
    /// A folder that cannot be written.
    pub fn write(&self, path: &Path, comment: &str) -> Result<()> {
        let text = toml::to_string(self).map_err(|error| Error::failed(format!("cannot write a bit plan: {error}")))?;
        let comment: String = comment.lines().map(|line| format!("# {line}\n")).collect();
        write_atomically(path, format!("{comment}{text}").as_bytes())
            .map_err(|error| error.context(format!("cannot write {}", path.display())))
    }
}

/// The plan of the options and of the file at `path`; layers and activations that the file does not
/// name take `weight_bits` and the options' activation bits.
///
/// # Errors
/// A plan file that names nodes the net does not have, bits out of 1–31 (32 for none), or a file
/// that says it is complete and leaves a layer out.
pub fn plan(graph: &Graph, quantization: &Quantization, weight_bits: u32, path: Option<&Path>) -> Result<QuantPlan> {
    let mut plan = quantization.plan(graph, weight_bits);
    let Some(path) = path else { return Ok(plan) };
    let file = BitPlan::read(path)?;
    if file.complete
        && let Some(missing) = QuantPlan::quantizable(graph, quantization.all_layers)
            .iter()
            .find(|name| !file.weight_bits.contains_key(*name))
    {
        let text = format!("bit plan {}: it is complete, but leaves out layer `{missing}`", path.display());
        return Err(Error::config(format!(
            "{text} of `{}`; quantize the layers of the net that the search which wrote it quantized, or add the layer, or \
             remove `complete`",
            graph.name
        )));
    }
    let unknown = |name: &str, what: &str, known: Vec<String>| {
        let text = format!("bit plan {}: `{name}` is no {what} of `{}`", path.display(), graph.name);
        Error::config(format!("{text}; there are: {}", names::list(known.iter().map(String::as_str))))
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
                plan.weights
                    .insert(name.clone(), WeightQuant { bits, buckets: quantization.buckets, grid: Grid::MinMax });
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

#[cfg(test)]
mod tests {
    use super::*;
    use pocketflow::clip::WeightRange;
    use pocketflow::graph::{GraphBuilder, Linear};
    use pocketflow::quant::Buckets;

    fn graph() -> Graph {
        let mut builder = GraphBuilder::new("chain", [3, 4, 4]);
        let mut last = 0;
        for name in ["first", "second", "third", "last"] {
            last = builder.add(name, Linear { out: 4, bias: false }, &[last]);
        }
        builder.finish().unwrap()
    }

    fn quantization() -> Quantization {
        Quantization {
            activation_bits: 32,
            save_path: "model.ckpt".into(),
            buckets: Buckets::Channel,
            all_layers: false,
            edge_bits: 32,
            range: WeightRange::MinMax,
            reestimate: true,
        }
    }

    fn planned(text: &str) -> Result<QuantPlan> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plan.toml");
        std::fs::write(&path, text).unwrap();
        plan(&graph(), &quantization(), 4, Some(&path))
    }

    #[test]
    fn what_was_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plan.toml");
        let weight_bits = BTreeMap::from([("second".into(), 2), ("third".into(), 7)]);
        let written = BitPlan { complete: true, weight_bits, ..BitPlan::default() };
        written.write(&path, "two\nlines").unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().starts_with("# two\n# lines\ncomplete = true\n"));
        assert_eq!(BitPlan::read(&path).unwrap(), written);
        let plan = plan(&graph(), &quantization(), 4, Some(&path)).unwrap();
        let bits: Vec<(&str, u32)> = plan.weights.iter().map(|(name, quant)| (name.as_str(), quant.bits)).collect();
        assert_eq!(bits, [("second", 2), ("third", 7)]);
        assert!(plan.weights.values().all(|quant| quant.buckets == Buckets::Channel));
    }

    #[test]
    fn the_first_and_the_last_layer_take_bits_of_their_own() {
        let of = |quantization: Quantization| {
            let plan = quantization.plan(&graph(), 2);
            ["first", "second", "third", "last"].map(|name| plan.weights.get(name).map(|quant| quant.bits))
        };
        assert_eq!(of(quantization()), [None, Some(2), Some(2), None]);
        let edges = Quantization { edge_bits: 8, ..quantization() };
        assert_eq!(of(edges.clone()), [Some(8), Some(2), Some(2), Some(8)]);
        assert_eq!(of(Quantization { all_layers: true, ..edges }), [Some(2); 4]);
    }

    #[test]
    fn a_complete_plan_that_leaves_a_layer_out() {
        let error = planned("complete = true\n[weight_bits]\nsecond = 2\n").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("leaves out layer `third`"), "{error}");
        assert_eq!(planned("[weight_bits]\nsecond = 2\n").unwrap().weights["third"].bits, 4);
    }

    #[test]
    fn layers_and_bits_that_there_are_not() {
        for (text, problem) in
            [("forth = 2", "`forth` is no layer"), ("third = 33", "33"), ("third = 0", "1 to 32 bits")]
        {
            let error = planned(&format!("[weight_bits]\n{text}\n")).unwrap_err();
            assert!(error.to_string().contains(problem), "{error}");
        }
    }
}
