//! Data and errors as bytes.

use crate::error::{Error, Result};
use abi_stable::std_types::{RResult, RVec};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Data of this crate as MessagePack.
pub type Bytes = RVec<u8>;

/// What every function that crosses returns; the error is an [`Error`] as [`Bytes`].
pub type Outcome<T> = RResult<T, Bytes>;

/// # Errors
/// Data that have no such form: a path that is not Unicode.
pub fn pack<T: Serialize>(what: &str, value: &T) -> Result<Bytes> {
    match rmp_serde::to_vec_named(value) {
        Ok(bytes) => Ok(bytes.into()),
        Err(error) => Err(Error::failed(format!("{what} cannot cross the plugin boundary: {error}"))),
    }
}

/// # Errors
/// Bytes that are no `T`: the other side has another idea of it.
pub fn unpack<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T> {
    rmp_serde::from_slice(bytes).map_err(|error| {
        Error::failed(format!("{what} came over the plugin boundary in a form that cannot be read: {error}"))
    })
}

pub fn outward<T>(result: Result<T>) -> Outcome<T> {
    match result {
        Ok(value) => RResult::ROk(value),
        // Text and an enum always have a form.
        Err(error) => RResult::RErr(pack("an error", &error).unwrap_or_default()),
    }
}

pub fn inward<T>(outcome: Outcome<T>) -> Result<T> {
    match outcome {
        RResult::ROk(value) => Ok(value),
        RResult::RErr(bytes) => Err(unpack("an error", &bytes).unwrap_or_else(|unreadable| unreadable)),
    }
}

#[cfg(test)]
mod golden;
#[cfg(test)]
mod samples;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Event;
    use crate::option::{Kind, OptionSpec, Value};
    use crate::settings::{Origin, Setting, Settings};
    use proptest::prelude::*;

    fn round_trip<T: Serialize + DeserializeOwned>(value: &T) -> T {
        unpack("a value", &pack("a value", value).unwrap()).unwrap()
    }

    #[test]
    fn infinities_and_nans_come_back() {
        let open = OptionSpec::new("x", Kind::Float { min: f64::NEG_INFINITY, max: f64::INFINITY }, None, "");
        assert_eq!(round_trip(&open), open);
        let event = Event::Scalar { phase: "p".into(), name: "n".into(), step: 1, value: f64::NAN };
        assert!(matches!(round_trip(&event), Event::Scalar { value, .. } if value.is_nan()));
    }

    #[test]
    fn graphs_come_back() {
        let mut builder = crate::graph::GraphBuilder::new("g", [3, 4, 4]);
        let conv = builder.conv("conv", 0, 2, 3, 1, 1);
        builder.batch_norm("bn", conv, 1e-5);
        let graph = builder.finish().unwrap();
        assert_eq!(round_trip(&graph), graph);
    }

    #[test]
    fn errors_keep_kind_and_chain() {
        let error = Error::config("bits").context("cannot plan");
        assert_eq!(inward(outward::<()>(Err(error.clone()))), Err(error));
        assert!(
            inward::<()>(RResult::RErr(vec![0xc1, 1, 2].into())).unwrap_err().to_string().contains("cannot be read")
        );
    }

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            any::<f64>().prop_filter("compares", |x| !x.is_nan()).prop_map(Value::Float),
            ".*".prop_map(Value::Text),
            prop::collection::vec(-1e9f64..1e9, 0..4).prop_map(Value::Floats),
        ]
    }

    proptest! {
        #[test]
        fn settings_come_back(values in prop::collection::btree_map("[a-z_]{1,8}", prop::option::of(value()), 0..6)) {
            let mut settings = Settings::default();
            for (key, value) in values {
                let origin = Origin::File { path: "pocketflow.toml".into(), line: Some(3) };
                let overrode = vec![(value.clone(), Origin::Default { owner: "host".into() })];
                settings.insert(key, Setting { value, origin, overrode, owner: "host".into() });
            }
            prop_assert_eq!(round_trip(&settings), settings);
        }

        #[test]
        fn garbage_is_an_error_or_a_value(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = unpack::<Settings>("settings", &bytes);
            let _ = unpack::<crate::graph::Graph>("a graph", &bytes);
            let _ = unpack::<Error>("an error", &bytes);
        }
    }
}
