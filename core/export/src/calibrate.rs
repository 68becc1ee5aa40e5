//! Ranges of values from images: what training left in float gets its grids here, by running the
//! float network.

pub mod spread;

pub use spread::Method;

use crate::interpret::{Data, Interpreter};
use crate::tflite::build;
use pocketflow::fold::fold_model;
use pocketflow::model::Model;
use pocketflow::{Error, Result};
use spread::Spread;
use std::collections::BTreeMap;

/// Bits of the grids that ranges are for.
const BITS: u32 = 8;

/// By tensor.
type Spreads = BTreeMap<usize, Spread>;

/// A float network that watches some of its values while images go through it.
pub struct Calibration {
    interpreter: Interpreter,
    /// The names of the nodes, by tensor.
    watched: BTreeMap<usize, String>,
    spreads: Spreads,
    mean: Vec<f32>,
    std: Vec<f32>,
    images: u64,
}

impl Calibration {
    /// Watches the outputs of nodes of the folded graph, by name.
    ///
    /// # Errors
    /// A model that cannot be run in float; a name that is no value of its own.
    pub fn new(model: &Model, names: &[String]) -> Result<Self> {
        let folded = fold_model(model)?;
        let float = build::from_model(&folded)?;
        // Backwards, so that of tensors with one name the first stays.
        let computed = float.tensors.iter().enumerate().rev().filter(|(_, tensor)| tensor.data.is_none());
        let by_name: BTreeMap<&str, usize> = computed.map(|(index, tensor)| (tensor.name.as_str(), index)).collect();
        let find = |name: &String| {
            let index = by_name.get(name.as_str());
            index
                .map(|index| (*index, name.clone()))
                .ok_or_else(|| Error::failed(format!("`{name}` is no value to watch")))
        };
        let watched = names.iter().map(find).collect::<Result<BTreeMap<_, _>>>()?;
        Ok(Self {
            interpreter: Interpreter::new(&float)?,
            spreads: nothing_seen(&watched),
            watched,
            mean: folded.meta.mean,
            std: folded.meta.std,
            images: 0,
        })
    }

    /// Runs images, pixels `[height, width, channels]` each, on `threads` threads.
    ///
    /// # Errors
    /// Images of another size.
    pub fn observe(&mut self, images: &[Vec<u8>], threads: usize) -> Result<()> {
        let share = images.len().div_ceil(threads.max(1)).max(1);
        let this = &*self;
        let found: Vec<Result<Spreads>> = std::thread::scope(|scope| {
            let workers: Vec<_> = images.chunks(share).map(|part| scope.spawn(move || this.spreads_of(part))).collect();
            let stopped = || Error::failed("a calibration thread stopped");
            workers.into_iter().map(|worker| worker.join().unwrap_or_else(|_| Err(stopped()))).collect()
        });
        for spreads in found {
            for (spread, more) in self.spreads.values_mut().zip(spreads?.into_values()) {
                spread.merge(more);
            }
        }
        self.images += images.len() as u64;
        Ok(())
    }

    fn spreads_of(&self, images: &[Vec<u8>]) -> Result<Spreads> {
        let mut interpreter = self.interpreter.clone();
        let mut spreads = nothing_seen(&self.watched);
        for pixels in images {
            let input = Data::Float(self.normalised(pixels));
            interpreter.run_watched(&[input], &mut |tensor, data| {
                if let (Data::Float(values), Some(spread)) = (data, spreads.get_mut(&tensor)) {
                    spread.observe(values);
                }
            })?;
        }
        Ok(spreads)
    }

    fn normalised(&self, pixels: &[u8]) -> Vec<f32> {
        let channels = self.mean.len().max(1);
        let value = |(index, pixel): (usize, &u8)| {
            let channel = index % channels;
            let (mean, std) = (self.mean.get(channel).unwrap_or(&0.0), self.std.get(channel).unwrap_or(&1.0));
            (f32::from(*pixel) - mean) / std
        };
        pixels.iter().enumerate().map(value).collect()
    }

    /// How many images have gone through.
    pub fn images(&self) -> u64 {
        self.images
    }

    /// The range of each value; all zero where none was seen.
    pub fn ranges(&self, method: Method) -> BTreeMap<String, [f32; 2]> {
        let range = |(name, spread): (&String, &Spread)| (name.clone(), spread.range(method, BITS));
        self.watched.values().zip(self.spreads.values()).map(range).collect()
    }
}

fn nothing_seen(watched: &BTreeMap<usize, String>) -> Spreads {
    watched.keys().map(|tensor| (*tensor, Spread::default())).collect()
}
