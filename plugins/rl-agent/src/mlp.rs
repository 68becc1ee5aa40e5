//! A small multilayer perceptron on the CPU: dense layers, each but the last followed by layer
//! normalisation (Ba et al. 2016, arXiv 1607.06450) and ReLU. Forward and backward in f32, in a
//! fixed order of operations, so that results repeat bit for bit.

use crate::random::Random;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Added to the variance of a layer's values.
const NORM_EPSILON: f32 = 1e-5;
/// The last layer starts within this, so that first actions and values lie near zero (Lillicrap et
/// al. 2015, §7).
const LAST_LAYER_INIT: f32 = 3e-3;
/// Partial sums of a dot product, side by side in vector registers.
const LANES: usize = 8;

/// What parameters are, as far as noise and decay treat them differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Of a dense layer, `[inputs][outputs]`.
    Weight,
    /// Of a dense layer.
    Bias,
    /// Gain and shift of a layer normalisation.
    Norm,
}

/// A run of parameters of one role in one layer that has `inputs` inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    pub role: Role,
    pub range: Range<usize>,
    pub inputs: usize,
}

/// All parameters in one vector: per layer weights, biases, and if it is no last one, gains and
/// shifts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mlp {
    /// Inputs, hidden layers, outputs.
    widths: Vec<usize>,
    values: Vec<f32>,
}

/// Where the parameters of a layer lie.
struct Layer {
    inputs: usize,
    outputs: usize,
    weights: Range<usize>,
    biases: Range<usize>,
    /// Gains and shifts; `None` for the last layer.
    norm: Option<[Range<usize>; 2]>,
}

/// What [`Mlp::backward`] needs of a forward pass.
pub struct Trace {
    samples: usize,
    layers: Vec<LayerTrace>,
    /// `[samples][outputs]`.
    pub output: Vec<f32>,
}

struct LayerTrace {
    input: Vec<f32>,
    /// Before gain and shift.
    normed: Vec<f32>,
    /// 1 / standard deviation, of each sample.
    scale: Vec<f32>,
}

impl Mlp {
    /// `hidden` layers may be none. Weights and biases start uniform within ±1/√inputs (the last
    /// layer ±3e-3), gains at 1, shifts at 0.
    pub fn new(inputs: usize, hidden: &[usize], outputs: usize, random: &mut Random) -> Self {
        let widths = [&[inputs], hidden, &[outputs]].concat();
        let mut mlp = Self { widths, values: Vec::new() };
        let layers = mlp.layers();
        for layer in &layers {
            let bound = match layer.norm {
                Some(_) => 1.0 / (layer.inputs as f32).sqrt(),
                None => LAST_LAYER_INIT,
            };
            mlp.values.extend((0..layer.weights.len() + layer.biases.len()).map(|_| bound * random.signed()));
            if layer.norm.is_some() {
                mlp.values.extend(std::iter::repeat_n(1.0, layer.outputs));
                mlp.values.extend(std::iter::repeat_n(0.0, layer.outputs));
            }
        }
        mlp
    }

    pub fn values(&self) -> &[f32] {
        &self.values
    }

    pub fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// It has these layers, and as many parameters as they need.
    pub fn fits(&self, inputs: usize, hidden: &[usize], outputs: usize) -> bool {
        self.widths == [&[inputs], hidden, &[outputs]].concat()
            && self.segments().last().is_some_and(|last| last.range.end == self.values.len())
    }

    fn layers(&self) -> Vec<Layer> {
        let mut end = 0;
        let mut take = |count| {
            end += count;
            end - count..end
        };
        let last = self.widths.len().saturating_sub(2);
        let pairs = self.widths.windows(2).enumerate();
        pairs
            .map(|(index, pair)| {
                let (inputs, outputs) = (pair[0], pair[1]);
                let (weights, biases) = (take(inputs * outputs), take(outputs));
                let norm = (index < last).then(|| [take(outputs), take(outputs)]);
                Layer { inputs, outputs, weights, biases, norm }
            })
            .collect()
    }

    /// The parameters by role, in order, without gaps.
    pub fn segments(&self) -> Vec<Segment> {
        let of_layer = |layer: Layer| {
            let inputs = layer.inputs;
            let dense = [(Role::Weight, layer.weights), (Role::Bias, layer.biases)];
            let norm = layer.norm.into_iter().flatten().map(|range| (Role::Norm, range));
            dense.into_iter().chain(norm).map(move |(role, range)| Segment { role, range, inputs })
        };
        self.layers().into_iter().flat_map(of_layer).collect()
    }

