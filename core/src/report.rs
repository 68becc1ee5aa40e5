//! The report of a run: what `report.json` holds and `report.html` draws.

pub mod search;

use search::SearchReport;
use serde::{Deserialize, Serialize};

/// A learner's result. Fractions are 0–1, sizes in bytes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Name of the learner: `uniform`.
    pub learner: String,
    /// Id of the net: `resnet_at_cifar10`.
    pub net: String,
    /// Name of the data set: `cifar10`.
    pub dataset: String,
    /// The figures come from a stand-in, not from the data set that the net is for.
    pub stand_in_data: bool,
    /// The run's `seed`.
    pub seed: u64,
    /// On the test images.
    pub top1: f64,
    /// Fraction of the test images whose class is among the five largest logits.
    pub top5: f64,
    /// Of the full-precision parent on the same images; `None` for a learner without one.
    pub top1_full_precision: Option<f64>,
    /// As `top1_full_precision`, among the five largest logits.
    pub top5_full_precision: Option<f64>,
    /// Mean cross-entropy on the test images.
    pub loss: f64,
    /// Mean bits over all weights of convolutions and fully connected layers, 32 where not
    /// quantized.
    pub weight_bits_mean: f64,
    /// Convolutions and fully connected layers, in the graph's order.
    pub layers: Vec<LayerReport>,
    /// The saved model file.
    pub model_path: String,
    /// Size of that file.
    pub model_bytes: u64,
    /// What the same network takes with all its tensors in 32 bits, in the same file format.
    pub full_precision_bytes: u64,
    /// `full_precision_bytes / model_bytes`.
    pub compression_ratio: f64,
    /// Of `model_bytes`, those that hold the ranges of buckets.
    pub bucket_bytes: u64,
    /// Seconds of the learner's work in this process.
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
    /// Name of the node: `layer1.0.conv1`.
    pub name: String,
    /// The word of [`crate::graph::Operator::kind`].
    pub kind: String,
    /// Number of weights, without biases.
    pub params: u64,
    /// 32: not quantized.
    pub weight_bits: u32,
    /// Of the activation function that reads this layer's output (through batch norm and add);
    /// `None` where there is none.
    pub activation_bits: Option<u32>,
    /// In the model file, with ranges.
    pub bytes: u64,
    /// Ranges that its weights are cut into; 0: not quantized.
    pub buckets: u64,
    /// Root of the mean squared difference between the weights and Q(weights), relative to the
    /// weights' standard deviation.
    pub weight_error: f64,
    /// Of its weights; `None` where the learner makes none.
    pub histogram: Option<Histogram>,
}

/// Counts of weights in equal bins, before and after quantization.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Histogram {
    /// Left end of the first bin.
    pub min: f64,
    /// Right end of the last bin.
    pub max: f64,
    /// Number of full-precision weights in each bin.
    pub before: Vec<u64>,
    /// Number of quantized weights in each bin; as long as `before`.
    pub after: Vec<u64>,
}
