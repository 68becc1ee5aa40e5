//! What an exported file says of where it comes from, so that it can be evaluated on the right
//! images by name alone. Stored as JSON: in a .tflite among its meta data, in an .onnx among its
//! properties.

use crate::select::Saved;
use pocketflow::graph::Shape;
use pocketflow::model::{Model, ModelMeta};
use serde::{Deserialize, Serialize};

/// The name of the entry.
pub const KEY: &str = "pocketflow";

/// The part of [`ModelMeta`] that a file keeps; mean, std and labels have places of their own.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Origin {
    pub net: String,
    /// The graph's name with its size: `resnet20_at_cifar10`.
    pub graph: String,
    pub learner: String,
    pub dataset: String,
    pub stand_in: bool,
    /// The images that it takes, and how many classes it tells apart; absent in files of older
    /// programs.
    #[serde(default)]
    pub image: Option<Shape>,
    #[serde(default)]
    pub classes: Option<usize>,
}

impl Origin {
    pub fn of(model: &Model) -> Self {
        let ModelMeta { net, learner, dataset, stand_in, .. } = model.meta.clone();
        let Saved { image, classes, .. } = Saved::of(model);
        Self { net, graph: model.graph.name.clone(), learner, dataset, stand_in, image, classes }
    }

    /// As text.
    pub fn to_json(&self) -> String {
        // A struct of text and a flag always has one.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// From an entry's bytes; `None` where they are not ours.
    pub fn from_json(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// For the selection of net and data set.
    pub fn meta(&self) -> ModelMeta {
        let Self { net, learner, dataset, stand_in, .. } = self.clone();
        ModelMeta { net, learner, dataset, stand_in, ..ModelMeta::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pocketflow::graph::GraphBuilder;
    use pocketflow::quant::QuantPlan;

    #[test]
    fn comes_back() {
        let meta = ModelMeta { net: "n".into(), learner: "l".into(), stand_in: true, ..ModelMeta::default() };
        let mut graph = GraphBuilder::new("n20", [3, 4, 4]);
        graph.conv("conv", 0, 2, 3, 1, 1);
        let graph = graph.finish().unwrap();
        let values = graph.params().unwrap().into_iter().map(|param| (param.name, vec![0.0; 54])).collect();
        let model = Model::new(graph, QuantPlan::default(), meta.clone(), values).unwrap();
        let origin = Origin::of(&model);
        assert_eq!((origin.image, origin.classes), (Some([3, 4, 4]), Some(2)));
        assert_eq!(Origin::from_json(origin.to_json().as_bytes()), Some(origin.clone()));
        assert_eq!(origin.meta(), meta);
        assert_eq!(Origin::from_json(b"\xffno"), None);
    }
}
