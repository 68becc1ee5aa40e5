//! Net `resnet_at_ilsvrc12`: the ResNets that He et al. 2015 (arXiv 1512.03385, table 1) train on
//! ILSVRC-12, node for node and name for name as torchvision builds them, so that its published
//! weights give its published outputs.

mod resnet;

use pocketflow::Result;
use pocketflow::dataset::options::DatasetOptions;
use pocketflow::graph::Graph;
use pocketflow::net::options::{Defaults, ImageOptions, Training, TrainingOptions};
use pocketflow::net::{NamedShape, Net, Recipe, classes};
use pocketflow::option::{OptionSpec, Value};
use pocketflow::plugin::{About, Plugin};
use pocketflow::settings::Settings;

pub use resnet::{Size, resnet};

pocketflow::plugin! { net "resnet_at_ilsvrc12" => ResnetAtIlsvrc12 }

/// Epochs of the full training, and those after which the original divides the learning rate by
/// ten.
const EPOCHS: f64 = 100.0;
const BOUNDARIES: [f64; 4] = [30.0, 60.0, 80.0, 90.0];

const TRAINING: Defaults = Defaults {
    epochs: " (100) and on the boundaries (30, 60, 80, 90).",
    lrn_rate: 0.1,
    lrn_rate_falls: "; divided by ten at each boundary.",
    batch_size_norm: 256,
    nesterov: false,
    weight_decay: 1e-4,
};

pocketflow::options! {
    /// The option of the graph.
    struct Options {
        // A whole number and no choice: nets may share a key only with the same type. Wide, so that
        // a wrong number reaches the message that lists the right ones.
        /// Layers of the network: 18, 34, 50, 101 or 152.
        layers: usize = int("resnet_size", 18, 1..=10_000),
    }
}

/// The net under its settings.
pub struct ResnetAtIlsvrc12 {
    size: Size,
    image_size: usize,
    channels: usize,
    classes: usize,
    training: Training,
}

impl Plugin for ResnetAtIlsvrc12 {
    const ABOUT: About = About {
        aliases: &["resnet_ilsvrc12"],
        line: "ResNet-18, 34, 50, 101 and 152 for photographs",
        datasets: &["ilsvrc12"],
    };

    fn options() -> Vec<OptionSpec> {
        [Options::specs(), ImageOptions::specs(224), TrainingOptions::specs(&TRAINING)].concat()
    }

    fn configure(settings: &Settings) -> Result<Self> {
        let Some(size) = Size::of(settings.get(Options::layers())?) else {
            let sizes: Vec<String> = Size::ALL.iter().map(|size| size.layers().to_string()).collect();
            let problem = format!("there is no such ResNet for ILSVRC-12; choose one of {}", sizes.join(", "));
            return Err(settings.invalid(&Options::layers(), &problem));
        };
        Ok(Self {
            size,
            image_size: settings.get(ImageOptions::image_size())? as usize,
            channels: ImageOptions::channels(settings)?,
            classes: settings.get(DatasetOptions::nb_classes())? as usize,
            training: Training::read(settings, &TRAINING)?,
        })
    }
}

impl Net for ResnetAtIlsvrc12 {
    fn graph(&self) -> Result<Graph> {
        let graph = resnet(self.size, self.image_size, self.classes)?;
        Ok(graph.on_images([self.channels, self.image_size, self.image_size])?)
    }

    fn recipe(&self, _samples: u64) -> Recipe {
        self.training.recipe(EPOCHS, self.training.piecewise(&BOUNDARIES))
    }

    fn recognise(weights: &[NamedShape]) -> Vec<(String, Value)> {
        let size = Size::ALL.into_iter().find(|size| size.weights() == weights.len());
        size.map(|size| Options::layers().with(size.layers())).into_iter().chain(classes(weights)).collect()
    }
}
