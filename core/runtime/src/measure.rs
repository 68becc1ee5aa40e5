//! How long one image takes.

use std::time::{Duration, Instant};

use pocketflow::Result;

use crate::Runtime;

/// Times of single runs, one image each: the network alone, on bytes made ready before.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Latency {
    /// Milliseconds.
    pub median_ms: f64,
    /// Nine runs of ten took at most this, in milliseconds.
    pub p90_ms: f64,
    /// The fastest run, in milliseconds.
    pub min_ms: f64,
    /// One after another.
    pub images_per_second: f64,
    /// Runs measured.
    pub runs: usize,
}

/// How much to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort {
    /// Runs before the first that counts: caches fill, clocks rise.
    pub warm_up: usize,
    /// At least as many runs as this (never fewer than one) …
    pub runs: usize,
    /// … and at least as long as this.
    pub at_least: Duration,
}

impl Default for Effort {
    fn default() -> Self {
        Self { warm_up: 10, runs: 50, at_least: Duration::from_secs(1) }
    }
}

/// Runs one image, pixels `[height, width, channels]`, again and again.
///
/// # Errors
/// As [`Runtime::infer`].
pub fn latency(runtime: &mut dyn Runtime, pixels: &[u8], effort: Effort) -> Result<Latency> {
    let input = runtime.io().encode(pixels)?;
    for _ in 0..effort.warm_up {
        runtime.run_raw(&[&input])?;
    }
    let begin = Instant::now();
    let mut times = Vec::with_capacity(effort.runs);
    while times.len() < effort.runs.max(1) || begin.elapsed() < effort.at_least {
        let start = Instant::now();
        runtime.run_raw(&[&input])?;
        times.push(start.elapsed());
    }
    Ok(summary(times))
}

/// Of at least one time.
fn summary(mut times: Vec<Duration>) -> Latency {
    times.sort_unstable();
    let runs = times.len();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let total: Duration = times.iter().sum();
    // Nearest rank: the smallest time that at least this share of the runs kept to.
    let ranked = |tenths: usize| ms(times[(runs * tenths).div_ceil(10).max(1) - 1]);
    Latency {
        median_ms: ranked(5),
        p90_ms: ranked(9),
        min_ms: ms(times[0]),
        images_per_second: runs as f64 / total.as_secs_f64().max(f64::MIN_POSITIVE),
        runs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks() {
        let latency = summary((1..=10).rev().map(Duration::from_millis).collect());
        assert_eq!((latency.min_ms, latency.median_ms, latency.p90_ms, latency.runs), (1.0, 5.0, 9.0, 10));
        assert!((latency.images_per_second - 10.0 / 0.055).abs() < 1e-6);
        let one = summary(vec![Duration::from_millis(2)]);
        assert_eq!((one.min_ms, one.median_ms, one.p90_ms), (2.0, 2.0, 2.0));
    }
}
