//! Uniform quantization: which node is quantized how ([`QuantPlan`]), and the arithmetic that every
//! executor, file and export must reproduce bit for bit.
//!
//! For the weights x of a bucket and k bits (PocketFlow's documentation, "Quantization Function";
//! spec §3): α = max − min, β = min, sc(x) = (x − β)/α, x̂ = round((2^k−1)·sc(x))/(2^k−1), Q(x) =
//! α·x̂ + β, with rounding to even and every operation rounded on its own (no fused multiply-add).
//! Up to 16 bits the arithmetic is in f32, above in f64 with the result rounded to f32, because
//! 2^k−1 and the codes must be exact. A constant bucket (α = 0) quantizes to itself.
//!
//! Integer runtimes need other grids, on which zero lies exactly: see [`Grid`] and
//! [`crate::affine`].

use crate::affine::Affine;
use crate::error::{Error, Result};
use crate::graph::{Graph, Op};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// 32 bits mean: not quantized.
pub const FULL_PRECISION_BITS: u32 = 32;

/// How the weights of a layer are cut into buckets, each with its own range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Buckets {
    /// One for the whole layer.
    Layer,
    /// One for each output channel.
    Channel,
    /// Consecutive runs of this many weights, the last one shorter. (Padding it with its last
    /// value, as the documentation says, changes neither its minimum nor its maximum, so nothing is
    /// stored for the padding.)
    Split(usize),
}

impl Buckets {
    /// Weights in a bucket (the last may hold fewer), for a tensor whose first dimension is the
    /// output channel.
    pub fn size(self, shape: &[usize]) -> usize {
        let count: usize = shape.iter().product();
        match self {
            Self::Layer => count,
            Self::Channel => count / shape[0].max(1),
            Self::Split(size) => size.min(count),
        }
        .max(1)
    }

    /// How many buckets a tensor of this shape has.
    pub fn count(self, shape: &[usize]) -> usize {
        shape.iter().product::<usize>().div_ceil(self.size(shape))
    }
}

/// Where the values lie that the weights of a bucket may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grid {
    /// 2^k values from the bucket's minimum to its maximum; zero need not be one of them. 1 to 31
    /// bits.
    #[default]
    MinMax,
    /// 2^k − 1 values, as many below zero as above: what int8 kernels take. 2 to 16 bits.
    Symmetric,
    /// 2^k − 1 values over a range that holds zero, nudged so that zero is one of them, as
    /// TensorFlow's narrow range: what uint8 kernels take. 2 to 16 bits.
    Affine,
    /// At most 2^k values that follow no rule, in a table for each bucket. 1 to 8 bits.
    Codebook,
}

impl Grid {
    fn is_min_max(&self) -> bool {
        *self == Self::MinMax
    }

    /// Returns the fewest and the most bits of a code.
    pub fn bits(self) -> [u32; 2] {
        match self {
            Self::MinMax => [1, FULL_PRECISION_BITS - 1],
            Self::Symmetric | Self::Affine => [2, 16],
            Self::Codebook => [1, 8],
        }
    }
}

/// How the weights of a layer are quantized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightQuant {
    /// As the grid allows: see [`Grid::bits`].
    pub bits: u32,
    /// How they are cut into parts of one range each.
    pub buckets: Buckets,
    /// Where their values lie.
    #[serde(default, skip_serializing_if = "Grid::is_min_max")]
    pub grid: Grid,
}

/// How the output of a node is quantized: 2^k values over a range that holds zero
/// ([`Affine::of_range`]).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ActivationQuant {
    /// 1–31.
    pub bits: u32,
    /// Minimum and maximum tracked in training; `None` before the first batch. Frozen in
    /// evaluation.
    pub range: Option<[f32; 2]>,
}

/// Which nodes are quantized, and how. What is not in it stays in full precision.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct QuantPlan {
    /// By name of a layer node.
    pub weights: BTreeMap<String, WeightQuant>,
    /// By name of the node whose output it is: activation functions, or any node of a network for
    /// integer runtimes.
    pub activations: BTreeMap<String, ActivationQuant>,
}