    /// Input `[samples][inputs]` to output `[samples][outputs]`.
    pub fn infer(&self, input: Vec<f32>, samples: usize) -> Vec<f32> {
        self.forward(input, samples).output
    }

    /// As [`Mlp::infer`], keeping what the way back needs.
    pub fn forward(&self, input: Vec<f32>, samples: usize) -> Trace {
        let mut traces = Vec::with_capacity(self.widths.len() - 1);
        let mut current = input;
        for layer in self.layers() {
            let mut out = self.dense(&layer, &current, samples);
            let mut trace = LayerTrace { input: current, normed: Vec::new(), scale: Vec::new() };
            if let Some([gains, shifts]) = layer.norm {
                trace.scale = normalise(&mut out, layer.outputs);
                trace.normed = out.clone();
                for row in out.chunks_exact_mut(layer.outputs) {
                    let scales = self.values[gains.clone()].iter().zip(&self.values[shifts.clone()]);
                    row.iter_mut().zip(scales).for_each(|(x, (gain, shift))| *x = (*x * gain + shift).max(0.0));
                }
            }
            traces.push(trace);
            current = out;
        }
        Trace { samples, layers: traces, output: current }
    }

    fn dense(&self, layer: &Layer, input: &[f32], samples: usize) -> Vec<f32> {
        let (weights, biases) = (&self.values[layer.weights.clone()], &self.values[layer.biases.clone()]);
        let mut out = Vec::with_capacity(samples * layer.outputs);
        for row in input.chunks_exact(layer.inputs) {
            let start = out.len();
            out.extend_from_slice(biases);
            add_weighted(&mut out[start..], row, weights);
        }
        out
    }

    /// From the gradient with respect to the output, `[samples][outputs]`, to that with respect to
    /// the input. Adds the one with respect to the parameters to `gradient`, where it is asked for.
    pub fn backward(&self, trace: &Trace, d_output: Vec<f32>, mut gradient: Option<&mut [f32]>) -> Vec<f32> {
        let mut d_out = d_output;
        let mut after: Option<&[f32]> = None;
        for (layer, trace_of) in self.layers().iter().zip(&trace.layers).rev() {
            if let (Some([gains, shifts]), Some(activated)) = (&layer.norm, after) {
                // ReLU: no gradient where nothing came out.
                d_out.iter_mut().zip(activated).filter(|(_, out)| **out <= 0.0).for_each(|(d, _)| *d = 0.0);
                if let Some(gradient) = gradient.as_deref_mut() {
                    let rows = d_out.chunks_exact(layer.outputs).zip(trace_of.normed.chunks_exact(layer.outputs));
                    for (d, normed) in rows {
                        let products = d.iter().zip(normed);
                        gradient[gains.clone()].iter_mut().zip(products).for_each(|(g, (d, x))| *g += d * x);
                    }
                    add_weighted(&mut gradient[shifts.clone()], &vec![1.0; trace.samples], &d_out);
                }
                back_through_norm(&mut d_out, &self.values[gains.clone()], &trace_of.normed, &trace_of.scale);
            }
            if let Some(gradient) = gradient.as_deref_mut() {
                add_weighted(&mut gradient[layer.biases.clone()], &vec![1.0; trace.samples], &d_out);
                let by_input = transposed(&trace_of.input, layer.inputs);
                let columns = gradient[layer.weights.clone()].chunks_exact_mut(layer.outputs);
                columns
                    .zip(by_input.chunks_exact(trace.samples))
                    .for_each(|(column, x)| add_weighted(column, x, &d_out));
            }
            let by_output = transposed(&self.values[layer.weights.clone()], layer.outputs);
            let mut d_in = vec![0.0; trace.samples * layer.inputs];
            let rows = d_in.chunks_exact_mut(layer.inputs).zip(d_out.chunks_exact(layer.outputs));
            rows.for_each(|(d_in, d)| add_weighted(d_in, d, &by_output));
            d_out = d_in;
            after = Some(&trace_of.input);
        }
        d_out
    }
}

