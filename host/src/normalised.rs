//! The normalisation of a network's input where it is not the data set's own: weights of other
//! programs were trained with theirs. A data set is wrapped, so that every learner normalises so
//! and every model remembers it.

use crate::deploy::images::{expect_classes, expect_size};
use pocketflow::Result;
use pocketflow::dataset::{Batches, Dataset, DatasetInfo, Shard, Split};
use pocketflow::graph::Graph;
use pocketflow::option::{HostOptions, Key, Value};
use pocketflow::settings::Settings;
use std::sync::Arc;

/// Mean or standard deviation as a value, with the digits that a person would write.
pub fn value(numbers: &[f32]) -> Value {
    Value::Floats(numbers.iter().map(|number| number.to_string().parse().unwrap_or(f64::from(*number))).collect())
}

/// The data set, with the normalisation that the settings ask for if any.
///
/// # Errors
/// Not one number for each channel.
pub fn as_set(dataset: Arc<dyn Dataset>, settings: &Settings) -> Result<Arc<dyn Dataset>> {
    let mut info = dataset.info();
    let own = (info.mean.clone(), info.std.clone());
    set(&mut info, settings)?;
    match (&info.mean, &info.std) == (&own.0, &own.1) {
        true => Ok(dataset),
        false => Ok(Arc::new(Normalised { dataset, info })),
    }
}

/// Puts what the settings ask for into the description of a data set.
///
/// # Errors
/// As [`as_set`].
pub fn set(info: &mut DatasetInfo, settings: &Settings) -> Result<()> {
    let channels = info.shape[0];
    let numbers = |key: Key<Option<Vec<f64>>>| -> Result<Option<Vec<f32>>> {
        let Some(numbers) = settings.get(key)? else { return Ok(None) };
        match numbers.len() == channels {
            true => Ok(Some(numbers.into_iter().map(|number| number as f32).collect())),
            false => {
                let problem = format!("one number for each of {channels} channels, separated by commas, is needed");
                Err(settings.invalid(&key, &problem))
            }
        }
    };
    if let Some(mean) = numbers(HostOptions::input_mean())? {
        info.mean = mean;
    }
    if let Some(std) = numbers(HostOptions::input_std())? {
        info.std = std;
    }
    Ok(())
}

struct Normalised {
    dataset: Arc<dyn Dataset>,
    info: DatasetInfo,
}

impl Dataset for Normalised {
    fn info(&self) -> DatasetInfo {
        self.info.clone()
    }

    fn open(&self, split: Split, shard: Shard, seed: u64) -> Result<Box<dyn Batches>> {
        self.dataset.open(split, shard, seed)
    }
}

/// That a network and a data set are for each other.
///
/// # Errors
/// Says what differs, and which options change it.
pub fn expect_fit(graph: &Graph, info: &DatasetInfo) -> Result<()> {
    let [c, h, w] = graph.input_shape();
    expect_size(info.shape, [h, w, c], &format!("net `{}`", graph.name))?;
    let outputs = graph.shapes()?.last().map_or(0, |shape| shape[0]);
    expect_classes(info, outputs, &format!("net `{}`", graph.name))
}