impl QuantPlan {
    /// The same bits everywhere: all layers but the first and the last (unless `all_layers`), all
    /// activations. 32 bits leave weights or activations alone.
    pub fn uniform(graph: &Graph, weight_bits: u32, activation_bits: u32, buckets: Buckets, all_layers: bool) -> Self {
        let mut plan = Self::default();
        if weight_bits < FULL_PRECISION_BITS {
            let quant = WeightQuant { bits: weight_bits, buckets, grid: Grid::MinMax };
            let layers = Self::quantizable(graph, all_layers);
            plan.weights = layers.into_iter().map(|name| (name, quant)).collect();
        }
        if activation_bits < FULL_PRECISION_BITS {
            let quant = ActivationQuant { bits: activation_bits, range: None };
            let names = graph.activations().into_iter().map(|id| graph.nodes[id].name.clone());
            plan.activations = names.map(|name| (name, quant)).collect();
        }
        plan
    }

    /// Names of the layers that a plan may quantize, in order: all, or all but the first and the
    /// last.
    pub fn quantizable(graph: &Graph, all_layers: bool) -> Vec<String> {
        let layers = graph.layers();
        let kept = match layers.as_slice() {
            all if all_layers => all,
            [_, middle @ .., _] => middle,
            _ => &[],
        };
        kept.iter().map(|id| graph.nodes[*id].name.clone()).collect()
    }

    /// # Errors
    /// A name that is no layer (or no node) of the graph, or bits out of 1–31, or of what the grid
    /// holds.
    pub fn validate(&self, graph: &Graph) -> Result<()> {
        let nodes = graph.by_name();
        let check = |name: &str, bits: u32, what: &str, fits: fn(&Op) -> bool| {
            if !nodes.get(name).is_some_and(|node| fits(&node.op)) {
                return Err(Error::config(format!("`{name}` is no {what} of `{}`", graph.name)));
            }
            match bits {
                1..FULL_PRECISION_BITS => Ok(()),
                _ => Err(Error::config(format!("{what} `{name}`: {bits} bits; 1 to 31 can be stored"))),
            }
        };
        for (name, quant) in &self.weights {
            check(name, quant.bits, "layer", |op| op.is_layer())?;
            let [least, most] = quant.grid.bits();
            if !(least..=most).contains(&quant.bits) {
                let what = if quant.grid == Grid::Codebook { "codebook" } else { "grid with a zero point" };
                let problem = format!("layer `{name}`: {} bits; a {what} holds {least} to {most}", quant.bits);
                return Err(Error::config(problem));
            }
            if quant.buckets == Buckets::Split(0) {
                return Err(Error::config(format!("layer `{name}`: buckets of 0 weights")));
            }
        }
        for (name, quant) in &self.activations {
            check(name, quant.bits, "node", |_| true)?;
        }
        Ok(())
    }
}

/// 2^bits − 1, the largest code.
pub fn largest_code(bits: u32) -> u32 {
    ((1u64 << bits) - 1) as u32
}

/// The code of `x` in a bucket with minimum `beta` and width `alpha` > 0.
pub fn encode(x: f32, alpha: f32, beta: f32, bits: u32) -> u32 {
    let top = largest_code(bits);
    if bits <= 16 {
        let code = ((x - beta) / alpha * top as f32).round_ties_even();
        code.clamp(0.0, top as f32) as u32
    } else {
        let code = ((f64::from(x) - f64::from(beta)) / f64::from(alpha) * f64::from(top)).round_ties_even();
        code.clamp(0.0, f64::from(top)) as u32
    }
}

/// Q(x) of a code.
pub fn decode(code: u32, alpha: f32, beta: f32, bits: u32) -> f32 {
    let top = largest_code(bits);
    if bits <= 16 {
        code as f32 / top as f32 * alpha + beta
    } else {
        (f64::from(code) / f64::from(top) * f64::from(alpha) + f64::from(beta)) as f32
    }
}

/// Quantized weights: a code for each weight, and for each bucket two numbers or a table.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Quantized {
    /// As [`WeightQuant::bits`].
    pub bits: u32,
    /// Weights in a bucket; the last may hold fewer.
    pub bucket_size: usize,
    /// What the codes mean.
    pub grid: Grid,
    /// One for each weight, in the order of the weights; each below 2^`bits`.
    pub codes: Vec<u32>,
    /// Of each bucket `[α, β]`, or on the grids with a zero point `[scale, zero point]`; empty with
    /// codebooks.
    pub ranges: Vec<[f32; 2]>,
    /// Of each bucket the values that codes stand for, all of one length; empty on grids.
    pub codebooks: Vec<Vec<f32>>,
}

