//! The net and the data set of weights that another program made: what nobody chose, the weights
//! tell.

use super::{AUTO, Derived, Over, Selection, canonical, data_dir, is_chosen, own_dataset, plugin};
use crate::layers::Layers;
use crate::normalised;
use crate::options::LEARNER;
use crate::registry::Registry;
use pocketflow::dataset::DatasetInfo;
use pocketflow::dataset::options::DatasetOptions;
use pocketflow::graph::Shape;
use pocketflow::net::Net;
use pocketflow::net::options::ImageOptions;
use pocketflow::option::{HostOptions, Value};
use pocketflow::plugin::PluginKind;
use pocketflow::settings::Settings;
use pocketflow::{ErrorKind, Result};

/// The net of weights that are imported, with the data set that they are for, as far as it is
/// known.
pub struct Imported {
    pub selection: Selection,
    pub settings: Settings,
    pub net: Box<dyn Net>,
    /// Its classes and its normalisation. `None`: nothing tells, not even the data set's plugin.
    pub info: Option<DatasetInfo>,
}

/// Selects net and data set for weights of these names and shapes, which tell options of the net
/// where nobody chose them. `image`: what the file says of the images. The data set's images need
/// not be there.
///
/// # Errors
/// No such net; what net or data set say to the settings.
pub fn for_weights(
    registry: &Registry,
    layers: &Layers,
    weights: &[(String, Vec<usize>)],
    image: Option<Shape>,
) -> Result<Imported> {
    let mut derived = Vec::new();
    let net = plugin(registry, layers, PluginKind::Net, HostOptions::net().name(), None, &mut derived)?;
    let dataset = match layers.chosen(&HostOptions::dataset())?.filter(|(name, _)| name != AUTO) {
        Some((name, origin)) => {
            canonical(registry, PluginKind::Dataset, HostOptions::dataset().name(), (&name, &origin), &mut derived)?
        }
        None => own_dataset(registry, &net, &mut derived)?,
    };
    let learner = registry.find(PluginKind::Learner, LEARNER)?.declaration.clone();
    let reason = "weights that are imported are in full precision";
    derived.push(Derived::replaces(HostOptions::learner().name(), &learner.name, reason));
    let recognised = registry.recognise(&net.name, weights)?;
    let of_data = |key: &str| dataset.options.iter().find(|spec| spec.key == key).and_then(|spec| spec.default.clone());
    for (key, value) in recognised {
        // One class less than the data set has is its background, which the net keeps.
        let lacks_background = matches!((&value, of_data(&key)),
            (Value::Int(known), Some(Value::Int(all))) if key == DatasetOptions::nb_classes().name() && known.checked_add(1) == Some(all));
        if !lacks_background {
            derived.push(Derived { key: key.into(), value, reason: "the weights say so".into(), over: Over::Default });
        }
    }
    if let Some([_, height, _]) = image {
        derived.push(Derived::knows(ImageOptions::image_size().name(), height, "the file takes such images"));
    }
    let selection = Selection { learner, net, dataset, agents: Vec::new(), derived }.with_data_dir();
    let settings = selection.settings(layers)?;
    let net = registry.net(&selection.net.name, &settings)?;
    let opened = registry.dataset(&selection.dataset.name, &settings).map(|dataset| dataset.info());
    let opened = match opened {
        Err(error) if error.kind() == ErrorKind::DataNotFound && is_chosen(layers, &HostOptions::data_dir())? => {
            return Err(data_dir::without_data(&selection, &settings, &error));
        }
        opened => opened,
    };
    let info = match opened.or_else(|_| registry.describe(&selection.dataset.name, &settings)) {
        Ok(mut info) => {
            normalised::set(&mut info, &settings)?;
            Some(info)
        }
        Err(error) if error.kind() == ErrorKind::DataNotFound => None,
        Err(error) => return Err(error),
    };
    Ok(Imported { selection, settings, net, info })
}
