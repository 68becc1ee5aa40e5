//! Net `resnet_at_cifar10`: the ResNets of 6n+2 layers that He et al. 2015 (arXiv 1512.03385, §4.2)
//! train on CIFAR-10, with torchvision's parameter names.

mod recipe;
mod resnet;

use pocketflow::graph::Graph;
use pocketflow::net::{Net, Recipe};
use pocketflow::option::{OptionSpec, Value};
use pocketflow::plugin::{About, Plugin};
use pocketflow::settings::Settings;
use pocketflow::{Error, Result};

pub use recipe::Training;
pub use resnet::{Shortcut, resnet};

pocketflow::plugin! { net "resnet_at_cifar10" => ResnetAtCifar10 }

/// The net under its settings.
pub struct ResnetAtCifar10 {
    depth: usize,
    shortcut: Shortcut,
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
        let mut options = vec![
            OptionSpec::int("resnet_size", 20, 8..=1202, "Layers of the network: 6n+2, as 20, 32, 44, 56, 110."),
            OptionSpec::choice(
                "resnet_shortcut",
                "projection",
                &["projection", "pad"],
                "Shortcuts where the size changes: `projection`, a strided 1 × 1 convolution (option B of the paper), or \
                 `pad`, every second pixel and zero channels (option A).",
            ),
        ];
        options.extend(recipe::options());
        options
    }

    fn configure(settings: &Settings) -> Result<Self> {
        let depth: usize = settings.get("resnet_size")?;
        if depth % 6 != 2 {
            let (below, above) = ((depth - 2) / 6 * 6 + 2, (depth - 2) / 6 * 6 + 8);
            let problem = format!("not of the form 6n+2; the nearest are {below} and {above}");
            return Err(settings.invalid("resnet_size", &problem));
        }
        let shortcut = match settings.get::<String>("resnet_shortcut")?.as_str() {
            "pad" => Shortcut::Pad,
            _ => Shortcut::Projection,
        };
        Ok(Self { depth, shortcut, classes: settings.get("nb_classes")?, training: Training::configure(settings)? })
    }
}

impl Net for ResnetAtCifar10 {
    fn graph(&self) -> Result<Graph> {
        resnet(self.depth, self.shortcut, self.classes).map_err(Error::from)
    }

    fn recipe(&self, samples: u64) -> Recipe {
        self.training.recipe(samples)
    }

    fn recognise(weights: &[(String, Vec<usize>)]) -> Vec<(String, Value)> {
        let kernels = |size: usize| weights.iter().filter(|(_, shape)| shape.get(2..) == Some(&[size, size])).count();
        // All 3 × 3 convolutions and the fully connected layer; a file may hold the latter as one
        // convolution of 1 × 1.
        let layers = kernels(3) + 1;
        let shortcut = if kernels(1) > 1 { "projection" } else { "pad" };
        let mut options = vec![
            ("resnet_size".to_owned(), Value::Int(layers as i64)),
            ("resnet_shortcut".to_owned(), Value::Text(shortcut.into())),
        ];
        let classes = weights.iter().find(|(_, shape)| shape.len() == 2).map(|(_, shape)| shape[0]);
        options.extend(classes.map(|classes| ("nb_classes".to_owned(), Value::Int(classes as i64))));
        options.retain(|(key, _)| key != "resnet_size" || layers % 6 == 2);
        options
    }
}
