//! Net `resnet_at_cifar10`: the ResNets of 6n+2 layers that He et al. 2015 (arXiv 1512.03385, §4.2)
//! train on CIFAR-10, with torchvision's parameter names.

mod recipe;
mod resnet;

use pocketflow::Result;
use pocketflow::dataset::options::DatasetOptions;
use pocketflow::graph::{Graph, Shape};
use pocketflow::net::options::{ImageOptions, TrainingOptions};
use pocketflow::net::{NamedShape, Net, Recipe, classes};
use pocketflow::option::{OptionSpec, Value};
use pocketflow::plugin::{About, Plugin};
use pocketflow::settings::Settings;

pub use pocketflow::net::residual::Shortcut;
pub use resnet::resnet;

use recipe::{ScheduleOptions, TRAINING, Training};

pocketflow::plugin! { net "resnet_at_cifar10" => ResnetAtCifar10 }

pocketflow::options! {
    /// The options of the graph.
    struct Options {
        /// Layers of the network: 6n+2, as 20, 32, 44, 56, 110.
        depth: usize = int("resnet_size", 20, 8..=1202),
        /// Shortcuts where the size changes: `projection`, a strided 1 × 1 convolution (option B of
        /// the paper), or `pad`, every second pixel and zero channels (option A).
        shortcut: Shortcut = one_of("resnet_shortcut", Shortcut::Projection),
    }
}

/// The net under its settings.
pub struct ResnetAtCifar10 {
    options: Options,
    /// `[channels, height, width]`.
    images: Shape,
    classes: usize,
    training: Training,
}

impl Plugin for ResnetAtCifar10 {
    const ABOUT: About = About {
        aliases: &["resnet_cifar10"],
        line: "ResNet-20 and its 6n+2 siblings for 32 × 32 images",
        datasets: &["cifar10"],
    };

    fn options() -> Vec<OptionSpec> {
        [Options::specs(), ImageOptions::specs(32), TrainingOptions::specs(&TRAINING), ScheduleOptions::specs()]
            .concat()
    }

    fn configure(settings: &Settings) -> Result<Self> {
        let options = Options::read(settings)?;
        if options.depth % 6 != 2 {
            let below = (options.depth - 2) / 6 * 6 + 2;
            let problem = format!("not of the form 6n+2; the nearest are {below} and {}", below + 6);
            return Err(settings.invalid(&Options::depth(), &problem));
        }
        let classes = settings.get(DatasetOptions::nb_classes())? as usize;
        let size = settings.get(ImageOptions::image_size())? as usize;
        let images = [ImageOptions::channels(settings)?, size, size];
        Ok(Self { options, images, classes, training: Training::read(settings)? })
    }
}

impl Net for ResnetAtCifar10 {
    fn graph(&self) -> Result<Graph> {
        let graph = resnet(self.options.depth, self.options.shortcut, self.classes)?;
        Ok(graph.on_images(self.images)?)
    }

    fn recipe(&self, samples: u64) -> Recipe {
        self.training.recipe(samples)
    }

    fn recognise(weights: &[NamedShape]) -> Vec<(String, Value)> {
        let kernels = |size: usize| weights.iter().filter(|(_, shape)| shape.get(2..) == Some(&[size, size])).count();
        // All 3 × 3 convolutions and the fully connected layer; a file may hold the latter as one
        // convolution of 1 × 1.
        let layers = kernels(3) + 1;
        let shortcut = if kernels(1) > 1 { Shortcut::Projection } else { Shortcut::Pad };
        let depth = (layers % 6 == 2).then(|| Options::depth().with(layers));
        depth.into_iter().chain([Options::shortcut().with(shortcut)]).chain(classes(weights)).collect()
    }
}
