//! Fake quantization: the plan's grids as TensorFlow's operators, in the forms that its converter
//! takes.

use super::builder::{Builder, Named};
use super::proto::Value;
use pocketflow::Result;
use pocketflow::affine::Affine;
use pocketflow::quant::{ActivationQuant, Grid, Quantized, largest_code};

/// Bits that FakeQuantWithMinMaxVars takes.
const BITS: std::ops::RangeInclusive<u32> = 2..=16;
const WEIGHT_BITS: u32 = 8;

/// The output of `node`, quantized as the plan says; `node` itself where TensorFlow cannot say it.
///
/// # Errors
/// None but those of constants.
pub(crate) fn activation(builder: &mut Builder, node: &str, quant: &ActivationQuant) -> Result<String> {
    let Some(range) = quant.range.filter(|_| BITS.contains(&quant.bits)) else {
        return Ok(node.into());
    };
    let [min, max] = Affine::of_range(range, quant.bits).ends();
    per_tensor(builder, &format!("{node}/quant"), node, [min, max], quant.bits, false)
}

/// How the constant of a layer's weights is quantized again when the graph runs, so that a
/// converter knows its grid.
///
/// Always in 8 bits: a grid of fewer is part of one of 8 with the same scale, so the weights stay
/// what they are, and TensorFlow's converter turns 8 bits into any of its types, but others only
/// sometimes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum WeightGrid {
    Tensor([f32; 2]),
    /// Minimum and maximum of each output channel.
    Channels {
        min: Vec<f32>,
        max: Vec<f32>,
    },
}

impl WeightGrid {
    /// The grid of packed weights `[channels, …]`; `None` where TensorFlow has no operator for it
    /// (zero is not on the grid, other buckets than layer or channel) or its converter does not
    /// take it (more than 8 bits, asymmetric by channel).
    pub fn of(quantized: &Quantized, channels: usize) -> Option<Self> {
        let Quantized { bits, bucket_size, grid, codes, ranges, .. } = quantized;
        if *bits > WEIGHT_BITS {
            return None;
        }
        let top = largest_code(WEIGHT_BITS) as f32;
        // Narrow: the lowest code is 1, and of a symmetric grid the middle one is zero.
        let ends = |[scale, zero]: [f32; 2]| [scale * (1.0 - zero), scale * (top - zero)];
        let middle = |[scale, _]: [f32; 2]| ends([scale, (top + 1.0) / 2.0]);
        let by_channel = channels > 0 && bucket_size.checked_mul(channels) == Some(codes.len());
        match (grid, ranges.as_slice()) {
            (Grid::Affine, [range]) => Some(Self::Tensor(ends(*range))),
            (Grid::Symmetric, [range]) => Some(Self::Tensor(middle(*range))),
            (Grid::Symmetric, ranges) if by_channel => {
                let ends: Vec<[f32; 2]> = ranges.iter().map(|range| middle(*range)).collect();
                let [min, max] = [0, 1].map(|end| ends.iter().map(|ends| ends[end]).collect());
                Some(Self::Channels { min, max })
            }
            _ => None,
        }
    }

    /// Quantizes the constant `weights`, whose last axis is the output channel.
    ///
    /// # Errors
    /// None but those of constants.
    pub fn apply(&self, builder: &mut Builder, weights: &str) -> Result<String> {
        let name = format!("{weights}/quant");
        match self {
            Self::Tensor(ends) => per_tensor(builder, &name, weights, *ends, WEIGHT_BITS, true),
            Self::Channels { min, max } => {
                let min = builder.floats(&format!("{name}/min"), min, &[min.len()])?;
                let max = builder.floats(&format!("{name}/max"), max, &[max.len()])?;
                let op = "FakeQuantWithMinMaxVarsPerChannel";
                Ok(builder.untyped(&name, op, &[weights, &min, &max], attributes(WEIGHT_BITS, true)))
            }
        }
    }
}

fn per_tensor(
    builder: &mut Builder,
    name: &str,
    input: &str,
    [min, max]: [f32; 2],
    bits: u32,
    narrow: bool,
) -> Result<String> {
    let min = builder.floats(&format!("{name}/min"), &[min], &[])?;
    let max = builder.floats(&format!("{name}/max"), &[max], &[])?;
    Ok(builder.untyped(name, "FakeQuantWithMinMaxVars", &[input, &min, &max], attributes(bits, narrow)))
}

fn attributes(bits: u32, narrow: bool) -> Vec<Named> {
    vec![("num_bits", Value::I(i64::from(bits))), ("narrow_range", Value::B(narrow))]
}
