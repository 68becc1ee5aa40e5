//! The files that `export` writes, as bytes: all are made before the first is written.

use super::origin::{self, Origin};
use super::precision;
use pocketflow::integer::Target;
use pocketflow::model::Model;
use pocketflow::{Error, Result};
use pocketflow_export::deployed::Lowered;
use pocketflow_export::onnx::{self, OnnxInfo};
use pocketflow_export::pb;
use pocketflow_export::tflite::metadata::ImageMetadata;
use pocketflow_export::tflite::{self, build, model::TfliteModel};
use serde_json::json;

/// What came of an export, beside the files.
pub const REPORT: &str = "export.json";

/// The names of all files that an export in these formats may write, the last one last.
pub fn names(formats: &[String]) -> Vec<&'static str> {
    let of_formats = [
        ("pb", "model_original.pb"),
        ("tflite", "model_original.tflite"),
        ("tflite", "model_quantized.tflite"),
        ("onnx", "model_original.onnx"),
        ("onnx", "model_quantized.onnx"),
    ];
    let wanted = of_formats.into_iter().filter(|(format, _)| formats.iter().any(|wanted| wanted == format));
    wanted.map(|(_, name)| name).chain(["labels.txt", "input.json", REPORT]).collect()
}

/// A file to write.
#[derive(Debug, Clone, PartialEq)]
pub struct Made {
    pub name: String,
    pub bytes: Vec<u8>,
    /// A network, not a text beside it.
    pub is_model: bool,
}

impl Made {
    fn model(name: &str, bytes: Vec<u8>) -> Self {
        Self { name: name.into(), bytes, is_model: true }
    }

    fn text(name: &str, text: String) -> Self {
        Self { name: name.into(), bytes: text.into_bytes(), is_model: false }
    }
}

/// The name of the .onnx file that holds integers.
pub const QUANTIZED_ONNX: &str = "model_quantized.onnx";

/// The networks of integers that files hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Integers {
    pub lowered: Lowered,
    /// For .onnx, where its weights have a range of their own.
    pub onnx: Option<Lowered>,
}

/// Makes the files of these formats. `integers` is there where a format holds some.
///
/// # Errors
/// What a format cannot express, by node.
pub fn make(model: &Model, integers: Option<&Integers>, formats: &[String], origin: &Origin) -> Result<Vec<Made>> {
    let wants = |format: &str| formats.iter().any(|wanted| wanted == format);
    let mut made = Vec::new();
    if wants("pb") {
        made.push(Made::model("model_original.pb", pb::from_model(model)?));
    }
    if wants("tflite") {
        let meta = &model.meta;
        let float = build::from_model(model)?;
        let float = dressed(float, model, &meta.mean, &meta.std, origin)?;
        made.push(Made::model("model_original.tflite", tflite::write(&float)?));
    }
    if let Some(Integers { lowered: Lowered { net, .. }, onnx }) = integers {
        if wants("tflite") {
            let integer = build::from_net(net)?;
            let (mean, std) = build::normalisation(net);
            let integer = dressed(integer, model, &mean, &std, origin)?;
            made.push(Made::model("model_quantized.tflite", tflite::write(&integer)?));
        }
        if wants("onnx") {
            // The image is normalised outside of this file, and must be as integers would, where
            // they do.
            let mut normalised = onnx.as_ref().map_or(net, |onnx| &onnx.net).clone();
            (normalised.mean, normalised.std) = build::deployed_normalisation(net);
            let info = OnnxInfo { labels: model.meta.labels.clone(), source: origin.to_json() };
            made.push(Made::model("model_original.onnx", onnx::from_model(model, &info)?));
            made.push(Made::model(QUANTIZED_ONNX, onnx::from_net(&normalised, &info)?));
        }
    }
    if !model.meta.labels.is_empty() {
        made.push(Made::text("labels.txt", model.meta.labels.join("\n") + "\n"));
    }
    let quantized_onnx = made.iter().find(|file| file.name == QUANTIZED_ONNX);
    let input = input(model, integers.map(|integers| &integers.lowered), quantized_onnx)?;
    made.push(Made::text("input.json", input));
    Ok(made)
}

/// With what other programs want to know of it.
fn dressed(mut made: TfliteModel, model: &Model, mean: &[f32], std: &[f32], origin: &Origin) -> Result<TfliteModel> {
    let [_, height, width] = model.graph.input_shape();
    let stand_in = if origin.stand_in { "; trained on made-up images" } else { "" };
    let image = ImageMetadata {
        name: origin.graph.clone(),
        description: format!("{} by learner {} on {}{stand_in}", origin.net, origin.learner, origin.dataset),
        mean: mean.to_vec(),
        std: std.to_vec(),
        size: Some([height, width]),
        labels: model.meta.labels.clone(),
    };
    build::finish(&mut made, image)?;
    made.metadata.push((origin::KEY.into(), origin.to_json().into_bytes()));
    Ok(made)
}

/// What a program must know to feed the files.
fn input(model: &Model, lowered: Option<&Lowered>, quantized_onnx: Option<&Made>) -> Result<String> {
    let [channels, height, width] = model.graph.input_shape();
    let meta = &model.meta;
    let mut facts = json!({
        "height": height, "width": width, "channels": channels, "order": "RGB",
        "float": { "input": "(pixel - mean) / std by channel", "mean": meta.mean, "std": meta.std },
    });
    if let Some(Lowered { net, .. }) = lowered {
        let [images, logits] = [net.input, net.output].map(|index| net.values[index].grid);
        let (kind, codes) = match (images, net.target) {
            (None, _) => ("float32", "(pixel - mean) / std by channel"),
            (_, Target::Int8) => ("int8", "pixel - 128"),
            (_, Target::Uint8) => ("uint8", "pixel"),
        };
        facts["quantized_tflite"] = json!({ "type": kind, "input": codes });
        if let Some(logits) = logits {
            facts["logits"] = json!({ "scale": logits.scale, "zero_point": logits.zero_point });
        }
    }
    if let Some(file) = quantized_onnx {
        facts["quantized_onnx"] = precision::facts(precision::needs_option(&file.bytes));
    }
    let text = serde_json::to_string_pretty(&facts);
    text.map(|text| text + "\n").map_err(|error| Error::failed(format!("input.json: {error}")))
}
