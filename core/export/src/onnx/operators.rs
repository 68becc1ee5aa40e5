//! Operators that are written alike for codes and for floats.

use super::builder::{Builder, Values, int, ints};
use super::proto::Attribute;
use pocketflow::Result;

/// What holds a value in the graph: a tensor's name, and whether it is `[N, features]` or `[N,
/// channels, height, width]`.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub tensor: String,
    pub row: bool,
}

impl Held {
    /// Its tensor as a row of features, for the node `reader`.
    pub fn as_row(&self, builder: &mut Builder, reader: &str) -> String {
        match self.row {
            true => self.tensor.clone(),
            false => builder.node(format!("{reader}/row"), "Flatten", &[&self.tensor], vec![int("axis", 1)]),
        }
    }

    /// Its tensor as an image, for the node `reader`.
    ///
    /// # Errors
    /// None but those of constants.
    pub fn as_image(&self, builder: &mut Builder, reader: &str) -> Result<String> {
        if !self.row {
            return Ok(self.tensor.clone());
        }
        // 0 keeps the number of samples, −1 takes what there is.
        let shape = builder.constant(format!("{reader}/shape"), Values::Int64(&[0, -1, 1, 1]), &[4])?;
        Ok(builder.node(format!("{reader}/image"), "Reshape", &[&self.tensor, &shape], Vec::new()))
    }

    /// Its tensor as a row or as an image, for the node `reader`.
    ///
    /// # Errors
    /// None but those of constants.
    pub fn shaped(&self, row: bool, builder: &mut Builder, reader: &str) -> Result<String> {
        if row { Ok(self.as_row(builder, reader)) } else { self.as_image(builder, reader) }
    }
}

/// How many values a tensor of these sizes has; the largest number where that is beyond it.
pub(super) fn value_count(sizes: &[usize]) -> usize {
    sizes.iter().fold(1, |count, size| count.saturating_mul(*size))
}

/// The attributes of a convolution: `padding` is top, left, bottom, right, as `pads` has it.
pub(super) fn convolution(
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 4],
    groups: usize,
) -> Vec<Attribute> {
    vec![ints("kernel_shape", &kernel), ints("strides", &stride), ints("pads", &padding), int("group", groups)]
}

/// The attributes of a pool with symmetric padding, which ONNX never takes for the maximum.
pub(super) fn max_pool(kernel: usize, stride: usize, padding: usize) -> Vec<Attribute> {
    vec![ints("kernel_shape", &[kernel; 2]), ints("strides", &[stride; 2]), ints("pads", &[padding; 4])]
}

/// Floats cut at 0 and 6.
///
/// # Errors
/// None but those of constants.
pub(super) fn relu6(builder: &mut Builder, name: &str, input: &str) -> Result<String> {
    let low = builder.constant(format!("{name}/low"), Values::Floats(&[0.0]), &[])?;
    let high = builder.constant(format!("{name}/high"), Values::Floats(&[6.0]), &[])?;
    Ok(builder.node(name.into(), "Clip", &[input, &low, &high], Vec::new()))
}

/// Every `stride`-th pixel, then channels of `zero` (a scalar of the input's type) before and
/// after.
///
/// # Errors
/// None but those of constants.
pub(super) fn pad_shortcut(
    builder: &mut Builder,
    name: &str,
    input: &str,
    [before, after]: [usize; 2],
    stride: usize,
    zero: Values,
) -> Result<String> {
    let mut list = |suffix: &str, values: &[i64]| {
        builder.constant(format!("{name}/{suffix}"), Values::Int64(values), &[values.len()])
    };
    let starts = list("starts", &[0, 0])?;
    let ends = list("ends", &[i64::MAX; 2])?;
    let axes = list("axes", &[2, 3])?;
    let steps = list("steps", &[stride as i64; 2])?;
    let pads = list("pads", &[0, before as i64, 0, 0, 0, after as i64, 0, 0])?;
    let zero = builder.constant(format!("{name}/zero"), zero, &[])?;
    let slice = builder.node(format!("{name}/pixels"), "Slice", &[input, &starts, &ends, &axes, &steps], Vec::new());
    Ok(builder.node(name.into(), "Pad", &[&slice, &pads, &zero], Vec::new()))
}
