//! What makes a graph of operators a file to deploy: names for its input and output, and what they
//! mean.

use crate::tflite::metadata::{BUFFER, ImageMetadata, LABELS};
use crate::tflite::model::{Signature, TfliteModel};
use pocketflow::error::{Error, Result};

/// The signature that every runtime looks for first.
const SIGNATURE: &str = "serving_default";

/// Adds the signature `serving_default`, the metadata and `labels.txt`; replaces what of these
/// there was. Without a size, the image's is that of the input.
///
/// # Errors
/// A model that has not one input and one output; labels that are not as many as the classes, or
/// take more than a line.
pub fn finish(model: &mut TfliteModel, mut image: ImageMetadata) -> Result<()> {
    let ([input], [output]) = (&model.inputs[..], &model.outputs[..]) else {
        let message = format!("it has {} inputs and {} outputs, not one each", model.inputs.len(), model.outputs.len());
        return Err(Error::failed(message));
    };
    let tensor = |index: usize| {
        model
            .tensors
            .get(index)
            .ok_or_else(|| Error::failed(format!("there is no tensor {index}, its input or output")))
    };
    let (input, output) = (*input, *output);
    let classes = tensor(output)?.shape.last().copied().unwrap_or(1);
    if !image.labels.is_empty() && image.labels.len() != classes {
        return Err(Error::failed(format!("there are {} labels for {classes} classes", image.labels.len())));
    }
    if let Some(label) = image.labels.iter().find(|label| label.contains(['\n', '\r'])) {
        return Err(Error::failed(format!("the label {label:?} takes more than one line")));
    }
    if let (None, [_, height, width, _]) = (image.size, &tensor(input)?.shape[..]) {
        image.size = Some([*height, *width]);
    }
    model.signature = Some(Signature {
        key: SIGNATURE.into(),
        inputs: vec![(tensor(input)?.name.clone(), input)],
        outputs: vec![(tensor(output)?.name.clone(), output)],
    });
    model.metadata.retain(|(name, _)| name != BUFFER);
    model.metadata.push((BUFFER.into(), image.to_bytes()));
    model.files.retain(|(name, _)| name != LABELS);
    if !image.labels.is_empty() {
        let text: String = image.labels.iter().flat_map(|label| [label.as_str(), "\n"]).collect();
        model.files.push((LABELS.into(), text.into_bytes()));
    }
    Ok(())
}