/// Quantizes weights, bucket by bucket.
///
/// With [`Grid::Codebook`] the weights are those of a quantizer already: their values become the
/// codebook.
///
/// # Errors
/// A weight that is not a finite number, or a range beyond f32; more different weights in a bucket
/// than its codebook holds.
pub fn quantize(weights: &[f32], bits: u32, bucket_size: usize, grid: Grid) -> Result<Quantized> {
    if grid == Grid::Codebook {
        return look_up(weights, bits, bucket_size);
    }
    let mut codes = Vec::with_capacity(weights.len());
    let mut ranges = Vec::with_capacity(weights.len().div_ceil(bucket_size));
    for bucket in weights.chunks(bucket_size) {
        let min = bucket.iter().copied().fold(f32::INFINITY, f32::min);
        let max = bucket.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let (alpha, beta) = (max - min, min);
        if !alpha.is_finite() || bucket.iter().any(|weight| weight.is_nan()) {
            return Err(Error::failed("the weights hold a value that is not a finite number"));
        }
        if grid != Grid::MinMax {
            let affine = Affine::of_weights([min, max], grid, bits);
            ranges.push([affine.scale, affine.zero_point as f32]);
            codes.extend(bucket.iter().map(|weight| affine.encode(*weight) as u32));
            continue;
        }
        ranges.push([alpha, beta]);
        match alpha {
            0.0 => codes.extend(std::iter::repeat_n(0, bucket.len())),
            alpha => codes.extend(bucket.iter().map(|weight| encode(*weight, alpha, beta, bits))),
        }
    }
    Ok(Quantized { bits, bucket_size, grid, codes, ranges, codebooks: Vec::new() })
}

fn look_up(weights: &[f32], bits: u32, bucket_size: usize) -> Result<Quantized> {
    let mut codes = Vec::with_capacity(weights.len());
    let mut codebooks = Vec::new();
    for (index, bucket) in weights.chunks(bucket_size).enumerate() {
        if !bucket.iter().all(|weight| weight.is_finite()) {
            return Err(Error::failed("the weights hold a value that is not a finite number"));
        }
        // Both zeros are one value.
        let mut codebook: Vec<f32> = bucket.iter().map(|weight| weight + 0.0).collect();
        codebook.sort_by(f32::total_cmp);
        codebook.dedup();
        if codebook.len() > 1 << bits {
            let (found, most) = (codebook.len(), 1 << bits);
            return Err(Error::failed(format!(
                "bucket {index} holds {found} different weights, and codes of {bits} bits tell {most} apart"
            )));
        }
        let code = |weight: &f32| codebook.partition_point(|value| value < weight) as u32;
        codes.extend(bucket.iter().map(code));
        codebooks.push(codebook);
    }
    let longest = codebooks.iter().map(Vec::len).max().unwrap_or(0);
    for codebook in &mut codebooks {
        let last = codebook.last().copied().unwrap_or(0.0);
        codebook.resize(longest, last);
    }
    Ok(Quantized { bits, bucket_size, grid: Grid::Codebook, codes, ranges: Vec::new(), codebooks })
}

