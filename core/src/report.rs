//! The report of a run: what `report.json` holds and `report.html` draws.

pub mod search;

use search::SearchReport;
use serde::{Deserialize, Serialize};

/// A learner's result. Fractions are 0–1, sizes in bytes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    pub learner: String,
    pub net: String,
    pub dataset: String,
    /// The figures come from a stand-in, not from the data set that the net is for.
    pub stand_in_data: bool,
    pub seed: u64,
    /// On the test images.
    pub top1: f64,
    pub top5: f64,
    /// Of the full-precision parent on the same images; `None` for a learner without one.
    pub top1_full_precision: Option<f64>,
    pub top5_full_precision: Option<f64>,
    /// Mean cross-entropy on the test images.
    pub loss: f64,
    /// Mean bits over all weights of convolutions and fully connected layers, 32 where not
    /// quantized.
    pub weight_bits_mean: f64,
    pub layers: Vec<LayerReport>,
    /// The saved model file.
    pub model_path: String,
    pub model_bytes: u64,
    /// What the same network takes with all its tensors in 32 bits, in the same file format.
    pub full_precision_bytes: u64,
    pub compression_ratio: f64,
    /// Of `model_bytes`, those that hold the ranges of buckets.
    pub bucket_bytes: u64,
    pub wall_seconds: f64,
    /// Training throughput; 0 where nothing was trained.
    pub images_per_second: f64,
    /// What whoever reads these figures has to know of them, in sentences.
    pub warnings: Vec<String>,
    /// The search for bits per layer; `None` where the bits were given.
    pub search: Option<SearchReport>,
}

/// One layer.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LayerReport {
    pub name: String,
    /// The word of [`crate::graph::Operator::kind`].
    pub kind: String,
    pub params: u64,
    /// 32: not quantized.
    pub weight_bits: u32,
    /// Of the activation function that reads this layer's output (through batch norm and add);
    /// `None` where there is none.
    pub activation_bits: Option<u32>,
    /// In the model file, with ranges.
    pub bytes: u64,
    pub buckets: u64,
    /// Root of the mean squared difference between the weights and Q(weights), relative to the
    /// weights' standard deviation.
    pub weight_error: f64,
    pub histogram: Option<Histogram>,
}

/// Counts of weights in equal bins, before and after quantization.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Histogram {
    pub min: f64,
    pub max: f64,
    pub before: Vec<u64>,
    pub after: Vec<u64>,
}
