//! A layer as figment sees it: values of the right types, and a source from which the layer, and
//! with it the origin of each value, is found again.

use figment::value::{Dict, Map};
use figment::{Error, Metadata, Profile, Provider, Source};
use pocketflow::option::Value;
use pocketflow::settings::Origin;
use std::collections::BTreeMap;

/// A layer after its texts were read as the options want them.
#[derive(Debug)]
pub struct TypedLayer {
    /// Its place among the layers; later ones win.
    pub index: usize,
    pub values: BTreeMap<String, (Value, Origin)>,
}

impl Provider for &TypedLayer {
    fn metadata(&self) -> Metadata {
        Metadata::from("settings", Source::Custom(self.index.to_string()))
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let mut dict = Dict::new();
        for (key, (value, _)) in &self.values {
            dict.insert(key.clone(), figment::value::Value::serialize(value)?);
        }
        Ok(Profile::Default.collect(dict))
    }
}

/// The index of the layer that such metadata describe.
pub fn layer_of(metadata: &Metadata) -> Option<usize> {
    match &metadata.source {
        Some(Source::Custom(index)) => index.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use figment::Figment;

    #[test]
    fn the_last_layer_wins_and_types_survive() {
        let origin = Origin::Flag { name: "--x".into() };
        let values = [
            Value::Bool(true),
            Value::Int(i64::MIN),
            Value::Float(4.0),
            Value::Float(f64::INFINITY),
            Value::Text("1e-4".into()),
            Value::Floats(vec![]),
            Value::Floats(vec![1.0, 1e-300]),
        ];
        for value in values {
            let layer = |index, value| TypedLayer { index, values: [("x".into(), (value, origin.clone()))].into() };
            let figment = Figment::new().merge(&layer(0, Value::Text("low".into()))).merge(&layer(1, value.clone()));
            let found = figment.find_value("x").unwrap();
            assert_eq!(found.deserialize::<Value>().unwrap(), value);
            assert_eq!(figment.get_metadata(found.tag()).and_then(layer_of), Some(1));
        }
    }
}
