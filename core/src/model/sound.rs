//! The numbers of a model are checked where it is read and where it is saved: what computes with a
//! weight that is no number, or a variance below zero, gives figures that mean nothing.

use super::{Model, ModelMeta};
use crate::error::{Error, Result};
use crate::graph::{BatchNorm, Op, Param, Role};
use crate::quant::{Grid, Quantized, largest_code};
use crate::tensors::Stored;

/// What to do about a model that describes itself wrongly.
const META_ADVICE: &str = "the file was changed, or another program wrote it: train again, or give another model";
/// What to do about a model with numbers that are none.
const ADVICE: &str =
    "its training diverged or the file was changed: train again, with a lower learning rate, or give another model";

/// That mean, standard deviation, accuracy, labels and activation ranges make sense. (The header is
/// JSON, which would turn numbers that are not finite into nulls.)
///
/// # Errors
/// Says what is wrong, with its value.
pub(super) fn check_meta(model: &Model) -> Result<()> {
    let fail = |problem: String| Err(Error::failed(format!("{problem} (of `{}`); {META_ADVICE}", model.graph.name)));
    for (name, quant) in &model.plan.activations {
        let Some([min, max]) = quant.range else { continue };
        if !(min.is_finite() && max.is_finite()) {
            return fail(format!("the activation range {min} to {max} of node `{name}` is not finite"));
        }
        if min > max {
            return fail(format!("the activation range of node `{name}` goes from {min} to {max}, which is less"));
        }
    }
    let ModelMeta { mean, std, top1, labels, .. } = &model.meta;
    let channels = model.graph.input_shape()[0];
    for (what, numbers) in [("mean", mean), ("std", std)] {
        if !numbers.is_empty() && numbers.len() != channels {
            return fail(format!("`{what}` has {} numbers for {channels} channels", numbers.len()));
        }
        if let Some((channel, number)) = numbers.iter().enumerate().find(|(_, number)| !number.is_finite()) {
            return fail(format!("`{what}` of channel {channel} is {number}, not a finite number"));
        }
    }
    if let Some((channel, number)) = std.iter().enumerate().find(|(_, number)| **number <= 0.0) {
        return fail(format!("`std` of channel {channel} is {number}, not positive"));
    }
    if let Some(top1) = top1.filter(|top1| !(0.0..=1.0).contains(top1)) {
        return fail(format!("the accuracy `top1` is {top1}, not from 0 to 1"));
    }
    let classes = model.classes()?;
    if !labels.is_empty() && labels.len() != classes {
        return fail(format!("{} labels are named for the {classes} outputs", labels.len()));
    }
    Ok(())
}

/// That the values of all tensors, packed or not, are finite, variances are not negative, and
/// scales are positive.
///
/// # Errors
/// Names the tensor, how many of its numbers are wrong, the first of them, and what to do.
pub(super) fn check_tensors(model: &Model, params: &[Param]) -> Result<()> {
    for param in params {
        let problem = match model.tensors.get(&param.name) {
            Some(Stored::Full { values, .. }) => {
                let eps = match model.graph.nodes[param.node].op {
                    Op::BatchNorm(BatchNorm { eps }) if param.role == Role::RunningVar => Some(eps),
                    _ => None,
                };
                values_problem(values, eps)
            }
            Some(Stored::Packed { quantized, .. }) => ranges_problem(quantized),
            Some(Stored::Bytes(_)) | None => None,
        };
        if let Some(problem) = problem {
            let (name, graph) = (&param.name, &model.graph.name);
            return Err(Error::failed(format!("tensor `{name}` of `{graph}` {problem}; {ADVICE}")));
        }
    }
    Ok(())
}

/// `eps`: of the batch normalisation whose variances these are.
fn values_problem(values: &[f32], eps: Option<f64>) -> Option<String> {
    if let Some(problem) = first_wrong(values, |value| value.is_finite(), "not finite") {
        return Some(problem);
    }
    let eps = eps?;
    first_wrong(values, |value| value >= 0.0, "negative: variances are 0 or more").or_else(|| {
        first_wrong(values, |value| f64::from(value) + eps > 0.0, "no variance to divide by, with an ε of 0")
    })
}

fn first_wrong(values: &[f32], is_good: impl Fn(f32) -> bool, what: &str) -> Option<String> {
    let first = values.iter().position(|value| !is_good(*value))?;
    let count = values[first..].iter().filter(|value| !is_good(**value)).count();
    let (total, value) = (values.len(), values[first]);
    Some(match count {
        1 => format!("holds {value} at index {first}, {what}"),
        _ => format!("holds {count} of {total} values that are {what}, the first {value} at index {first}"),
    })
}

