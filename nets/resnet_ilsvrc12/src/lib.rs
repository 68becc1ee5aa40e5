//! Net `resnet_at_ilsvrc12`: the ResNets that He et al. 2015 (arXiv 1512.03385, table 1) train on
//! ILSVRC-12, node for node and name for name as torchvision builds them, so that its published
//! weights give its published outputs.

mod recipe;
mod resnet;

use pocketflow::graph::Graph;
use pocketflow::net::{Net, Recipe};
use pocketflow::option::{OptionSpec, Value};
use pocketflow::plugin::{About, Plugin};
use pocketflow::settings::Settings;
use pocketflow::{Error, Result};

pub use recipe::Training;
pub use resnet::{Size, resnet};

pocketflow::plugin! { net "resnet_at_ilsvrc12" => ResnetAtIlsvrc12 }

/// The net under its settings.
pub struct ResnetAtIlsvrc12 {
    size: Size,
    image_size: usize,
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
        let mut options = vec![
            // A whole number and no choice: nets may share a key only with the same type. Wide, so
            // that a wrong number reaches the message that lists the right ones.
            OptionSpec::int("resnet_size", 18, 1..=10_000, "Layers of the network: 18, 34, 50, 101 or 152."),
            OptionSpec::int("image_size", 224, 32..=1024, "Height and width of the images in pixels."),
        ];
        options.extend(recipe::options());
        options
    }

    fn configure(settings: &Settings) -> Result<Self> {
        let layers: usize = settings.get("resnet_size")?;
        let Some(size) = Size::of(layers) else {
            let sizes: Vec<String> = Size::ALL.iter().map(|size| size.layers().to_string()).collect();
            let problem = format!("there is no such ResNet for ILSVRC-12; choose one of {}", sizes.join(", "));
            return Err(settings.invalid("resnet_size", &problem));
        };
        Ok(Self {
            size,
            image_size: settings.get("image_size")?,
            classes: settings.get("nb_classes")?,
            training: Training::configure(settings)?,
        })
    }
}

impl Net for ResnetAtIlsvrc12 {
    fn graph(&self) -> Result<Graph> {
        resnet(self.size, self.image_size, self.classes).map_err(Error::from)
    }

    fn recipe(&self, _samples: u64) -> Recipe {
        self.training.recipe()
    }

    fn recognise(weights: &[(String, Vec<usize>)]) -> Vec<(String, Value)> {
        let size = Size::ALL.into_iter().find(|size| size.weights() == weights.len());
        let classes = weights.iter().find(|(_, shape)| shape.len() == 2).map(|(_, shape)| shape[0]);
        let size = size.map(|size| ("resnet_size".to_owned(), size.layers()));
        let options = size.into_iter().chain(classes.map(|classes| ("nb_classes".to_owned(), classes)));
        options.map(|(key, number)| (key, Value::Int(number as i64))).collect()
    }
}
