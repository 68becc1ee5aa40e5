//! Net `mobilenet_at_ilsvrc12`: MobileNet v1 (Howard et al. 2017, arXiv 1704.04861) and v2 (Sandler
//! et al. 2018, arXiv 1801.04381) at any depth multiplier and image size, node for node as TF-slim
//! or torchvision builds them, so that published weights give published outputs.

mod recipe;
mod recognise;
mod style;
mod tip;
mod v1;
mod v2;
mod width;

use pocketflow::Result;
use pocketflow::dataset::options::DatasetOptions;
use pocketflow::graph::Graph;
use pocketflow::net::options::{ImageOptions, Training, TrainingOptions};
use pocketflow::net::{NamedShape, Net, Recipe};
use pocketflow::option::{OptionSpec, Value};
use pocketflow::plugin::{About, Plugin};
use pocketflow::settings::Settings;

pub use style::Style;
pub use v1::mobilenet_v1;
pub use v2::mobilenet_v2;
pub use width::{DepthMultiplier, NoChannels};

pocketflow::plugin! { net "mobilenet_at_ilsvrc12" => MobilenetAtIlsvrc12 }

/// Which of the two architectures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Depth-wise separable convolutions (Howard et al. 2017, arXiv 1704.04861).
    V1,
    /// Inverted residuals (Sandler et al. 2018, arXiv 1801.04381).
    V2,
}

pocketflow::options! {
    /// The options of the graph, but the size of its images.
    struct Options {
        /// Version of MobileNet: 1 or 2.
        version: u8 = int("mobilenet_version", 1, 1..=2),
        // From 0, so that what is too small reaches the message that says why.
        /// Factor on the channels of every layer, rounded as TF-slim does; published weights have
        /// 0.25, 0.5, 0.75 and 1.0 (version 1) and 0.35 to 1.4 (version 2).
        multiplier: f64 = float("mobilenet_depth_mult", 1.0, 0.0..=4.0),
        /// Whose conventions to follow: `tensorflow`, SAME padding (what is odd goes right and
        /// below) and batch-norm epsilon 1e-3; or `torchvision`, one pixel on all sides and 1e-5.
        /// Choose where the weights come from.
        style: Style = one_of("mobilenet_style", Style::Tensorflow),
    }
}

/// The net under its settings.
pub struct MobilenetAtIlsvrc12 {
    version: Version,
    multiplier: DepthMultiplier,
    style: Style,
    image_size: usize,
    channels: usize,
    classes: usize,
    training: Training,
}

impl Plugin for MobilenetAtIlsvrc12 {
    const ABOUT: About = About {
        aliases: &["mobilenet"],
        line: "MobileNet v1 and v2 for photographs, at any depth multiplier and image size",
        datasets: &["ilsvrc12"],
    };

    fn options() -> Vec<OptionSpec> {
        [Options::specs(), ImageOptions::specs(224), TrainingOptions::specs(&recipe::TRAINING)].concat()
    }

    fn configure(settings: &Settings) -> Result<Self> {
        let Options { version, multiplier, style } = Options::read(settings)?;
        Ok(Self {
            version: if version == 2 { Version::V2 } else { Version::V1 },
            multiplier: DepthMultiplier::new(multiplier)
                .map_err(|problem| settings.invalid(&Options::multiplier(), &problem.to_string()))?,
            style,
            image_size: settings.get(ImageOptions::image_size())? as usize,
            channels: ImageOptions::channels(settings)?,
            classes: settings.get(DatasetOptions::nb_classes())? as usize,
            training: Training::read(settings, &recipe::TRAINING)?,
        })
    }
}

impl Net for MobilenetAtIlsvrc12 {
    fn graph(&self) -> Result<Graph> {
        let build = match self.version {
            Version::V1 => mobilenet_v1,
            Version::V2 => mobilenet_v2,
        };
        let graph = build(self.multiplier, self.style, self.image_size, self.classes)?;
        Ok(graph.on_images([self.channels, self.image_size, self.image_size])?)
    }

    fn recipe(&self, _samples: u64) -> Recipe {
        recipe::recipe(&self.training, self.version)
    }

    fn recognise(weights: &[NamedShape]) -> Vec<(String, Value)> {
        recognise::options(weights)
    }
}
