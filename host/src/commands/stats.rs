//! `host data stats DIR`: mean and standard deviation of the pixels, by channel, as
//! `--input_mean` and `--input_std` take them.

use super::data::{first_found, progress};
use crate::cli::Format;
use crate::deploy::images::Images;
use crate::layers::Layers;
use crate::registry::Registry;
use crate::report::numbers::grouped;
use crate::report::table::{right_aligned, table};
use pocketflow::dataset::Split;
use pocketflow::graph::Shape;
use pocketflow::{Error, Result};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;

/// The least standard deviation that `input_std` takes.
const STD_MIN: f64 = 0.001;

/// How often each value of a pixel occurs, for each channel.
struct Counted {
    channels: Vec<[u64; 256]>,
    images: u64,
}

impl Counted {
    fn new(shape: Shape) -> Self {
        Self { channels: vec![[0; 256]; shape[0]], images: 0 }
    }

    fn add(&mut self, pixels: &[u8]) {
        for pixel in pixels.chunks_exact(self.channels.len()) {
            for (counts, value) in self.channels.iter_mut().zip(pixel) {
                counts[usize::from(*value)] += 1;
            }
        }
        self.images += 1;
    }

    /// Mean and standard deviation of each channel, to a thousandth.
    fn statistics(&self) -> Vec<(f64, f64)> {
        let rounded = |value: f64| (value * 1000.0).round() / 1000.0;
        let of = |counts: &[u64; 256]| {
            let total = counts.iter().sum::<u64>().max(1) as f64;
            let sum = |term: &dyn Fn(f64) -> f64| {
                (0..).zip(counts).map(|(value, count)| term(f64::from(value)) * *count as f64).sum::<f64>() / total
            };
            let mean = sum(&|value| value);
            (rounded(mean), rounded(sum(&|value| (value - mean).powi(2)).sqrt()))
        };
        self.channels.iter().map(of).collect()
    }
}

/// The table, or JSON. Measured are the training images as the network sees them without
/// augmentation; where there are none, the test images.
///
/// # Errors
/// As [`super::data::check`]; images that cannot be read.
pub fn stats(registry: &Registry, layers: &Layers, dir: &Path, format: Format) -> Result<String> {
    let (dataset, data) =
        first_found(registry, layers, dir, |dataset, settings| registry.dataset(&dataset.name, settings))?;
    let info = data.info();
    let (split, what) = if info.train > 0 { (Split::Plain, "training") } else { (Split::Eval, "test") };
    let total = info.samples(split);
    let data = Arc::clone(&data);
    let mut images = Images::open(&data, split, 0, u64::MAX)?;
    let mut counted = Counted::new(info.shape);
    let advance = progress("measured");
    while let Some((pixels, _)) = images.next_image()? {
        counted.add(pixels);
        advance(counted.images, total);
    }
    if counted.images == 0 {
        return Err(Error::failed(format!("`{}` holds no image to measure", dir.display())));
    }
    let statistics = counted.statistics();
    let [channels, height, width] = info.shape;
    if format == Format::Json {
        let (mean, std): (Vec<f64>, Vec<f64>) = statistics.into_iter().unzip();
        return Ok(format!(
            "{:#}\n",
            json!({
                "dataset": dataset, "folder": dir.display().to_string(), "set": what, "images": counted.images,
                "shape": [channels, height, width], "classes": info.labels.len(), "mean": mean, "std": std,
            })
        ));
    }
    let mut made = table(&["channel", "mean", "std"], right_aligned(&[1, 2]));
    let names: &[&str] = if channels == 3 { &["red", "green", "blue"] } else { &["grey"] };
    for (name, (mean, std)) in names.iter().zip(&statistics) {
        made.add_row([(*name).to_owned(), format!("{mean:.3}"), format!("{std:.3}")]);
    }
    let list = |numbers: &dyn Fn(&(f64, f64)) -> f64| {
        statistics.iter().map(|of_channel| numbers(of_channel).to_string()).collect::<Vec<_>>().join(",")
    };
    Ok(format!(
        "{} as {dataset}: {} {what} images of {width} × {height}, {} classes\n\n{}\n\n--input_mean={} --input_std={}\n",
        dir.display(),
        grouped(counted.images),
        grouped(info.labels.len() as u64),
        made.trim_fmt(),
        list(&|(mean, _)| *mean),
        list(&|(_, std)| std.max(STD_MIN)),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_deviation_of_each_channel() {
        let mut counted = Counted::new([3, 1, 2]);
        counted.add(&[0, 10, 7, 255, 20, 7]);
        counted.add(&[0, 10, 7, 255, 20, 7]);
        assert_eq!(counted.statistics(), [(127.5, 127.5), (15.0, 5.0), (7.0, 0.0)]);
        assert_eq!(counted.images, 2);
    }
}