/// `out += Σ weights[j] · rows[j]`, where `rows` holds for each weight a row as long as `out`. Four
/// rows at a time, as most of the time goes into reading and writing `out`.
fn add_weighted(out: &mut [f32], weights: &[f32], rows: &[f32]) {
    let width = out.len();
    let (blocks, rest) = weights.as_chunks::<4>();
    let split = rows.len() - rest.len() * width;
    for ([a, b, c, d], rows) in blocks.iter().zip(rows[..split].chunks_exact(4 * width)) {
        let (first, last) = rows.split_at(2 * width);
        let ((ra, rb), (rc, rd)) = (first.split_at(width), last.split_at(width));
        let rows = ra.iter().zip(rb).zip(rc.iter().zip(rd));
        for (out, ((ra, rb), (rc, rd))) in out.iter_mut().zip(rows) {
            *out += (a * ra + b * rb) + (c * rc + d * rd);
        }
    }
    for (weight, row) in rest.iter().zip(rows[split..].chunks_exact(width)) {
        out.iter_mut().zip(row).for_each(|(out, value)| *out += weight * value);
    }
}

/// Rows of `width` values as columns.
fn transposed(values: &[f32], width: usize) -> Vec<f32> {
    (0..width).flat_map(|column| values.iter().skip(column).step_by(width).copied()).collect()
}

/// In a fixed order that fills vector registers.
fn dot(left: &[f32], right: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    let (left_lanes, right_lanes) = (left.chunks_exact(LANES), right.chunks_exact(LANES));
    let rest: f32 = left_lanes.remainder().iter().zip(right_lanes.remainder()).map(|(l, r)| l * r).sum();
    for (left, right) in left_lanes.zip(right_lanes) {
        sums.iter_mut().zip(left.iter().zip(right)).for_each(|(sum, (l, r))| *sum += l * r);
    }
    sums.iter().sum::<f32>() + rest
}

/// Each row of `width` values to mean 0 and variance 1; returns what each row was multiplied with.
fn normalise(values: &mut [f32], width: usize) -> Vec<f32> {
    let rows = values.chunks_exact_mut(width);
    rows.map(|row| {
        let mean = row.iter().sum::<f32>() / width as f32;
        row.iter_mut().for_each(|value| *value -= mean);
        let scale = 1.0 / (dot(row, row) / width as f32 + NORM_EPSILON).sqrt();
        row.iter_mut().for_each(|value| *value *= scale);
        scale
    })
    .collect()
}