impl Quantized {
    /// Q(x) of every weight.
    pub fn values(&self) -> Vec<f32> {
        if self.grid == Grid::Codebook {
            let buckets = self.codes.chunks(self.bucket_size).zip(&self.codebooks);
            return buckets.flat_map(|(codes, book)| codes.iter().map(|code| book[*code as usize])).collect();
        }
        let decode = |code: u32, [first, second]: [f32; 2]| match self.grid {
            Grid::MinMax => decode(code, first, second, self.bits),
            // Codes and zero points of up to 16 bits are exact in f32.
            _ => first * (code as f32 - second),
        };
        let buckets = self.codes.chunks(self.bucket_size).zip(&self.ranges);
        buckets.flat_map(|(codes, range)| codes.iter().map(|code| decode(*code, *range))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn two_bits_by_hand() {
        let quantized = quantize(&[-1.0, -0.4, 0.4, 2.0], 2, 4, Grid::MinMax).unwrap();
        assert_eq!(quantized.codes, [0, 1, 1, 3]);
        assert_eq!(quantized.values(), [-1.0, 0.0, 0.0, 2.0]);
    }

    #[test]
    fn a_constant_bucket_is_itself() {
        assert_eq!(quantize(&[0.3; 5], 3, 5, Grid::MinMax).unwrap().values(), [0.3; 5]);
    }

    #[test]
    fn a_codebook_that_is_too_small_says_so() {
        let quantized = quantize(&[-0.5, 0.0, 0.5, -0.0], 2, 4, Grid::Codebook).unwrap();
        assert_eq!(
            (quantized.codebooks[0].as_slice(), quantized.codes.as_slice()),
            (&[-0.5, 0.0, 0.5][..], &[0, 1, 2, 1][..])
        );
        let error = quantize(&[1.0, 2.0, 3.0, 1.0], 1, 4, Grid::Codebook).unwrap_err().to_string();
        assert!(error.contains("3 different weights") && error.contains("1 bits"), "{error}");
    }

    #[test]
    fn not_a_number_is_refused() {
        for bad in [f32::NAN, f32::INFINITY] {
            assert!(quantize(&[0.0, bad, 1.0], 4, 3, Grid::MinMax).is_err());
        }
    }

    proptest! {
        #[test]
        fn q_is_near_x_and_within_range(
            weights in prop::collection::vec(-1e3f32..1e3, 1..200),
            bits in 1u32..=31,
            size in 1usize..64,
        ) {
            let quantized = quantize(&weights, bits, size, Grid::MinMax).unwrap();
            let values = quantized.values();
            for (bucket, (weights, values)) in weights.chunks(size).zip(values.chunks(size)).enumerate() {
                let [alpha, beta] = quantized.ranges[bucket];
                let step = f64::from(alpha) / f64::from(largest_code(bits));
                let slack = f64::from(alpha.abs().max(beta.abs())) * 4.0 * f64::from(f32::EPSILON);
                for (x, q) in weights.iter().zip(values) {
                    prop_assert!((f64::from(*x) - f64::from(*q)).abs() <= step / 2.0 + slack);
                }
            }
        }

        #[test]
        fn a_codebook_holds_every_weight_exactly(
            picks in prop::collection::vec(0usize..5, 1..200),
            book in prop::array::uniform5(-1e3f32..1e3),
            size in 1usize..64,
        ) {
            let weights: Vec<f32> = picks.iter().map(|pick| book[*pick]).collect();
            let quantized = quantize(&weights, 3, size, Grid::Codebook).unwrap();
            prop_assert_eq!(quantized.values(), weights);
            prop_assert!(quantized.codebooks.iter().all(|book| book.len() == quantized.codebooks[0].len()));
        }

        #[test]
        fn zero_is_on_the_grids_of_integer_runtimes(
            mut weights in prop::collection::vec(-1e3f32..1e3, 1..200),
            bits in 2u32..=16,
            size in 1usize..64,
        ) {
            weights[0] = 0.0;
            for grid in [Grid::Symmetric, Grid::Affine] {
                let quantized = quantize(&weights, bits, size, grid).unwrap();
                let values = quantized.values();
                prop_assert_eq!(values[0], 0.0);
                for (index, (x, q)) in weights.iter().zip(&values).enumerate() {
                    let [scale, zero_point] = quantized.ranges[index / size];
                    prop_assert!((x - q).abs() <= scale * 1.01, "nudging costs up to half a step, rounding the other half");
                    prop_assert!(zero_point.fract() == 0.0);
                }
            }
        }

        #[test]
        fn buckets_cover_the_tensor(out in 1usize..9, rest in 1usize..50, size in 1usize..70) {
            for buckets in [Buckets::Layer, Buckets::Channel, Buckets::Split(size)] {
                let (count, size) = (buckets.count(&[out, rest]), buckets.size(&[out, rest]));
                prop_assert!(count * size >= out * rest && (count - 1) * size < out * rest);
            }
        }
    }
}
