//! What a .tflite file says of its tensors and of normalisation.

use pocketflow::{Error, Result};
use pocketflow_export::tflite::metadata::ImageMetadata;
use pocketflow_export::tflite::model::TfliteModel;

use crate::io::{Io, Layout, Normalisation, TensorInfo, grid};

/// Inputs and outputs in the graph's order, with the normalisation of the file's metadata.
///
/// # Errors
/// Damaged metadata; a normalisation that does not fit the input.
pub(crate) fn io(model: &TfliteModel, fallback: &Normalisation) -> Result<Io> {
    let stated = ImageMetadata::of(model)?.filter(|image| !image.mean.is_empty());
    let stated = stated.map(|image| Normalisation { mean: image.mean, std: image.std });
    let inputs = tensors(model, &model.inputs)?;
    let outputs = tensors(model, &model.outputs)?;
    Io::new(inputs, outputs, Layout::Nhwc, stated, fallback)
}

fn tensors(model: &TfliteModel, indices: &[usize]) -> Result<Vec<TensorInfo>> {
    let each = indices.iter().map(|&index| {
        let missing = || Error::failed(format!("the model has no tensor {index}"));
        let tensor = model.tensors.get(index).ok_or_else(missing)?;
        let per_tensor = tensor.quantization.as_ref().filter(|q| q.scales.len() == 1 && q.zero_points.len() == 1);
        let grid = per_tensor.and_then(|q| grid(tensor.dtype, q.scales[0], q.zero_points[0]));
        Ok(TensorInfo { name: tensor.name.clone(), shape: tensor.shape.clone(), dtype: tensor.dtype, grid })
    });
    each.collect()
}