/// The gradient before gain and normalisation from that after: with g = gain·d and x̂ the normed
/// values, scale · (g − mean(g) − x̂·mean(g·x̂)).
fn back_through_norm(d: &mut [f32], gains: &[f32], normed: &[f32], scale: &[f32]) {
    let width = gains.len();
    for ((d, normed), scale) in d.chunks_exact_mut(width).zip(normed.chunks_exact(width)).zip(scale) {
        d.iter_mut().zip(gains).for_each(|(d, gain)| *d *= gain);
        let mean = d.iter().sum::<f32>() / width as f32;
        let along = dot(d, normed) / width as f32;
        d.iter_mut().zip(normed).for_each(|(d, normed)| *d = scale * (*d - mean - normed * along));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Σ weight·output: a loss whose gradient with respect to the output is `weights`.
    fn loss(mlp: &Mlp, input: &[f32], samples: usize, weights: &[f32]) -> f64 {
        let output = mlp.infer(input.to_vec(), samples);
        output.iter().zip(weights).map(|(out, weight)| f64::from(out * weight)).sum()
    }

    /// Central differences at every `pick`-th value; a few may sit at the kink of a ReLU.
    fn disagreements(analytic: &[f32], pick: usize, mut at: impl FnMut(usize, f32) -> f64) -> usize {
        let step = 4e-3;
        let wrong = |index: &usize| {
            let numeric = (at(*index, step) - at(*index, -step)) / (2.0 * f64::from(step));
            let analytic = f64::from(analytic[*index]);
            (numeric - analytic).abs() > 0.02 * (1.0 + numeric.abs().max(analytic.abs()))
        };
        (0..analytic.len()).step_by(pick).filter(wrong).count()
    }

    fn check_gradients(hidden: &[usize], seed: u64) {
        let mut random = Random::new(seed);
        let (inputs, outputs, samples) = (5, 2, 3);
        let mut mlp = Mlp::new(inputs, hidden, outputs, &mut random);
        // Away from the start, where the last layer is nearly zero, gains are equal and shifts are
        // nothing.
        mlp.values_mut().iter_mut().for_each(|value| *value += 0.4 * random.signed());
        let input: Vec<f32> = (0..samples * inputs).map(|_| random.signed()).collect();
        let weights: Vec<f32> = (0..samples * outputs).map(|_| random.signed()).collect();
        let mut gradient = vec![0.0; mlp.values().len()];
        let trace = mlp.forward(input.clone(), samples);
        let d_input = mlp.backward(&trace, weights.clone(), Some(&mut gradient));
        assert_eq!(d_input, mlp.backward(&trace, weights.clone(), None));

        let wrong = disagreements(&gradient, 1, |index, step| {
            let mut moved = mlp.clone();
            moved.values_mut()[index] += step;
            loss(&moved, &input, samples, &weights)
        });
        assert!(wrong * 20 <= gradient.len(), "{wrong} of {} parameters", gradient.len());
        let wrong = disagreements(&d_input, 1, |index, step| {
            let mut moved = input.clone();
            moved[index] += step;
            loss(&mlp, &moved, samples, &weights)
        });
        assert!(wrong * 10 <= d_input.len(), "{wrong} of {} inputs", d_input.len());
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        for seed in 0..4 {
            check_gradients(&[], seed);
            check_gradients(&[8], seed);
            check_gradients(&[12, 9], seed);
            check_gradients(&[6, 7, 11], seed);
        }
    }

    #[test]
    fn gradients_add_up_over_samples() {
        let mut random = Random::new(3);
        let mlp = Mlp::new(3, &[10, 10], 1, &mut random);
        let input: Vec<f32> = (0..12).map(|_| random.signed()).collect();
        let gradient_of = |input: &[f32]| {
            let samples = input.len() / 3;
            let mut gradient = vec![0.0; mlp.values().len()];
            mlp.backward(&mlp.forward(input.to_vec(), samples), vec![1.0; samples], Some(&mut gradient));
            gradient
        };
        let together = gradient_of(&input);
        let mut apart = vec![0.0; together.len()];
        input.chunks(3).for_each(|sample| add_weighted(&mut apart, &[1.0], &gradient_of(sample)));
        assert!(together.iter().zip(&apart).all(|(left, right)| (left - right).abs() < 1e-5));
    }

    #[test]
    fn segments_cover_all_parameters() {
        let mlp = Mlp::new(4, &[6, 5], 2, &mut Random::new(0));
        let mut end = 0;
        for segment in mlp.segments() {
            assert_eq!(segment.range.start, end);
            end = segment.range.end;
        }
        assert_eq!(end, mlp.values().len());
        let weights = mlp.segments().into_iter().filter(|segment| segment.role == Role::Weight);
        assert_eq!(weights.map(|segment| segment.range.len()).collect::<Vec<_>>(), [24, 30, 10]);
        assert!(mlp.fits(4, &[6, 5], 2) && !mlp.fits(4, &[5, 6], 2) && !mlp.fits(4, &[6, 5], 1));
    }

    #[test]
    fn weighted_rows_by_hand() {
        let rows: Vec<f32> = (0..14).map(|value| value as f32).collect();
        let mut out = [100.0, 200.0];
        add_weighted(&mut out, &[1.0, 0.0, 2.0, 0.0, 1.0, -1.0, 3.0], &rows);
        assert_eq!(out, [100.0 + 8.0 + 8.0 - 10.0 + 36.0, 200.0 + 1.0 + 10.0 + 9.0 - 11.0 + 39.0]);
        assert_eq!(transposed(&rows[..6], 3), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    }

    proptest! {
        #[test]
        fn a_dot_product_is_the_sum_of_products(values in prop::collection::vec((-10f32..10.0, -10f32..10.0), 0..70)) {
            let (left, right): (Vec<f32>, Vec<f32>) = values.iter().copied().unzip();
            let exact: f64 = values.iter().map(|(l, r)| f64::from(*l) * f64::from(*r)).sum();
            prop_assert!((f64::from(dot(&left, &right)) - exact).abs() < 1e-2);
        }

        #[test]
        fn layer_normalisation_gives_mean_0_and_variance_1(values in prop::collection::vec(-10f32..10.0, 12)) {
            let mut normed = values.clone();
            prop_assume!(values.chunks(6).all(|row| row.iter().any(|value| (value - row[0]).abs() > 0.5)));
            normalise(&mut normed, 6);
            for row in normed.chunks(6) {
                prop_assert!(row.iter().sum::<f32>().abs() < 1e-4);
                prop_assert!((row.iter().map(|value| value * value).sum::<f32>() / 6.0 - 1.0).abs() < 1e-2);
            }
        }
    }
}
