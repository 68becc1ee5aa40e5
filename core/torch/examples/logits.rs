//! Prints the logits of a saved model, for comparison with other programs: `logits MODEL PIXELS`.
//! PIXELS are bytes, images of `[height, width, channels]` one behind the other; the output is
//! little-endian `f32`, image by image.

use pocketflow::model::Model;
use pocketflow::{Error, Result};
use pocketflow_torch::engine::Engine;
use pocketflow_torch::kernels;
use pocketflow_torch::network::{Mode, Network};
use std::io::Write;
use std::path::Path;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, pixels] = arguments.as_slice() else { return Err(Error::config("give MODEL and PIXELS")) };
    let model = Model::load(Path::new(model))?;
    let pixels = std::fs::read(pixels)?;
    let [c, h, w] = model.graph.input_shape();
    let network = Network::from_model(&Engine::cpu(), &model)?;
    let mut out = std::io::stdout().lock();
    for image in pixels.chunks_exact(c * h * w) {
        let images = kernels::images(image, [1, c, h, w], &model.meta.mean, &model.meta.std)?;
        let logits = tch::no_grad(|| network.forward(&images, Mode::Eval))?;
        let logits = Vec::<f32>::try_from(logits.view(-1)).map_err(|error| Error::failed(error.to_string()))?;
        for logit in logits {
            out.write_all(&logit.to_le_bytes())?;
        }
    }
    Ok(())
}
