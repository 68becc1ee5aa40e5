//! Data and errors as bytes, and the policy for how both may change.
//!
//! A plugin and a host are built apart, years apart perhaps. Whatever one packs, the other reads:
//!
//! 1. **A field is added with a default.** A reader passes over fields that it does not know, and a
//!    field that is missing has the value that the type's constructor gives it. What the
//!    constructor takes as an argument must be there, or the value is refused with the field's
//!    name.
//! 2. **What an older reader may not pass over is no field but a new variant**, which it drops,
//!    reads as text or refuses by its name, as the table says. Variants get no new fields.
//! 3. **A needed field is never left out, a variant never renamed, a tuple never made longer**
//!    without a new [`INTERFACE`](super::INTERFACE); a host reads all interfaces from
//!    [`OLDEST_INTERFACE`](super::OLDEST_INTERFACE) on.
//! 4. **The bytes of each type are committed** in `core/tests/wire` when the type gets its form,
//!    and read for ever. A test fails where the bytes change without a new file.
//! 5. **What arrives is checked once, where it arrives**, so that everything behind can compute
//!    with it.
//!
//! | type | may be missing | an unknown variant | checked on arrival by |
//! |---|---|---|---|
//! | [`Event`](crate::job::Event) | nothing | is dropped, as is an event that cannot be read; never an error | |
//! | [`Declared`](super::Declared) | nothing | a kind of plugin: that plugin is listed as not usable, the others work | |
//! | [`Declaration`](crate::plugin::Declaration) | all but kind and name | | `Declaration::check`, in the host's registry |
//! | [`OptionSpec`](crate::option::OptionSpec) | all but key and kind | a `Kind` takes what is of the default's type, a `PathUse` is `Read`; both with a note in `plugins list` and `check` | as the declaration's |
//! | [`Settings`](crate::settings::Settings) | all but the entries | an `Origin` is kept as text; a setting whose value cannot be read is left out, as if nobody declared it | the host, against each `OptionSpec` |
//! | the parts of a `Job` | the model, the group | | |
//! | [`Recipe`](crate::net::Recipe) | all but epochs and schedule | a `Schedule` is refused: trained otherwise, the net would be another | `Recipe::check` |
//! | [`Graph`](crate::graph::Graph) | nothing | an operator is refused | `Graph::validate` |
//! | [`DatasetInfo`](crate::dataset::DatasetInfo) | all but name, shape, labels, mean and std | | `DatasetInfo::check`; each pass is counted |
//! | a request for batches | nothing | a `Split` is refused | the data set |
//! | [`CheckReport`](crate::dataset::check::CheckReport), [`Report`](crate::report::Report) and their parts | everything | | |
//! | [`AgentSpace`](crate::agent::AgentSpace) | the seed, the roll-outs that fill the memory | | `AgentSpace::check` |
//! | [`AgentLoss`](crate::agent::AgentLoss) | everything | | the search |
//! | [`Error`] | everything | an `ErrorKind` is `Failed` | an error has at least one message |

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
        Error::failed(format!(
            "{what} came over the plugin boundary in a form that cannot be read: {error}; host and plugin may be of \
             different versions: update the host, or rebuild the plugin against the `pocketflow` of this host"
        ))
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
mod changed;
#[cfg(test)]
pub mod golden;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod unknown;

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
