//! From a network to what is kept of it: the model's origin, its report with layers, sizes and
//! histograms, its evaluation.

use crate::engine::Engine;
use crate::evaluate::{Metrics, judge};
use crate::network::Network;
use crate::saved;
use crate::train::{split_name, splits};
use pocketflow::graph::{Graph, NodeId, Op};
use pocketflow::job::{Event, Job};
use pocketflow::model::{Model, ModelMeta};
use pocketflow::option::HostOptions;
use pocketflow::quant::FULL_PRECISION_BITS;
use pocketflow::report::{Histogram, LayerReport, Report};
use pocketflow::{Error, Result};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

const HISTOGRAM_BINS: usize = 64;

/// Returns where a model of this job comes from, whose graph is `graph`.
///
/// # Errors
/// A net that gives no graph.
pub fn meta(job: &Job, learner: &str, graph: &Graph, top1: Option<f64>) -> Result<ModelMeta> {
    let info = job.dataset.info();
    let own = job.net.graph()?;
    Ok(ModelMeta {
        changed_graph: *graph != own && !saved::is_folded_of(graph, &own),
        net: job.net_id.clone(),
        learner: learner.into(),
        dataset: info.name,
        stand_in: info.stand_in,
        labels: info.labels,
        mean: info.mean,
        std: info.std,
        top1,
        choices: ModelMeta::choices(&job.settings, &job.net_id),
    })
}

/// Evaluates the model at `path` on the job's data, exactly as it was saved.
///
/// # Errors
/// As [`saved::load`]; the data set's.
pub fn evaluated(engine: &Engine, job: &Job, learner: &str, path: &Path) -> Result<Report> {
    let start = Instant::now();
    let model = saved::load(job, path)?;
    let split = splits(job)?.1;
    let (metrics, classes) = judge(&Network::from_model(engine, &model)?, job, split)?;
    job.host.event(Event::Decisions { split: split_name(split).into(), classes });
    let mut report = report(job, learner, &model, path, None, metrics)?;
    report.wall_seconds = start.elapsed().as_secs_f64();
    Ok(report)
}

/// A report of the model saved at `path`, without times. `before`: the weights that it was
/// quantized from, where known.
///
/// # Errors
/// A file that is gone.
pub fn report(
    job: &Job,
    learner: &str,
    model: &Model,
    path: &Path,
    before: Option<&BTreeMap<String, Vec<f32>>>,
    metrics: Metrics,
) -> Result<Report> {
    let info = job.dataset.info();
    let layers: Result<Vec<LayerReport>> =
        model.graph.layers().into_iter().map(|id| layer(model, id, before)).collect();
    let warnings: Vec<String> = metrics.warning().into_iter().collect();
    for warning in &warnings {
        job.warn(warning);
    }
    let model_bytes = std::fs::metadata(path)
        .map_err(|error| Error::from(error).context(format!("cannot read {}", path.display())))?
        .len();
    let full_precision_bytes = model.full_precision_bytes();
    Ok(Report {
        learner: learner.into(),
        net: job.net_id.clone(),
        dataset: info.name,
        stand_in_data: info.stand_in,
        seed: job.settings.get(HostOptions::seed())?,
        top1: metrics.top1,
        top5: metrics.top5,
        loss: metrics.loss,
        weight_bits_mean: model.weight_bits_mean(),
        layers: layers?,
        model_path: path.display().to_string(),
        model_bytes,
        full_precision_bytes,
        compression_ratio: full_precision_bytes as f64 / model_bytes.max(1) as f64,
        bucket_bytes: model.bucket_bytes(),
        warnings,
        ..Report::default()
    })
}

fn layer(model: &Model, id: NodeId, before: Option<&BTreeMap<String, Vec<f32>>>) -> Result<LayerReport> {
    let node = &model.graph.nodes[id];
    let name = format!("{}.weight", node.name);
    let quant = model.plan.weights.get(&node.name);
    let after = model.values(&name)?;
    let before = before.and_then(|weights| weights.get(&name)).filter(|_| quant.is_some());
    let shape = model.tensors[&name].shape();
    let activation = quantized_output(model, id).and_then(|id| model.plan.activations.get(&model.graph.nodes[id].name));
    Ok(LayerReport {
        name: node.name.clone(),
        kind: node.op.kind().into(),
        params: after.len() as u64,
        weight_bits: quant.map_or(FULL_PRECISION_BITS, |quant| quant.bits),
        activation_bits: activation.map(|quant| quant.bits),
        bytes: model.bytes_of_layer(&node.name),
        buckets: quant.map_or(0, |quant| quant.buckets.count(shape) as u64),
        weight_error: before.map_or(0.0, |before| relative_error(before, &after)),
        histogram: Some(histogram(before.map_or(&after, |before| before), &after)),
    })
}

/// Where the output of a layer is quantized: at the layer itself, or at the batch norm, sum or
/// activation function behind it.
fn quantized_output(model: &Model, id: NodeId) -> Option<NodeId> {
    let nodes = &model.graph.nodes;
    if model.plan.activations.contains_key(&nodes[id].name) {
        return Some(id);
    }
    let next = nodes.iter().position(|node| node.inputs.contains(&id))?;
    match nodes[next].op {
        ref op if op.is_activation() => model.plan.activations.contains_key(&nodes[next].name).then_some(next),
        Op::BatchNorm(_) | Op::Add(_) => quantized_output(model, next),
        _ => None,
    }
}

/// Root of the mean squared difference over the standard deviation.
fn relative_error(before: &[f32], after: &[f32]) -> f64 {
    let n = before.len().max(1) as f64;
    let mean = before.iter().map(|x| f64::from(*x)).sum::<f64>() / n;
    let variance = before.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / n;
    let error = before.iter().zip(after).map(|(x, q)| (f64::from(*x) - f64::from(*q)).powi(2)).sum::<f64>() / n;
    if variance > 0.0 { (error / variance).sqrt() } else { 0.0 }
}

fn histogram(before: &[f32], after: &[f32]) -> Histogram {
    let all = || before.iter().chain(after).map(|x| f64::from(*x));
    let (min, max) = (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
    let width = (max - min).max(f64::MIN_POSITIVE);
    let count = |values: &[f32]| {
        let mut bins = vec![0; HISTOGRAM_BINS];
        for value in values {
            let bin = (f64::from(*value) - min) / width * HISTOGRAM_BINS as f64;
            bins[(bin as usize).min(HISTOGRAM_BINS - 1)] += 1;
        }
        bins
    };
    Histogram { min, max, before: count(before), after: count(after) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_count_everything_once() {
        let histogram = histogram(&[-1.0, 0.0, 0.5, 1.0], &[-1.0, 0.0, 0.0, 1.0]);
        assert_eq!((histogram.min, histogram.max), (-1.0, 1.0));
        assert_eq!(histogram.before.iter().sum::<u64>(), 4);
        assert_eq!(histogram.after[HISTOGRAM_BINS / 2], 2);
    }

    #[test]
    fn error_is_relative_to_the_spread() {
        assert_eq!(relative_error(&[-1.0, 1.0], &[-1.0, 1.0]), 0.0);
        assert_eq!(relative_error(&[-1.0, 1.0], &[0.0, 0.0]), 1.0);
        assert_eq!(relative_error(&[2.0, 2.0], &[2.0, 2.0]), 0.0);
    }
}
