//! Which MobileNet a file of weights is of: the number of layers tells the version, the widest
//! inputs the depth multiplier, and torchvision's names its conventions.

use crate::{Options, Style};
use pocketflow::net::{NamedShape, classes};
use pocketflow::option::Value;
use std::collections::BTreeSet;

/// Layers of version 1: the stem, thirteen pairs, the fully connected one.
const LAYERS_V1: usize = 1 + 2 * 13 + 1;
/// Of version 2: the stem, a block of two and sixteen of three layers, the last convolution, the
/// fully connected one.
const LAYERS_V2: usize = 1 + 2 + 3 * 16 + 2;
/// Input channels of the fully connected layer of version 1 at the multiplier 1.
const WIDEST_V1: f64 = 1024.0;
/// Input channels of the last projections of version 2: the widest but the fully connected layer's,
/// which is never narrowed.
const WIDEST_V2: f64 = 6.0 * 160.0;

/// The options that are recognised, as far as they are.
pub fn options(weights: &[NamedShape]) -> Vec<(String, Value)> {
    let inputs: BTreeSet<usize> = weights.iter().filter_map(|(_, shape)| shape.get(1).copied()).collect();
    let mut inputs = inputs.into_iter().rev();
    let (version, multiplier) = match weights.len() {
        LAYERS_V1 => (1, inputs.next().map(|widest| widest as f64 / WIDEST_V1)),
        LAYERS_V2 => (2, inputs.nth(1).map(|second| second as f64 / WIDEST_V2)),
        _ => return Vec::new(),
    };
    let style = weights.iter().any(|(name, _)| name.split('.').any(|part| part == "features"));
    let version = [Options::version().with(version)].into_iter();
    let multiplier = multiplier.map(|factor| Options::multiplier().with((factor * 1e4).round() / 1e4));
    let style = style.then(|| Options::style().with(Style::Torchvision));
    version.chain(multiplier).chain(style).chain(classes(weights)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DepthMultiplier, mobilenet_v1, mobilenet_v2};
    use pocketflow::graph::{Graph, Role};

    fn weights(graph: &Graph) -> Vec<(String, Vec<usize>)> {
        let params = graph.params().unwrap().into_iter().filter(|param| param.role == Role::Weight);
        params.map(|param| (param.name, param.shape)).collect()
    }

    fn of(options: &[(String, Value)], key: &str) -> Option<Value> {
        options.iter().find(|(known, _)| known == key).map(|(_, value)| value.clone())
    }

    #[test]
    fn published_multipliers_are_told() {
        for factor in [0.25, 0.5, 0.75, 1.0] {
            let graph = mobilenet_v1(DepthMultiplier::new(factor).unwrap(), Style::Tensorflow, 128, 1001).unwrap();
            let options = options(&weights(&graph));
            assert_eq!(of(&options, "mobilenet_version"), Some(Value::Int(1)));
            assert_eq!(of(&options, "mobilenet_depth_mult"), Some(Value::Float(factor)));
            assert_eq!(of(&options, "mobilenet_style"), None);
            assert_eq!(of(&options, "nb_classes"), Some(Value::Int(1001)));
        }
        for factor in [0.35, 0.5, 0.75, 1.0, 1.3, 1.4] {
            let graph = mobilenet_v2(DepthMultiplier::new(factor).unwrap(), Style::Torchvision, 224, 1000).unwrap();
            let options = options(&weights(&graph));
            assert_eq!(of(&options, "mobilenet_version"), Some(Value::Int(2)));
            assert_eq!(of(&options, "mobilenet_depth_mult"), Some(Value::Float(factor)));
            assert_eq!(of(&options, "mobilenet_style"), Some(Value::Text("torchvision".into())));
        }
    }

    #[test]
    fn what_is_no_mobilenet_tells_nothing() {
        assert!(options(&[]).is_empty());
        assert!(options(&[("features.0".into(), vec![1, 2])]).is_empty());
        assert_eq!(options(&vec![(String::new(), vec![]); LAYERS_V1]), [("mobilenet_version".into(), Value::Int(1))]);
    }
}
