//! The .pb format: a frozen TensorFlow GraphDef with fake quantization, which TensorFlow runs and
//! its own converter turns into an integer .tflite. Messages are written by hand ([`proto`]);
//! nothing is generated.
//!
//! Input: `input`, float `[?, height, width, channels]`, normalised as the model's meta data say.
//! Output: `logits`, `[?, classes]`. Other nodes have the network's names; what belongs to one has
//! its name and a suffix.

pub(crate) mod builder;
pub(crate) mod fake_quant;
#[allow(missing_docs, reason = "the fields are documented in TensorFlow's protos, by these names")]
pub mod proto;
pub(crate) mod writer;

pub(crate) use writer::{Held, Writer};

use crate::ops::export;
use pocketflow::Result;
use pocketflow::fold::fold_model;
use pocketflow::model::Model;

/// The version of GraphDef that TensorFlow 1.13 and later read and write the same.
pub const PRODUCER: i32 = 27;
/// Names of the placeholder and of the last node.
pub const INPUT: &str = "input";
/// Name of the node that gives the logits, float `[n, classes]`.
pub const LOGITS: &str = "logits";

/// The model with its batch normalisations folded: quantized weights as Q(x), and fake quantization
/// of 2 to 16 bits where the plan has it and TensorFlow's converter takes it. What the plan
/// quantizes but has no range yet stays float.
///
/// # Errors
/// A model that cannot be folded or whose parts do not fit each other; a convolution with groups
/// other than one, or one for each input channel (it is named); a graph beyond the 2 GiB of the
/// format.
pub fn from_model(model: &Model) -> Result<Vec<u8>> {
    let folded = fold_model(model)?;
    let graph = &folded.graph;
    let shapes = graph.shapes()?;
    let mut writer = Writer::new(&folded, &shapes);
    for node in &graph.nodes {
        let written = export(&node.op).pb(&mut writer, node).and_then(|written| writer.hold(&node.name, written));
        written
            .map_err(|error| error.context(format!("cannot write node `{}` ({}) to .pb", node.name, node.op.kind())))?;
    }
    writer.finish()
}
