//! The table at the end of a run, for the terminal.

use super::numbers::{bytes, duration, grouped, percent, points, trimmed};
use super::search;
use super::table::table;
use crate::plain;
use pocketflow::report::{LayerReport, Report};
use std::fmt::Write as _;
use std::time::Duration;

/// Bits of a weight or activation that is not quantized.
const OFF: u32 = 32;

/// What the run came to: full precision beside quantized, then every layer. Ends with a line break.
pub fn summary(report: &Report) -> String {
    let report = &plain::report(report);
    let mut text = format!("{} · {} · {} · seed {}\n", report.net, report.learner, report.dataset, report.seed);
    if report.stand_in_data {
        text +=
            "STAND-IN DATA: these images are made up on the fly; the accuracy says nothing about the real data set.\n";
    }
    text += "\n";
    text += &figures(report);
    text += "\n";
    if !report.layers.is_empty() {
        text += "\n";
        text += &layers(&report.layers);
        text += "\n";
    }
    for warning in warnings(report) {
        let _ = writeln!(text, "\nwarning: {warning}");
    }
    if let Some(compared) = report.search.as_ref().and_then(search::table) {
        text += "\n";
        text += &compared;
    }
    text += "\n";
    if report.wall_seconds > 0.0 {
        let time = Duration::try_from_secs_f64(report.wall_seconds).unwrap_or_default();
        let _ = write!(text, "time    {}", duration(time));
        if report.images_per_second > 0.0 {
            let _ = write!(text, ", {} images/s", grouped(report.images_per_second.round() as u64));
        }
        text += "\n";
    }
    if !report.model_path.is_empty() {
        let _ = writeln!(text, "model   {}", report.model_path);
    }
    text
}

/// What stands out of the figures, and is no success.
fn warnings(report: &Report) -> Vec<String> {
    let mut warnings = report.warnings.clone();
    if report.compression_ratio > 0.0 && report.model_bytes > report.full_precision_bytes {
        let Report { model_bytes, full_precision_bytes, bucket_bytes, .. } = report;
        let [model, full, ranges] = [*model_bytes, *full_precision_bytes, *bucket_bytes].map(grouped);
        warnings.push(format!(
            "the file takes {model} bytes, more than the {full} of full precision; {ranges} of them are ranges of buckets, which \
             larger buckets make fewer"
        ));
    }
    warnings
}

fn figures(report: &Report) -> String {
    let quantized = report.layers.iter().any(|layer| layer.weight_bits < OFF)
        || report.top1_full_precision.is_some()
        || (report.weight_bits_mean > 0.0 && report.weight_bits_mean < f64::from(OFF));
    let size = |count: u64| match count {
        0 => "-".into(),
        1..1024 => grouped(count),
        _ => format!("{} ({})", grouped(count), bytes(count)),
    };
    let loss = if report.loss.is_finite() { format!("{:.4}", report.loss) } else { "n/a".into() };
    if !quantized {
        let mut table = table(&["", "full precision"], |index| index > 0);
        table.add_row(["top-1 accuracy", &percent(report.top1)]);
        table.add_row(["top-5 accuracy", &percent(report.top5)]);
        table.add_row(["loss", &loss]);
        table.add_row(["bytes on disk", &size(report.model_bytes)]);
        return table.trim_fmt();
    }
    let mut table = table(&["", "full precision", "quantized", "difference"], |index| index > 0);
    let mut accuracy = |name: &str, before: Option<f64>, after: f64| {
        let difference = before.map_or("-".into(), |before| format!("{} points", points(after - before)));
        table.add_row([name, &before.map_or("-".into(), percent), &percent(after), &difference]);
    };
    accuracy("top-1 accuracy", report.top1_full_precision, report.top1);
    accuracy("top-5 accuracy", report.top5_full_precision, report.top5);
    table.add_row(["loss", "-", &loss, ""]);
    let ratio = match report.compression_ratio {
        ratio if ratio >= 1.0 => format!("{ratio:.2} x smaller"),
        ratio if ratio > 0.0 => format!("{:.2} x larger", 1.0 / ratio),
        _ => "-".into(),
    };
    table.add_row(["bytes on disk", &size(report.full_precision_bytes), &size(report.model_bytes), &ratio]);
    if report.bucket_bytes > 0 {
        table.add_row(["  of them ranges of buckets", "", &size(report.bucket_bytes), ""]);
    }
    table.add_row(["mean bits of a weight", "32", &trimmed(report.weight_bits_mean, 2), ""]);
    table.trim_fmt()
}

fn layers(layers: &[LayerReport]) -> String {
    let header = ["layer", "kind", "params", "weight bits", "activation bits", "bytes", "buckets"];
    let mut table = table(&header, |index| index > 1);
    for layer in layers {
        table.add_row([
            layer.name.clone(),
            layer.kind.clone(),
            grouped(layer.params),
            layer.weight_bits.to_string(),
            layer.activation_bits.map_or("-".into(), |bits| bits.to_string()),
            grouped(layer.bytes),
            grouped(layer.buckets),
        ]);
    }
    table.trim_fmt()
}
