//! The .onnx format: networks of integers with quantize–dequantize pairs, as ONNX Runtime fuses
//! them to integer kernels, and float networks to compare with. Messages are written by hand
//! ([`proto`]); nothing is generated.
//!
//! Input: `input`, float `[N, channels, height, width]`, normalised as the metadata says: (pixel −
//! mean) / std. Output: `logits`, float `[N, classes]`. Metadata: `labels` (a JSON array), `mean`
//! and `std` (by channel, comma-separated), `source`, `quantization`.

pub(crate) mod builder;
mod network;
#[allow(missing_docs, reason = "the fields are documented in onnx/onnx.proto, by these names")]
pub mod proto;
mod saturation;
pub(crate) mod writer;

pub use network::from_net;
pub use saturation::may_saturate;
pub(crate) use writer::{Held, Writer};

use crate::deployed::lower_to_floats;
use pocketflow::Result;
use pocketflow::model::Model;

/// Opset 13 is the first in which DequantizeLinear takes a scale for each channel.
pub const OPSET: i64 = 13;
/// That of ONNX 1.8, which brought opset 13: every ONNX Runtime since 1.7 reads it.
pub const IR_VERSION: i64 = 7;
/// Names of the graph's input and output.
pub const INPUT: &str = "input";
/// Name of the graph's output, float `[N, classes]`.
pub const LOGITS: &str = "logits";

/// What a file says about itself beside the network.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OnnxInfo {
    /// The classes' names, in the order of the logits; empty if unknown.
    pub labels: Vec<String>,
    /// Where the network comes from.
    pub source: String,
}

impl OnnxInfo {
    /// What the model's own meta data say.
    pub fn of(model: &Model) -> Self {
        let meta = &model.meta;
        let stand_in = if meta.stand_in { ", a stand-in" } else { "" };
        let source = format!("net {}, learner {}, data {}{stand_in}", meta.net, meta.learner, meta.dataset);
        Self { labels: meta.labels.clone(), source }
    }

    fn metadata(&self, mean: &[f32], std: &[f32], quantization: &str) -> Vec<(&'static str, String)> {
        let list = |values: &[f32]| values.iter().map(f32::to_string).collect::<Vec<_>>().join(",");
        vec![
            ("labels", serde_json::Value::from(self.labels.clone()).to_string()),
            ("mean", list(mean)),
            ("std", list(std)),
            ("source", self.source.clone()),
            ("quantization", quantization.into()),
        ]
    }
}

/// The model in float, its batch normalisations folded. Quantized weights are written as Q(x);
/// values between the layers are not quantized.
///
/// # Errors
/// A model that cannot be folded or whose parts do not fit each other; one beyond the 2 GiB of the
/// format.
pub fn from_model(model: &Model, info: &OnnxInfo) -> Result<Vec<u8>> {
    from_net(&lower_to_floats(model)?, info)
}