fn first_not_finite(codebooks: &[Vec<f32>]) -> Option<(usize, f32)> {
    let values = codebooks.iter().enumerate().flat_map(|(bucket, book)| book.iter().map(move |value| (bucket, *value)));
    values.into_iter().find(|(_, value)| !value.is_finite())
}

fn ranges_problem(quantized: &Quantized) -> Option<String> {
    if let Some((bucket, value)) = first_not_finite(&quantized.codebooks) {
        return Some(format!("has the value {value} in the codebook of bucket {bucket}, which no weight has"));
    }
    let top = largest_code(quantized.bits) as f32;
    let is_good = |[first, second]: [f32; 2]| match quantized.grid {
        // α and β: the largest value is their sum.
        Grid::MinMax => first >= 0.0 && second.is_finite() && (first + second).is_finite(),
        // Scale and zero point: the zero point is one of the codes.
        _ => first > 0.0 && (first * top).is_finite() && second.fract() == 0.0 && (0.0..=top).contains(&second),
    };
    let (bucket, [first, second]) = quantized.ranges.iter().enumerate().find(|(_, range)| !is_good(**range))?;
    let count = quantized.ranges.iter().filter(|range| !is_good(**range)).count();
    let words = match quantized.grid {
        Grid::MinMax => format!("the width {first} and the minimum {second}"),
        _ => format!("the scale {first} and the zero point {second}"),
    };
    Some(format!(
        "has {words} in bucket {bucket}, which no weights have ({count} of {} buckets)",
        quantized.ranges.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Graph, GraphBuilder, Linear};
    use crate::model::KIND;
    use crate::quant::{ActivationQuant, Buckets, QuantPlan, WeightQuant};
    use crate::tensors::TensorFile;
    use std::path::Path;

    fn graph() -> Graph {
        let mut net = GraphBuilder::new("small", [2, 3, 3]);
        let conv = net.conv("conv", net.input(), 3, 3, 1, 1);
        let norm = net.batch_norm("bn", conv, 1e-5);
        let relu = net.relu("relu", norm);
        net.add("fc", Linear { out: 2, bias: true }, &[relu]);
        net.finish().unwrap()
    }

    fn model(grid: Grid) -> Model {
        let graph = graph();
        let quant = WeightQuant { bits: 4, buckets: Buckets::Channel, grid };
        let plan = QuantPlan {
            weights: [("conv".to_owned(), quant)].into(),
            activations: [("relu".to_owned(), ActivationQuant { bits: 8, range: Some([0.0, 4.0]) })].into(),
        };
        let meta = ModelMeta {
            net: "net".into(),
            learner: "learner".into(),
            labels: vec!["cat".into(), "dog".into()],
            mean: vec![1.0, 2.0],
            std: vec![3.0, 4.0],
            top1: Some(0.5),
            ..ModelMeta::default()
        };
        let values = graph.params().unwrap().into_iter().map(|param| {
            let count = param.shape.iter().product::<usize>();
            (param.name, (0..count).map(|index| 0.1 + index as f32).collect())
        });
        let values = values.collect();
        Model::new(graph, plan, meta, values).unwrap()
    }

    /// What saving says of a changed model, and reading one that was written all the same.
    fn said(grid: Grid, change: impl FnOnce(&mut Model)) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bad.ckpt");
        let mut model = model(grid);
        change(&mut model);
        let saving = model.save(&path).unwrap_err().to_string();
        assert!(!path.exists(), "nothing is written");
        assert!(saving.contains("cannot save") && saving.contains("bad.ckpt"), "{saving}");
        write_unchecked(&model, &path);
        let reading = Model::load(&path).unwrap_err();
        assert!(reading.to_string().contains("bad.ckpt"), "{reading}");
        let (saving, reading) = (saving.split_once(": ").unwrap().1.to_owned(), reading.chain()[1].clone());
        assert_eq!(saving, reading);
        assert!(reading.contains("`small`") && reading.contains("train again"), "{reading}");
        reading
    }

    fn write_unchecked(model: &Model, path: &Path) {
        let header = crate::model::header(&model.graph, &model.plan, &model.meta).unwrap();
        TensorFile { kind: KIND.into(), header, tensors: model.tensors.clone() }.write(path).unwrap();
    }

    fn set(model: &mut Model, tensor: &str, index: usize, value: f32) {
        let Some(Stored::Full { values, .. }) = model.tensors.get_mut(tensor) else { panic!("`{tensor}` is not full") };
        values[index] = value;
    }

    fn range(model: &mut Model, bucket: usize, range: [f32; 2]) {
        let Some(Stored::Packed { quantized, .. }) = model.tensors.get_mut("conv.weight") else { panic!("not packed") };
        quantized.ranges[bucket] = range;
    }

    #[test]
    fn values_that_are_not_finite_are_refused_with_tensor_index_and_count() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let one = said(Grid::MinMax, |model| set(model, "fc.weight", 5, bad));
            assert!(
                one.contains(&format!("tensor `fc.weight` of `small` holds {bad} at index 5, not finite")),
                "{one}"
            );
        }
        let several =
            said(Grid::MinMax, |model| (1..3).for_each(|index| set(model, "bn.running_mean", index, f32::NAN)));
        assert!(several.contains("`bn.running_mean`") && several.contains("holds 2 of 3 values"), "{several}");
    }

    #[test]
    fn variances_below_zero_are_refused() {
        let text = said(Grid::MinMax, |model| set(model, "bn.running_var", 1, -0.5));
        assert!(text.contains("`bn.running_var`") && text.contains("holds -0.5 at index 1, negative"), "{text}");
        // ε makes 0 a variance to divide by.
        let mut dead = model(Grid::MinMax);
        set(&mut dead, "bn.running_var", 0, 0.0);
        dead.check().unwrap();
        let Op::BatchNorm(BatchNorm { eps }) = &mut dead.graph.nodes[2].op else { panic!("not the normalisation") };
        *eps = 0.0;
        assert!(dead.check().unwrap_err().to_string().contains("no variance to divide by"));
    }

    #[test]
    fn ranges_of_buckets_that_no_weights_have_are_refused() {
        for bad in [[f32::NAN, 0.0], [-1.0, 0.0], [1.0, f32::INFINITY], [3e38, 3e38]] {
            let text = said(Grid::MinMax, |model| range(model, 2, bad));
            assert!(text.contains("`conv.weight`") && text.contains("in bucket 2"), "{text}");
        }
        for grid in [Grid::Symmetric, Grid::Affine] {
            for bad in [[0.0, 7.0], [-0.5, 7.0], [f32::NAN, 7.0], [3e38, 7.0], [0.5, 7.5], [0.5, 16.0], [0.5, -1.0]] {
                let text = said(grid, |model| range(model, 0, bad));
                assert!(text.contains("the scale") && text.contains("in bucket 0"), "{grid:?} {bad:?} {text}");
            }
        }
    }

    #[test]
    fn activation_ranges_and_meta_data_are_checked() {
        let activation = |range| {
            said(Grid::MinMax, |model| {
                model.plan.activations.get_mut("relu").unwrap().range = Some(range);
            })
        };
        assert!(activation([4.0, 0.0]).contains("from 4 to 0, which is less"));
        let meta = |change: fn(&mut ModelMeta)| said(Grid::MinMax, |model| change(&mut model.meta));
        assert!(meta(|meta| meta.std[1] = 0.0).contains("`std` of channel 1 is 0, not positive"));
        assert!(meta(|meta| meta.std[0] = -1.0).contains("not positive"));
        assert!(meta(|meta| meta.mean.push(1.0)).contains("`mean` has 3 numbers for 2 channels"));
        assert!(meta(|meta| meta.std.truncate(1)).contains("`std` has 1 numbers for 2 channels"));
        assert!(meta(|meta| meta.top1 = Some(1.5)).contains("`top1` is 1.5"));
        assert!(meta(|meta| meta.labels.truncate(1)).contains("1 labels are named for the 2 outputs"));
        // What JSON cannot hold comes back as nothing, so that only saving can say it.
        let mut unsound = model(Grid::MinMax);
        unsound.meta.mean[0] = f32::NAN;
        assert!(unsound.check().unwrap_err().to_string().contains("`mean` of channel 0 is NaN"));
        let mut unsound = model(Grid::MinMax);
        unsound.plan.activations.get_mut("relu").unwrap().range = Some([0.0, f32::INFINITY]);
        assert!(unsound.check().unwrap_err().to_string().contains("node `relu` is not finite"));
    }

    #[test]
    fn how_a_model_is_quantized_in_words() {
        let mut model = model(Grid::MinMax);
        assert_eq!(model.quantization().unwrap(), "weights in 4 bits, activations in 8 bits");
        model.plan = QuantPlan::default();
        assert_eq!(model.quantization(), None);
    }
}
